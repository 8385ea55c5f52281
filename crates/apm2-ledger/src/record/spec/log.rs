//! Serialization format of the output capture settings.

use std::time::Duration;

use apm2_model::{duration::millis, spec::config::log::LogConfig};
use serde::{Deserialize, Serialize};

use crate::record::spec::path::{bytes, path};

#[derive(Serialize, Deserialize)]
pub(super) struct LogV1 {
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    merge: bool,
    timestamps: bool,
    rotate_bytes: u64,
    rotate_age_ms: u64,
    compress: bool,
    total_bytes_max: u64,
}

impl From<&LogConfig> for LogV1 {
    fn from(config: &LogConfig) -> Self {
        Self {
            stdout: config.stdout.as_deref().map(bytes),
            stderr: config.stderr.as_deref().map(bytes),
            merge: config.merge,
            timestamps: config.timestamps,
            rotate_bytes: config.rotate_bytes,
            rotate_age_ms: millis(config.rotate_age),
            compress: config.compress,
            total_bytes_max: config.total_bytes_max,
        }
    }
}

impl From<LogV1> for LogConfig {
    fn from(record: LogV1) -> Self {
        Self {
            stdout: record.stdout.map(path),
            stderr: record.stderr.map(path),
            merge: record.merge,
            timestamps: record.timestamps,
            rotate_bytes: record.rotate_bytes,
            rotate_age: Duration::from_millis(record.rotate_age_ms),
            compress: record.compress,
            total_bytes_max: record.total_bytes_max,
        }
    }
}
