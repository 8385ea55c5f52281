//! [`BackupError`].

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::{
    dir::LedgerDir,
    error::{Damage, OpenError, ReadError},
    head::Head,
};

/// Error from making a backup. The backup that was in the directory before can still be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The ledger or the directory of the backup cannot be opened: for example another process makes a backup there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A segment of the ledger is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The directory of the backup is that of the ledger, or below it.
    #[error("{} is in the directory of the ledger", path.display())]
    SameDirectory {
        /// The directory of the backup.
        path: PathBuf,
    },
    /// The directory has files, and no backup.
    #[error("{} is not empty and holds no backup", path.display())]
    NotABackup {
        /// The directory of the backup.
        path: PathBuf,
    },
    /// The file `backup` cannot be read.
    #[error("the file that describes the backup in {} cannot be used: {why}", path.display())]
    HeadFile {
        /// The directory of the backup.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The directory has a backup of another ledger.
    #[error("{} holds a backup of the ledger {found}, and this ledger has the id {expected}", path.display())]
    OtherLedger {
        /// The directory of the backup.
        path: PathBuf,
        /// The id of the ledger.
        expected: Uuid,
        /// The id of the ledger whose backup it is.
        found: Uuid,
    },
    /// The backup has more events than the ledger.
    #[error("the backup has {} events, and the ledger has {}: the ledger is an older one", backup.size, ledger.size)]
    Older {
        /// The head of the backup.
        backup: Head,
        /// The head of the ledger.
        ledger: Head,
    },
    /// The ledger does not have the events of the backup.
    #[error("the ledger and the backup have different events up to event {}", backup.size)]
    Diverged {
        /// The head of the backup.
        backup: Head,
    },
    /// The segments of the ledger begin with other events than those of the backup, as those of an imported ledger do.
    #[error("segment {number} of the ledger begins with another event than in the backup")]
    OtherSegments {
        /// The number of the segment.
        number: u64,
    },
    /// The disk has no room for the files.
    #[error("the backup needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space of the file system, in bytes.
        free_bytes: u64,
        /// Size of the files that must be copied, with a reserve, in bytes.
        needed_bytes: u64,
    },
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

impl BackupError {
    /// Whether the error shows damaged or missing data, and not only a file that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        match self {
            Self::Open(error) => error.is_integrity(),
            Self::Read(error) => error.is_integrity(),
            Self::Damaged(_) => true,
            _ => false,
        }
    }

    /// Replaces a path below [`LedgerDir::at`] in the error by the path that the user named.
    pub(crate) fn naming_paths_of(self, dir: &LedgerDir) -> Self {
        match self {
            Self::Open(error) => Self::Open(dir.as_named(error)),
            Self::Io { path, source } => Self::Io { path: dir.shown(&path), source },
            other => other,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
