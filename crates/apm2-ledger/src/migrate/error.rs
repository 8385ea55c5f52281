//! [`MigrateError`].

use crate::{
    append::segment_sealer::SegmentSealError,
    dir::LedgerDir,
    error::{AppendError, OpenError},
    head::Head,
    verify::report::Finding,
};

/// Error from migrating a ledger. The ledger can be opened as before, and has all of its events.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The ledger cannot be opened: for example another process has it open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger is damaged. Nothing was changed.
    #[error("the ledger is damaged and was left as it is: {}", message_of(.findings))]
    Damaged {
        /// What [`verify`](crate::verify()) found; at least one finding.
        findings: Vec<Finding>,
    },
    /// The disk has no room for the new files beside the old ones. Nothing was changed.
    #[error("the migration needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space for the ledger, in bytes.
        free_bytes: u64,
        /// Estimated size of the new files, with a reserve, in bytes.
        needed_bytes: u64,
    },
    /// The findings of the recovery could not be recorded.
    #[error("the ledger could not be recovered")]
    Append(#[from] AppendError),
    /// A segment could not be sealed. The sealed files that this migration wrote were removed.
    #[error("segment {number} of the journal could not be sealed")]
    Seal {
        /// The number of the segment.
        number: u64,
        /// The reason.
        source: SegmentSealError,
    },
    /// The new journal is not a copy of the old one. The old files stay, and the new ones were removed.
    #[error("the sealed segments differ from the journal that they were made of: {}", message_of(.findings))]
    Unequal {
        /// The size and the hash chain value of the old journal.
        old: Head,
        /// Those of the new one.
        new: Head,
        /// What the verification of the new journal found.
        findings: Vec<Finding>,
    },
}

impl MigrateError {
    /// Whether the error shows damaged or missing data, and not only a ledger that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        match self {
            Self::Open(error) => error.is_integrity(),
            Self::Damaged { .. } | Self::Unequal { .. } => true,
            Self::Seal { source, .. } => source.is_integrity(),
            Self::DiskLow { .. } | Self::Append(_) => false,
        }
    }

    /// Replaces a path below [`LedgerDir::at`] in the error by the path that the user named.
    pub(crate) fn naming_paths_of(self, dir: &LedgerDir) -> Self {
        match self {
            Self::Open(error) => Self::Open(dir.as_named(error)),
            other => other,
        }
    }
}

fn message_of(findings: &[Finding]) -> &str {
    findings.first().map_or("their hash chains differ", |finding| finding.message.as_str())
}
