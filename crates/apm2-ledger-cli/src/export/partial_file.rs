//! The file of an export. It has another name until it is complete, and is locked (flock(2)), so that what a killed export
//! left is told from the file of a running one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::error::CliError;

/// Ends the name of a file that is not complete.
const SUFFIX: &str = ".partial";

/// The mode of an export, as that of the files of the ledger: its events may have more readers than its owner wants.
const MODE: u32 = 0o600;

/// Attempts to create the file while other exports to it end.
const TRIES_MAX: u32 = 8;

/// The file of an export that is not complete yet. Removed when this value is dropped.
pub(crate) struct PartialFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl PartialFile {
    /// Creates the file for the export `path`, which must not exist. What a killed export left is removed.
    ///
    /// # Errors
    /// There is such a file, or another export writes it.
    pub(crate) fn create(path: &Path) -> Result<Self, CliError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(SUFFIX);
        let partial = PathBuf::from(partial);
        let exists = |path: &Path| CliError::usage(format!("{} exists already", path.display()));
        for _ in 0..TRIES_MAX {
            if fs::symlink_metadata(path).is_ok() {
                return Err(exists(path).with_hint("give another name, or remove it"));
            }
            let created = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial);
            let file = match created {
                Ok(file) => file,
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(path)(error)),
                Err(_) if remove_left(&partial).map_err(failed(&partial))? => continue,
                Err(_) => {
                    let hint = "another export writes it, or was killed; remove it if no export runs";
                    return Err(exists(&partial).with_hint(hint));
                }
            };
            // A file system without locks leaves no way to remove what a killed export left.
            let is_ours = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Before it is locked, another export may take it for a file that was left, and remove it.
            if is_ours && is_at(&file, &partial).map_err(failed(&partial))? {
                return Ok(Self { file, partial, path: path.to_owned() });
            }
        }
        Err(exists(&partial).with_hint("several exports write it at the same time"))
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. It is durable then.
    ///
    /// # Errors
    /// It cannot be synced or renamed, or a file with this name was made in the meantime, which stays.
    pub(crate) fn complete(self) -> Result<(), CliError> {
        match self.file.sync_all().and_then(|()| rename_new(&self.partial, &self.path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let made = format!("{} was made by another program in the meantime", self.path.display());
                Err(CliError::failed(made).with_hint("give another name, or remove it"))
            }
            renamed => renamed.map_err(failed(&self.path)),
        }
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // The error of the export is reported. A file that stays has a name that says that it is incomplete.
        if is_at(&self.file, &self.partial).unwrap_or(false) {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Renames a file, unless the new name exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system, such as NFS, has no such rename.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.display().to_string();
    move |error| CliError::failed(format!("{path}: {error}"))
}

/// Whether `path` names this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    let open = file.metadata()?;
    Ok((found.dev(), found.ino()) == (open.dev(), open.ino()))
}

/// Removes the file that a killed export left. Returns false if it may be another file: one that is locked, or that has not the
/// owner, the mode and the one name that an export gives it.
fn remove_left(partial: &Path) -> io::Result<bool> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(_) => return Ok(false),
        Ok(file) => file,
    };
    let metadata = file.metadata()?;
    let is_of_export = metadata.is_file()
        && metadata.uid() == geteuid().as_raw()
        && metadata.mode() & 0o7777 == MODE
        && metadata.nlink() == 1;
    match file.try_lock() {
        Ok(()) if is_of_export => {}
        Ok(()) | Err(_) => return Ok(false),
    }
    // Only the export with the lock renames the file, so it is not complete if it still has this name.
    if is_at(&file, partial)? {
        fs::remove_file(partial)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_that_is_made_in_the_meantime_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let make: [(&str, &dyn Fn()); 3] = [
            ("a file", &|| fs::write(&path, "theirs").unwrap()),
            ("a link", &|| std::os::unix::fs::symlink("theirs", &path).unwrap()),
            ("a directory", &|| fs::create_dir(&path).unwrap()),
        ];
        for (name, make) in make {
            let partial = PartialFile::create(&path).unwrap();
            (&partial.file).write_all(b"ours").unwrap();
            make();
            let before = fs::symlink_metadata(&path).unwrap().ino();
            let error = partial.complete().unwrap_err();
            assert!(error.message().contains("in the meantime"), "{name}: {}", error.message());
            assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before, "{name}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{name}");
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
    }

    #[test]
    fn what_a_killed_export_left_is_replaced_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("a"), dir.path().join("a.partial"));
        // A killed process unlocks its files, and drops nothing.
        let killed = PartialFile::create(&path).unwrap();
        (&killed.file).write_all(b"half").unwrap();
        assert!(PartialFile::create(&path).is_err(), "it is locked");
        killed.file.unlock().unwrap();
        std::mem::forget(killed);
        let next = PartialFile::create(&path).unwrap();
        (&next.file).write_all(b"whole").unwrap();
        next.complete().unwrap();
        assert_eq!((fs::read(&path).unwrap(), partial.exists()), (b"whole".to_vec(), false));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
        fs::remove_file(&path).unwrap();
        // Files that no export made.
        fs::write(&partial, "a").unwrap();
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(PartialFile::create(&path).is_err());
        fs::set_permissions(&partial, fs::Permissions::from_mode(MODE)).unwrap();
        fs::hard_link(&partial, dir.path().join("b")).unwrap();
        assert!(PartialFile::create(&path).is_err());
        assert_eq!(fs::read(&partial).unwrap(), b"a");
        fs::remove_file(&partial).unwrap();
        drop(PartialFile::create(&path).unwrap());
        assert!(!partial.exists() && !path.exists(), "a failed export leaves nothing");
    }
}
