//! [`RestoreError`].

use std::{io, path::PathBuf};

use crate::{
    dir::LedgerDir,
    error::{Damage, OpenError, ReadError},
    head::Head,
    new_ledger::NewLedgerError,
    staged_dir::StagedDirError,
    verify::report::Finding,
};

/// Error from restoring a backup. Nothing exists at the destination then, and the backup was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory of the ledger cannot be created.
    #[error(transparent)]
    Directory(#[from] StagedDirError),
    /// The backup or the new ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The directory has no backup.
    #[error("there is no backup in {}", path.display())]
    NoBackup {
        /// The directory.
        path: PathBuf,
    },
    /// The first backup was interrupted.
    #[error("the backup in {} was never completed", path.display())]
    Incomplete {
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
    /// A segment of the backup is damaged or missing.
    #[error("the backup is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The restored ledger is not sound, or has other events than the backup states.
    #[error("the backup does not have the {} events that it states: {}", expected.size, message_of(.findings))]
    Unequal {
        /// What the backup states.
        expected: Head,
        /// What the restored ledger has.
        found: Head,
        /// What the verification of the restored ledger found.
        findings: Vec<Finding>,
    },
    /// The store cannot be built.
    #[error("the store cannot be built: {0}")]
    Store(String),
    /// The disk has no room for the ledger.
    #[error("the ledger needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space of the file system, in bytes.
        free_bytes: u64,
        /// Size of the files of the ledger, estimated, with a reserve, in bytes.
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

impl From<NewLedgerError> for RestoreError {
    fn from(error: NewLedgerError) -> Self {
        match error {
            NewLedgerError::Store(why) => Self::Store(why),
            NewLedgerError::Journal(error) => Self::Open(error),
        }
    }
}

impl RestoreError {
    /// Whether the error shows damaged or missing data, and not only a file that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        match self {
            Self::Open(error) => error.is_integrity(),
            Self::Read(error) => error.is_integrity(),
            Self::Damaged(_) | Self::Unequal { .. } => true,
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

fn message_of(findings: &[Finding]) -> &str {
    findings.first().map_or("the hash chains differ", |finding| finding.message.as_str())
}
