//! What is read of the output of an instance.

use std::path::PathBuf;

use apm2_model::event::{kind::OutputSource, stream_id::StreamId};
use chrono::{DateTime, Utc};

/// Which output is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) id: StreamId,
    /// The log files. The path of a file can be shared by both outputs, and is then here once.
    pub(crate) files: Vec<(OutputSource, PathBuf)>,
    /// The time up to which lines are read; `None` to follow the output.
    pub(crate) until: Option<DateTime<Utc>>,
    /// Whether the JSON lines of an agent are shown as text.
    pub(crate) is_pretty: bool,
}

/// A line of output, or the begin of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPiece {
    /// The output; `None` for a remark about the log.
    pub(crate) output: Option<OutputSource>,
    /// The text, escaped and without the line feed.
    pub(crate) text: String,
    /// Whether the line ends here.
    pub(crate) ends_line: bool,
}

/// Output that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogUpdate {
    /// What was asked for.
    pub(crate) target: LogTarget,
    pub(crate) pieces: Vec<LogPiece>,
}
