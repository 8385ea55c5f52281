//! The output of an instance as others see it: its files, how much goes there, and what must not be shown of it.

use std::sync::Arc;

use crate::output::log::{
    files::LogFiles, follow::LogPosition, meter::OutputMeter, secret_filter::SecretFilter, tail::last_lines,
};

/// The output of an instance that is kept in files.
#[derive(Debug, Clone)]
pub(crate) struct CapturedOutput {
    pub(crate) files: LogFiles,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) secret_filter: Arc<SecretFilter>,
}

impl CapturedOutput {
    /// The last lines of each output, stderr last, secrets masked. What cannot be read is left out.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let lines = |path| last_lines(path, LogPosition::default(), &self.secret_filter).unwrap_or_default();
        self.files.all().flat_map(|(_, path)| lines(path)).collect()
    }
}
