//! Where the output of a process is kept, how it gets there, and how it is read back.

mod files;
mod follow;
mod kept;
mod last;
mod masks;
mod meter;
mod rotation;
mod sink;
mod tail;
mod threads;
mod writer;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    files::{LogFiles, LogsDir},
    follow::{LogItem, LogPosition, LogReader},
    last::last_lines_begin,
    meter::OutputMeter,
    threads::LogThreads,
};
pub(crate) use self::{
    kept::KeptOutput,
    masks::Masks,
    sink::{LogSink, Moved, Shelf},
};

/// Files for the output of a process, and their limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// File for stdout. Default: one in the supervisor's own directory, if it has one.
    pub stdout: Option<PathBuf>,
    /// File for stderr. Default: as for stdout.
    pub stderr: Option<PathBuf>,
    /// Whether both outputs are one pipe, in the order in which they were written. Default: false.
    pub merge: bool,
    /// Whether each line begins with its time. Default: false.
    pub timestamps: bool,
    /// Size at which a file is rotated, in bytes. Default: 10 MiB.
    pub rotate_bytes: u64,
    /// Age at which a file is rotated. Default: 24 h.
    #[serde(with = "crate::duration")]
    pub rotate_age: Duration,
    /// Whether rotated files are compressed. Default: false.
    pub compress: bool,
    /// Limit on all files of one process together, in bytes. Default: 100 MiB.
    pub total_bytes_max: u64,
}

impl LogConfig {
    /// Whether both outputs are one pipe: where that is wanted, and where they have one file.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.merge || (self.stdout.is_some() && self.stdout == self.stderr)
    }

    /// The files that are named.
    pub fn named(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.stdout, &self.stderr].into_iter().flatten()
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: None,
            merge: false,
            timestamps: false,
            rotate_bytes: 10 << 20,
            rotate_age: Duration::from_secs(24 * 60 * 60),
            compress: false,
            total_bytes_max: 100 << 20,
        }
    }
}
