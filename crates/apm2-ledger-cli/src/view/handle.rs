//! A handle, as programs see it.

use apm2_core::process::{Exit, ProcessId, Signal, Stream};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// One instance with its state.
#[derive(Debug, Serialize)]
pub(crate) struct HandleView<'a> {
    #[serde(serialize_with = "as_text")]
    id: ProcessId,
    name: &'a str,
    instance: u32,
    display_name: String,
    state: &'static str,
    exit_code: Option<i32>,
    signal: Option<Signal>,
    pid: Option<u32>,
    #[serde(serialize_with = "super::time_or_null")]
    started_at: Option<DateTime<Utc>>,
    restart_count: u32,
    #[serde(serialize_with = "super::time_or_null")]
    last_restart: Option<DateTime<Utc>>,
    uptime_secs: Option<i64>,
    cpu_percent: Option<f32>,
    memory_bytes: Option<u64>,
}

impl<'a> HandleView<'a> {
    /// The handle of `stream`, its uptime as of `now`.
    pub(crate) fn new(stream: &'a Stream, now: DateTime<Utc>) -> Self {
        let handle = &stream.handle;
        Self {
            id: stream.id.process_id,
            name: &handle.spec.name,
            instance: handle.instance,
            display_name: handle.display_name(),
            state: handle.state.name(),
            exit_code: handle.state.exit_code(),
            signal: stream.exit().filter(|_| handle.state.has_exited()).and_then(Exit::signal),
            pid: handle.pid,
            started_at: handle.started_at,
            restart_count: handle.restart_count,
            last_restart: handle.last_restart,
            uptime_secs: handle.uptime_secs_at(now),
            cpu_percent: handle.cpu_percent,
            memory_bytes: handle.memory_bytes,
        }
    }
}

fn as_text<S: Serializer>(id: &ProcessId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
