//! Read access to the captured output of an instance: files, counters and secret filter.

use std::sync::Arc;

use crate::output::log::{
    files::LogFiles, follow::LogPosition, meter::OutputMeter, secret_filter::SecretFilter, tail::last_lines,
};

/// The captured output of an instance.
#[derive(Debug, Clone)]
pub(crate) struct CapturedOutput {
    pub(crate) files: LogFiles,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) secret_filter: Arc<SecretFilter>,
}

impl CapturedOutput {
    /// The last lines of stdout and then of stderr. Secrets are masked. Log files that cannot be read are left out.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let lines = |path| last_lines(path, LogPosition::default(), &self.secret_filter).unwrap_or_default();
        self.files.all().flat_map(|(_, path)| lines(path)).collect()
    }
}
