//! Where the output of an instance is kept, and what the files that were rotated away are called.
//!
//! The file that is written to has the configured name; one that was rotated away has its generation after it, counted
//! from 1: `stdout.log.00000007`, or `stdout.log.00000007.gz`.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_model::{
    event::kind::OutputSource,
    spec::config::log::{LogConfig, is_nowhere},
};
use nix::unistd::geteuid;
use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open, openat},
    io::Errno,
};

/// Digits of a generation in a file name.
const GENERATION_DIGITS: usize = 8;

/// How often it is tried to lock a file, and how long is waited in between.
const LOCK_ATTEMPTS_MAX: u32 = 10;

const LOCK_POLL: Duration = Duration::from_millis(2);

/// Components of a path to a descriptor: `/`, `proc`, `self`, `fd`, and its number.
const DESCRIPTOR_PARTS: usize = 5;

/// What the name of a compressed file ends with.
const COMPRESSED: &str = ".gz";

/// What the name of a file ends with that is being compressed.
pub(crate) const PART: &str = ".part";

/// The directory under which output is kept that names no file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsDir(pub(crate) PathBuf);

impl LogsDir {
    /// That directory. It is made when it is needed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The files of an instance: those that `config` names, else `<name>-<instance>/stdout.log` and `stderr.log` in here.
    ///
    /// What `config` names gets the instance before its extension, but for the first: however many there are, the files of
    /// each stay what they are.
    #[must_use]
    pub fn files(&self, config: &LogConfig, name: &str, instance: u32) -> LogFiles {
        let dir = self.0.join(format!("{name}-{instance}"));
        let place = |named: Option<&PathBuf>, default: &str| match named {
            Some(path) if instance > 0 && !is_nowhere(path) => of_instance(path, instance),
            Some(path) => path.clone(),
            None => dir.join(default),
        };
        let stdout = place(config.stdout.as_ref(), if config.merge { "output.log" } else { "stdout.log" });
        let stderr = (!config.is_merged()).then(|| place(config.stderr.as_ref(), "stderr.log"));
        LogFiles { stdout, stderr }
    }
}

/// `app.log` as `app-1.log`.
fn of_instance(path: &Path, instance: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{instance}{extension}"))
}

/// The files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    /// For stdout, or for both.
    pub stdout: PathBuf,
    /// For stderr; `None` where it goes to the file of stdout.
    pub stderr: Option<PathBuf>,
}

impl LogFiles {
    /// The file for this output.
    #[must_use]
    pub fn of(&self, source: OutputSource) -> &Path {
        match source {
            OutputSource::Stdout => &self.stdout,
            OutputSource::Stderr => self.stderr.as_deref().unwrap_or(&self.stdout),
        }
    }

    /// Those that are written to, with the output that they are for.
    pub fn all(&self) -> impl Iterator<Item = (OutputSource, &Path)> {
        let stderr = self.stderr.as_deref().map(|path| (OutputSource::Stderr, path));
        let all = [(OutputSource::Stdout, self.stdout.as_path())].into_iter().chain(stderr);
        all.filter(|(_, path)| !is_nowhere(path))
    }
}

/// A file that was rotated away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) generation: u64,
    pub(crate) path: PathBuf,
    pub(crate) is_compressed: bool,
}

/// The name of `path` once it is rotated away as this generation.
pub(crate) fn rotated_path(path: &Path, generation: u64) -> PathBuf {
    with_suffix(path, &format!(".{generation:0GENERATION_DIGITS$}"))
}

/// The name of `path` once it is compressed.
pub(crate) fn compressed_path(path: &Path) -> PathBuf {
    with_suffix(path, COMPRESSED)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What was rotated away of `path`, oldest first. Of one that is being compressed, the compressed form counts.
///
/// # Errors
/// When the directory cannot be read. One that is not there holds nothing.
pub(crate) fn rotated(path: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for (rest, path) in beside(path)? {
        let is_compressed = rest.ends_with(COMPRESSED);
        if let Some(generation) = generation(rest.strip_suffix(COMPRESSED).unwrap_or(&rest)) {
            found.push(Rotated { generation, path, is_compressed });
        }
    }
    found.sort_unstable_by_key(|rotated| (rotated.generation, !rotated.is_compressed));
    found.dedup_by_key(|rotated| rotated.generation);
    Ok(found)
}

/// Copies of rotated files of `path` that were not compressed to their end.
///
/// # Errors
/// As of [`rotated`].
pub(crate) fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_part = |rest: &str| rest.strip_suffix(PART).and_then(generation).is_some();
    Ok(beside(path)?.into_iter().filter(|(rest, _)| is_part(rest)).map(|(_, path)| path).collect())
}

