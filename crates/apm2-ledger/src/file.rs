//! Files of the ledger as they are opened and replaced. What has the name of a file and is none (a FIFO, a directory, a link)
//! is an error at once, and nothing waits for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::OFlag;

const PRIVATE_FILE: u32 = 0o600;

/// Opens a regular file for reading.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path)
}

/// Opens a regular file for reading and writing.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).write(true), path)
}

/// Opens a regular file for writing at its end, and makes it where it is missing, closed to others.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open_for_appending(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().append(true).create(true).mode(PRIVATE_FILE), path)
}

/// The bytes of a regular file.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes an empty file of ours, in the place of one that was left behind under that name.
///
/// # Errors
/// When the old one cannot be removed, or the new one not be made.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    regular(OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE_FILE), path)
}

/// Replaces the file `name` in `dir`: after a crash it has the old bytes or the new ones.
///
/// # Errors
/// When it cannot be written; the old bytes may be there, or the new ones.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let making = dir.join(format!("{name}.new"));
    let mut file = create(&making)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&making, dir.join(name))?;
    sync_dir(dir)
}

/// The name under which a private copy is made of a file that has several names.
pub(crate) const UNSHARED: &str = "unshared.new";

/// Whether the file has another name beside its own, as the files of a hard-linked copy have (`cp -al`). What is written into
/// it is written into that copy, too.
pub(crate) fn is_shared(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 1)
}

/// Gives the name `path` to a new file with these bytes. The file that had the name is not changed, and keeps its other names.
/// After a crash the name has the old file or the new one. The new one is made in `dir`, which is on the same file system.
pub(crate) fn unshare(path: &Path, bytes: &mut impl Read, dir: &Path) -> io::Result<File> {
    let making = dir.join(UNSHARED);
    let mut file = create(&making)?;
    io::copy(bytes, &mut file)?;
    file.sync_all()?;
    fs::rename(&making, path)?;
    if let Some(parent) = path.parent() {
        sync_dir(parent)?;
    }
    tracing::warn!(path = %path.display(), "the file had several names (hard links); it is a copy of its own now");
    Ok(file)
}

/// Whether this is the error of what has the name of a file and is none.
pub(crate) fn is_none(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(nix::libc::ELOOP)
}

fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    let file = options.custom_flags(flags.bits()).open(path).map_err(|error| match error.raw_os_error() {
        // A FIFO without a reader that is opened for writing, or a socket (open(2)).
        Some(nix::libc::ENXIO) => irregular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
