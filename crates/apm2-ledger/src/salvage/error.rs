//! Errors of a salvage.

use std::{io, path::PathBuf};

use crate::{error::OpenError, import::ImportError, staged_dir::StagedDirError};

/// Why no new ledger was made. Nothing exists at the destination then, and the damaged ledger is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// There is no ledger, or it cannot be used: for example another process has it open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The destination exists, or cannot be created.
    #[error(transparent)]
    Directory(#[from] StagedDirError),
    /// The new ledger cannot be written.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The destination is in the directory of the damaged ledger.
    #[error("{} is in the directory of the damaged ledger, which is not changed", path.display())]
    SameDirectory {
        /// The destination.
        path: PathBuf,
    },
    /// No event can be in a new ledger.
    #[error("no file of the ledger has an intact event that a new ledger can begin with")]
    Nothing,
    /// The disk has no room for the new ledger.
    #[error("the new ledger needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space at the destination, in bytes.
        free_bytes: u64,
        /// Estimated size of the new ledger, with a reserve, in bytes.
        needed_bytes: u64,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
}
