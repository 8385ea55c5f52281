//! The output of an instance as others see it: its files, and how much goes there.

use std::sync::Arc;

use super::{LogFiles, OutputMeter, tail::last_lines};

/// The output of an instance that is kept in files.
#[derive(Debug, Clone)]
pub(crate) struct KeptOutput {
    pub(crate) files: LogFiles,
    pub(crate) meter: Arc<OutputMeter>,
}

impl KeptOutput {
    /// The last lines of each output, stderr last, secrets masked. What cannot be read is left out.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.files.all().flat_map(|(_, path)| last_lines(path, 0).unwrap_or_default()).collect()
    }
}