fn generation(digits: &str) -> Option<u64> {
    let is_generation = digits.len() >= GENERATION_DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    if is_generation { digits.parse().ok() } else { None }
}

/// The regular files beside `path` that have its name and more, each with what follows the dot after the name.
fn beside(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Whatever else has such a name is nobody's to read, compress or remove.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let Some(entry_name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if let Some(rest) = entry_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
            found.push((rest.to_owned(), entry.path()));
        }
    }
    Ok(found)
}

/// Refuses log targets that exist and are not files that a log can be written to. Reads the file system.
///
/// # Errors
/// The target and what is wrong with it.
pub fn check_targets(log: &LogConfig) -> Result<(), String> {
    log.validate()?;
    let all = [("stdout", &log.stdout), ("stderr", &log.stderr)];
    for (output, path) in all.into_iter().filter_map(|(output, path)| Some((output, path.as_deref()?))) {
        if !is_nowhere(path)
            && let Some(why) = obstacle(path)
        {
            return Err(format!("log.{output}: {}: {why}", path.display()));
        }
    }
    Ok(())
}

/// What stands where a log is to be written, and is no file for it. What can be found out only by opening it is not.
fn obstacle(path: &Path) -> Option<&'static str> {
    let kind = fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("it is a directory; name a file in it")
    } else if kind.is_symlink() {
        Some("it is a symbolic link, and no log is written through one; name the file that it means")
    } else {
        Some("it is not a regular file; to keep nothing, write \"none\"")
    }
}

/// Opens a log file for writing at its end, and makes it and its directory where they are missing, closed to others.
///
/// # Errors
/// When it cannot be opened, or is something else than a file of ours with one name.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<fs::File> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        make_dir(dir)?;
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // Through a descriptor: what is checked and what is opened is in the same directory, whatever is renamed meanwhile.
    let dir = open(dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    let stat = fstat(&file)?;
    let refuse =
        |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", shown(path).display())));
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    if stat.st_uid != geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if stat.st_nlink != 1 {
        return refuse("it has another name, too");
    }
    if !is_locked(&file) {
        return refuse("the output of somebody else is kept there");
    }
    Ok(file.into())
}

/// Makes a directory, and the one that it is in: no more, so that a ledger that was removed does not come back as a
/// directory with nothing but logs in it.
fn make_dir(dir: &Path) -> io::Result<()> {
    let make = |dir: &Path| fs::DirBuilder::new().mode(0o700).create(dir);
    let made = match (make(dir), dir.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => match make(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => make(dir),
        },
        (made, _) => made,
    };
    match made {
        // Made by somebody else at the same time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Locks a log file, for as long as it is open. Two who write to one file would overwrite each other.
///
/// A file system without locks locks nothing.
fn is_locked(file: &OwnedFd) -> bool {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            // A process that is being made has a copy of every descriptor until it becomes its program.
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_POLL),
            Ok(()) | Err(_) => return true,
        }
    }
    false
}

/// Opens a log file for reading.
///
/// # Errors
/// When it cannot be opened, or is something else than a file: a pipe would be waited for.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<fs::File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{}: it is not a regular file", shown(path).display()),
        ));
    }
    Ok(file.into())
}

/// A path as others know it: one that leads through a descriptor of ours means something else to them.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let mut parts = path.components();
    let descriptor: PathBuf = parts.by_ref().take(DESCRIPTOR_PARTS).collect();
    if descriptor.parent() != Some(Path::new("/proc/self/fd")) {
        return path.to_owned();
    }
    fs::read_link(&descriptor).map_or_else(|_| path.to_owned(), |dir| dir.join(parts.as_path()))
}

/// The inode of the file that has this name now.
pub(crate) fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
}
