//! A directory that is built beside its destination, and gets its name when it is complete.
//!
//! A process that is killed meanwhile leaves the directory under its temporary name. The next one removes it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    dir::{self, sync_name},
    error::OpenError,
    lock::Lock,
};

/// Ends the temporary name.
const SUFFIX: &str = ".partial";

/// Why a directory cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum StagedDirError {
    /// Something exists under the name of the destination.
    #[error("{} exists already", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The path of the destination has no last component.
    #[error("{} is not the name of a directory", path.display())]
    Unnamed {
        /// The destination.
        path: PathBuf,
    },
    /// The temporary directory cannot be used. Another process may be building it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

/// A directory that is being built. It is removed when this value is dropped before [`complete`](Self::complete).
#[derive(Debug)]
pub(crate) struct StagedDir {
    staged: PathBuf,
    destination: PathBuf,
    lock: Arc<Lock>,
    is_complete: bool,
}

impl StagedDir {
    /// Creates the directory, locked. The destination must not exist, or be an empty directory.
    pub(crate) fn create(destination: &Path) -> Result<Self, StagedDirError> {
        let unnamed = || StagedDirError::Unnamed { path: destination.to_owned() };
        let mut name = destination.file_name().ok_or_else(unnamed)?.to_owned();
        check_free(destination)?;
        name.push(SUFFIX);
        let staged = destination.with_file_name(name);
        // What another process has left is removed under its lock, so that nothing is removed that is being built.
        match dir::prepare(&staged, false) {
            Err(OpenError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                let _lock = Lock::take(&staged, Duration::ZERO)?;
                fs::remove_dir_all(&staged).map_err(io_error(&staged))?;
            }
        }
        dir::prepare(&staged, true)?;
        let lock = Arc::new(Lock::take(&staged, Duration::ZERO)?);
        Ok(Self { staged, destination: destination.to_owned(), lock, is_complete: false })
    }

    /// The lock of the directory.
    pub(crate) const fn lock(&self) -> &Arc<Lock> {
        &self.lock
    }

    /// Gives the directory its name. Its files are durable already; its entries and its name are when this returns.
    pub(crate) fn complete(mut self) -> Result<(), StagedDirError> {
        check_free(&self.destination)?;
        sync_name(&self.staged).map_err(io_error(&self.staged))?;
        // rename(2) replaces an empty directory, and fails for one that got an entry meanwhile.
        fs::rename(&self.staged, &self.destination).map_err(io_error(&self.destination))?;
        self.is_complete = true;
        sync_name(&self.destination).map_err(io_error(&self.destination))
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.is_complete
            && let Err(error) = fs::remove_dir_all(&self.staged)
        {
            tracing::warn!(path = %self.staged.display(), %error, "an incomplete directory could not be removed");
        }
    }
}

/// Checks that nothing exists at `destination`, or an empty directory.
pub(crate) fn check_free(destination: &Path) -> Result<(), StagedDirError> {
    let exists = || Err(StagedDirError::Exists { path: destination.to_owned() });
    match fs::symlink_metadata(destination) {
        Ok(metadata) if !metadata.is_dir() => exists(),
        Ok(_) if fs::read_dir(destination).map_err(io_error(destination))?.next().is_some() => exists(),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(destination)(error)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StagedDirError {
    let path = path.to_owned();
    move |source| StagedDirError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_its_name_only_when_it_is_complete() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("ledger");
        let staged = StagedDir::create(&destination).unwrap();
        fs::write(staged.staged.join("file"), "a").unwrap();
        assert!(!destination.exists());
        assert!(matches!(StagedDir::create(&destination), Err(StagedDirError::Open(OpenError::Locked { .. }))));
        drop(staged);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // A directory that a killed process has left is replaced, and an empty destination, too.
        let left = place.path().join("ledger.partial");
        dir::prepare(&left, true).unwrap();
        fs::write(left.join("old"), "b").unwrap();
        dir::prepare(&destination, true).unwrap();
        let staged = StagedDir::create(&destination).unwrap();
        fs::write(staged.staged.join("file"), "a").unwrap();
        staged.complete().unwrap();
        let names: Vec<_> = fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.contains(&"file".into()) && !names.contains(&"old".into()), "{names:?}");
        assert!(!left.exists());
    }

    #[test]
    fn nothing_that_exists_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let (full, file) = (place.path().join("full"), place.path().join("file"));
        fs::create_dir(&full).unwrap();
        fs::write(full.join("a"), "a").unwrap();
        fs::write(&file, "a").unwrap();
        for destination in [&full, &file] {
            assert!(matches!(StagedDir::create(destination), Err(StagedDirError::Exists { .. })));
        }
        assert!(matches!(StagedDir::create(Path::new("/")), Err(StagedDirError::Unnamed { .. })));
        let late = place.path().join("late");
        let staged = StagedDir::create(&late).unwrap();
        fs::create_dir(&late).unwrap();
        fs::write(late.join("a"), "a").unwrap();
        assert!(matches!(staged.complete(), Err(StagedDirError::Exists { .. })));
        assert_eq!(fs::read(late.join("a")).unwrap(), b"a");
    }
}
