//! Opens, creates and replaces the files of a ledger. If the path names a FIFO, a device, a socket, a directory or a
//! symbolic link instead of a regular file, opening it fails at once and never blocks.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::OFlag;
use rustix::fs::{AtFlags, StatxFlags, statx};

const PRIVATE_FILE: u32 = 0o600;

/// Opens a regular file for reading.
///
/// # Errors
/// When the file cannot be opened, or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path)
}

/// Opens a regular file for reading and writing.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).write(true), path)
}

/// Opens a regular file for appending. Creates it with mode 0600 if it does not exist.
///
/// # Errors
/// When the file cannot be opened, or is not a regular file.
pub fn open_for_appending(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().append(true).create(true).mode(PRIVATE_FILE), path)
}

/// Reads a whole regular file.
///
/// # Errors
/// When the file cannot be read, or is not a regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Creates an empty file with mode 0600. Removes an existing file of that name first, for example one that a crash left
/// behind.
///
/// # Errors
/// When the old file cannot be removed, or the new file cannot be created.
pub fn create(path: &Path) -> io::Result<File> {
    let create_new = || regular(OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE_FILE), path);
    match create_new() {
        // Files are rarely left behind, and unlink(2) waits for the lock of the directory also where there is none.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create_new()
        }
        created => created,
    }
}

/// Replaces the content of the file `name` in `dir` atomically and durably. After a crash the file has either the old
/// content or the new content.
///
/// # Errors
/// When the new content cannot be written, synced or renamed. The file then has either the old content or the new
/// content.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(name))
    });
    if let Err(error) = written {
        // On a full disk the file would occupy the space that was left.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_dir(dir)
}

/// The temporary name of a private copy of a file that has several hard links.
pub(crate) const UNSHARED: &str = "unshared.new";

/// Whether the file has more than one hard link, as the files of a copy made with `cp -al` have. A write into such a
/// file would change the copy, too.
pub(crate) fn is_shared(file: &File) -> io::Result<bool> {
    Ok(link_count(file)? > 1)
}

/// The number of hard links of an open file; 0 after it was removed.
///
/// Only this number is asked for. After a query of the timestamps, Linux (6.13) gives the inode a new timestamp at the next
/// write, and ext4 without a journal then writes the inode at each fdatasync(2).
pub(crate) fn link_count(file: &File) -> io::Result<u64> {
    match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Ok(stat) => Ok(u64::from(stat.stx_nlink)),
        // A filter of system calls may refuse statx(2).
        Err(_) => Ok(file.metadata()?.nlink()),
    }
}

/// Replaces the file at `path` by a new file with the content `bytes`. The old file is not changed, and keeps its other
/// hard links. After a crash `path` names either the old file or the new one. The new file is created in `dir`, which
/// must be on the same file system.
pub(crate) fn unshare(path: &Path, bytes: &mut impl Read, dir: &Path) -> io::Result<File> {
    let temporary = dir.join(UNSHARED);
    let mut file = create(&temporary)?;
    io::copy(bytes, &mut file)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(parent) = path.parent() {
        sync_dir(parent)?;
    }
    tracing::warn!(path = %path.display(), "the file had several hard links; the ledger uses a private copy of it now");
    Ok(file)
}

/// Whether opening a file failed because the path names something else than a regular file.
pub(crate) fn is_not_regular(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(nix::libc::ELOOP)
}

fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    let file = options.custom_flags(flags.bits()).open(path).map_err(|error| match error.raw_os_error() {
        // open(2) fails with ENXIO for a FIFO that is opened for writing and has no reader, and for a socket.
        Some(nix::libc::ENXIO) => irregular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Makes the entries of a directory durable: the creation, renaming and removal of files in it (fsync(2)).
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("name")).unwrap();
        replace(dir.path(), "name", b"content").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn hard_links_are_counted_until_the_last_one_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("name"), dir.path().join("other"));
        let file = create(&path).unwrap();
        assert_eq!(link_count(&file).unwrap(), 1);
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(link_count(&file).unwrap(), 2);
        fs::remove_file(&path).unwrap();
        fs::remove_file(&other).unwrap();
        assert_eq!(link_count(&file).unwrap(), 0);
    }
}
