//! Counters of the output of an instance.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use apm2_model::event::{kind::OutputSource, timestamp::Timestamp};

use crate::adapter::MeterReading;

/// Counts the bytes that an instance writes, over all its runs.
#[derive(Debug, Default)]
pub struct OutputMeter {
    stdout_bytes: AtomicU64,
    stderr_bytes: AtomicU64,
    /// Time of the latest output or of the latest start of a run, in nanoseconds on the boot clock.
    last_boot_ns: AtomicU64,
}

impl OutputMeter {
    /// Records the time at which a run has begun.
    pub(crate) fn begin(&self, now: &Timestamp) {
        self.last_boot_ns.store(now.boot_ns, Ordering::Relaxed);
    }

    /// Adds `bytes` to the counter of an output.
    pub(crate) fn count(&self, source: OutputSource, bytes: u64, now: &Timestamp) {
        let counter = match source {
            OutputSource::Stdout => &self.stdout_bytes,
            OutputSource::Stderr => &self.stderr_bytes,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
        self.begin(now);
    }

    /// The counters of the output, and the time without output until `now`.
    #[must_use]
    pub fn read(&self, now: &Timestamp) -> MeterReading {
        MeterReading {
            stdout_bytes: self.stdout_bytes.load(Ordering::Relaxed),
            stderr_bytes: self.stderr_bytes.load(Ordering::Relaxed),
            silent: Duration::from_nanos(now.boot_ns.saturating_sub(self.last_boot_ns.load(Ordering::Relaxed))),
        }
    }
}
