//! The paths of the log files of an instance, and of their rotated generations.
//!
//! The current file has the configured name. A rotated file has its generation (a number, counted from 1) after the
//! name: `stdout.log.00000007`, or `stdout.log.00000007.gz`.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_model::{
    event::kind::OutputSource,
    spec::config::log::{LogConfig, is_nowhere},
};
use nix::unistd::geteuid;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};

/// Digits of a generation in a file name.
const GENERATION_DIGITS: usize = 8;

/// Attempts to lock a file.
const LOCK_ATTEMPTS_MAX: u32 = 10;

/// Pause between two attempts to lock a file.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Number of components of a path to a descriptor: `/`, `proc`, `self`, `fd`, and its number.
const DESCRIPTOR_PARTS: usize = 5;

/// Suffix of a compressed file.
const COMPRESSED: &str = ".gz";

/// Suffix of a compressed file that is not complete yet.
pub(crate) const PART: &str = ".part";

/// The directory for the logs of instances whose specification names no log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsDir(pub(crate) PathBuf);

impl LogsDir {
    /// Uses `path` as the directory for logs. The directory is created on demand.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The log files of an instance. Without files in `config`, they are `<name>-<instance>/stdout.log` and
    /// `stderr.log` in this directory.
    ///
    /// A name from `config` gets the number of the instance before its extension, except for instance 0, so that the
    /// names do not change with the number of instances.
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

/// For example, `app.log` becomes `app-1.log` for instance 1.
fn of_instance(path: &Path, instance: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{instance}{extension}"))
}

/// The log files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    /// The log file of stdout, or of both outputs.
    pub stdout: PathBuf,
    /// The log file of stderr; `None` if stderr goes to the file of stdout.
    pub stderr: Option<PathBuf>,
}

impl LogFiles {
    /// The log file of an output.
    #[must_use]
    pub fn of(&self, source: OutputSource) -> &Path {
        match source {
            OutputSource::Stdout => &self.stdout,
            OutputSource::Stderr => self.stderr.as_deref().unwrap_or(&self.stdout),
        }
    }

    /// The log files, each with its output. The path that stands for "no log" (`/dev/null`) is left out.
    pub fn all(&self) -> impl Iterator<Item = (OutputSource, &Path)> {
        let stderr = self.stderr.as_deref().map(|path| (OutputSource::Stderr, path));
        let all = [(OutputSource::Stdout, self.stdout.as_path())].into_iter().chain(stderr);
        all.filter(|(_, path)| !is_nowhere(path))
    }
}

/// A rotated log file with its generation number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) generation: u64,
    pub(crate) path: PathBuf,
    pub(crate) is_compressed: bool,
}

/// The path of the rotated, uncompressed file of `path` with this generation.
pub(crate) fn rotated_path(path: &Path, generation: u64) -> PathBuf {
    with_suffix(path, &format!(".{generation:0GENERATION_DIGITS$}"))
}

/// The path of the compressed form of `path`.
pub(crate) fn compressed_path(path: &Path) -> PathBuf {
    with_suffix(path, COMPRESSED)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The rotated files of `path`, oldest first. If a generation exists both compressed and uncompressed, the compressed
/// file is listed.
///
/// # Errors
/// The directory cannot be read. A missing directory counts as empty.
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

/// Incomplete compressed files of `path`.
///
/// # Errors
/// Those of [`rotated`].
pub(crate) fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_part = |rest: &str| rest.strip_suffix(PART).and_then(generation).is_some();
    Ok(beside(path)?.into_iter().filter(|(rest, _)| is_part(rest)).map(|(_, path)| path).collect())
}

fn generation(digits: &str) -> Option<u64> {
    let is_generation = digits.len() >= GENERATION_DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    if is_generation { digits.parse().ok() } else { None }
}

/// The regular files in the directory of `path` whose names begin with the file name of `path` and a dot. Each is
/// returned with the rest of its name.
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
        // Only regular files are logs. Other kinds of files with such a name are not read, compressed or removed.
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

/// Refuses a log target that exists but is not a file that a log can be written to. Reads the file system.
///
/// # Errors
/// The refused target, with the reason.
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

/// Why a log cannot be written to the existing file at `path`. Does not open the file.
fn obstacle(path: &Path) -> Option<&'static str> {
    let kind = fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("it is a directory; name a file in it")
    } else if kind.is_symlink() {
        Some("it is a symbolic link, and logs are not written through one; name the file that it points to")
    } else {
        Some("it is not a regular file; to keep no log, write \"none\"")
    }
}

/// Opens and locks a log file for appending. Creates it (mode 0600) and its directory (0700) if they are missing.
///
/// # Errors
/// The file cannot be opened, is not a regular file of this user with exactly one hard link, or is locked by another
/// writer.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<fs::File> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        make_dir(dir)?;
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The directory is opened once, so that a rename of the directory in the meantime cannot lead to another directory.
    let dir = open(dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    let stat = fstat(&file)?;
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    if stat.st_uid != geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if stat.st_nlink != 1 {
        return refuse("it has more than one hard link");
    }
    let file = fs::File::from(file);
    if !is_locked(&file) {
        return refuse("another writer has it locked");
    }
    Ok(file)
}

/// Creates a directory and its parent, but no further ancestors. Otherwise, the directory of a removed ledger would be
/// created again, with nothing but logs in it.
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
        // Another thread or process created the directory in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Locks a log file (flock(2)) until it is closed, because two writers would overwrite each other's output. Returns
/// `false` when another writer has locked the file.
///
/// On a file system without locks, the file counts as locked.
fn is_locked(file: &fs::File) -> bool {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match file.try_lock() {
            // A forked child has a copy of each descriptor, and with it the lock, until execve(2).
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            Ok(()) | Err(fs::TryLockError::Error(_)) => return true,
        }
    }
    false
}

/// Opens a log file for reading.
///
/// # Errors
/// The file cannot be opened, or is not a regular file (reading a pipe would block).
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

/// Whether the regular file at `path` has several hard links, as the files of a ledger have after `cp -al`. A write into
/// it would change the other ledger, too.
pub(crate) fn is_shared(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() > 1)
}

/// The path as other processes see it: `/proc/self/fd/N/…` is replaced by the path of the directory that descriptor N
/// refers to.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let mut parts = path.components();
    let descriptor: PathBuf = parts.by_ref().take(DESCRIPTOR_PARTS).collect();
    if descriptor.parent() != Some(Path::new("/proc/self/fd")) {
        return path.to_owned();
    }
    fs::read_link(&descriptor).map_or_else(|_| path.to_owned(), |dir| dir.join(parts.as_path()))
}

/// The inode number of the file that has the path `path` now.
pub(crate) fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
}
