//! The log files of an instance with the limits that they share.

use std::sync::{Arc, Mutex, PoisonError};

use apm2_model::spec::config::log::LogConfig;

use crate::output::log::{files::LogFiles, rotation::tidy_up, secret_filter::SecretFilter};

/// The log files of an instance, with the limits that they share.
#[derive(Debug)]
pub(crate) struct LogSet {
    pub(crate) files: LogFiles,
    pub(crate) config: LogConfig,
    pub(crate) secret_filter: Arc<SecretFilter>,
    /// A lock that is held while rotated files are compressed or removed.
    tidying: Mutex<()>,
}

impl LogSet {
    pub(crate) fn new(files: LogFiles, config: LogConfig, secret_filter: Arc<SecretFilter>) -> Self {
        Self { files, config, secret_filter, tidying: Mutex::new(()) }
    }

    /// The size at which a file is rotated. It is small enough that the current file and the newest rotated file of
    /// each output fit into the limit on the total size.
    pub(super) fn rotate_bytes(&self) -> u64 {
        let files = u64::try_from(self.files.all().count()).unwrap_or(1).max(1);
        self.config.rotate_bytes.min(self.config.total_bytes_max / (2 * files)).max(1)
    }

    /// Compresses and removes rotated files. Blocks.
    pub(super) fn tidy_up(&self) {
        let _one_at_a_time = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = tidy_up(&self.files, &self.config, self.rotate_bytes()) {
            tracing::warn!(%error, "rotated log files could not be compressed or removed");
        }
    }
}
