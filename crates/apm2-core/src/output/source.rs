//! The descriptors that the output of a run is read from.

use std::os::fd::OwnedFd;

use apm2_model::event::kind::OutputSource;

use crate::output::log::follow::LogPosition;

/// Our ends of the outputs of one run: one for each, or one for both.
#[derive(Debug)]
pub(crate) struct Outputs(pub(crate) Vec<Output>);

/// Our end of one.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) source: OutputSource,
    pub(crate) pipe: OwnedFd,
    /// Where in its file it begins, where it is kept in one and that is known.
    pub(crate) begins_at: Option<LogPosition>,
}

impl Output {
    pub(crate) const fn new(source: OutputSource, pipe: OwnedFd) -> Self {
        Self { source, pipe, begins_at: None }
    }
}
