//! Why segments cannot be moved into an archive.

use std::{io, path::PathBuf};

use crate::{
    error::{Damage, OpenError, ReadError},
    journal::sealed::error::SealError,
    limits::ARCHIVES_MAX,
};

/// Error from moving segments into an archive. The ledger is as before, or the archive is complete and the next opening finishes
/// the rest.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The ledger cannot be opened: for example another process has it open, or the journal is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The events or states cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The archive cannot be built.
    #[error("the archive cannot be built")]
    Build(#[from] SealError),
    /// The archive that was written differs from the segments.
    #[error("the archive that was written cannot be used: {0}")]
    Written(String),
    /// The ledger has as many archives as it can have.
    #[error("the ledger has {ARCHIVES_MAX} archives, and can have no more")]
    TooMany,
    /// The disk has no room for the archive beside the segments.
    #[error("the archive needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space for the ledger, in bytes.
        free_bytes: u64,
        /// Size of the archive and of the new store, with a reserve, in bytes.
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

impl RetainError {
    /// Whether the error shows damaged or missing data, and not only a ledger that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        match self {
            Self::Open(error) => error.is_integrity(),
            Self::Read(error) => error.is_integrity(),
            _ => false,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<Damage> for RetainError {
    fn from(damage: Damage) -> Self {
        Self::Read(damage.into())
    }
}
