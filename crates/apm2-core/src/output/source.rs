//! The descriptors that the output of a run is read from.

use std::os::fd::OwnedFd;

use apm2_model::event::kind::OutputSource;

use crate::output::log::follow::LogPosition;

/// The read ends of the outputs of one run: one for each output, or one for both outputs.
#[derive(Debug)]
pub(crate) struct Outputs(pub(crate) Vec<Output>);

/// The read end of one output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) source: OutputSource,
    pub(crate) pipe: OwnedFd,
    /// The position in the log file at which the output of this run begins; `None` without a log file, or if the
    /// position is unknown.
    pub(crate) begins_at: Option<LogPosition>,
}

impl Output {
    pub(crate) const fn new(source: OutputSource, pipe: OwnedFd) -> Self {
        Self { source, pipe, begins_at: None }
    }
}
