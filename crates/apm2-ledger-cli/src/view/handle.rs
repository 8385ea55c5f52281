//! A handle, as programs see it.

use apm2_model::{event::exit::Exit, signal::Signal, spec::id::ProcessId};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::standing::{Observed, Standing};

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
    #[serde(serialize_with = "crate::view::time_or_null")]
    started_at: Option<DateTime<Utc>>,
    restart_count: u32,
    #[serde(serialize_with = "crate::view::time_or_null")]
    last_restart: Option<DateTime<Utc>>,
    uptime_secs: Option<i64>,
    cpu_percent: Option<f32>,
    memory_bytes: Option<u64>,
    /// Processes that `cpu_percent` and `memory_bytes` are those of; null where only the first one was measured.
    processes: Option<u32>,
    /// Whether a daemon supervises it; null where a moment of the past is shown.
    supervised: Option<bool>,
    /// What the kernel says of a process that no daemon answers for: `alive`, `gone` (ended, and that is not on record) or
    /// `unknown` (of another host or boot). `state` is then the last one on record. Null where it was not asked.
    observed: Option<&'static str>,
    /// When the restart is due for which it waits.
    #[serde(serialize_with = "crate::view::time_or_null")]
    restart_at: Option<DateTime<Utc>>,
    /// Whether the restart policy will not start it again, though it failed: its budget is spent, or what it was launched
    /// with is lost.
    gave_up: bool,
    /// Whether it was taken out of supervision.
    removed: bool,
}

impl<'a> HandleView<'a> {
    /// The handle as it stands. What is known of a process that may be gone is not told as if it were there.
    pub(crate) fn new(standing: &Standing<'a>) -> Self {
        let stream = standing.stream;
        let handle = &stream.handle;
        let (cpu_percent, memory_bytes) = standing.usage();
        Self {
            id: stream.id.process_id,
            name: &handle.spec.name,
            instance: handle.instance,
            display_name: handle.display_name(),
            state: handle.state.name(),
            exit_code: handle.state.exit_code(),
            signal: stream.exit().filter(|_| handle.state.has_exited()).and_then(Exit::signal),
            pid: standing.pid(),
            started_at: handle.started_at,
            restart_count: handle.restart_count,
            last_restart: handle.last_restart,
            uptime_secs: standing.uptime_secs(),
            cpu_percent,
            memory_bytes,
            processes: handle.processes.filter(|_| memory_bytes.is_some()),
            supervised: standing.supervised,
            observed: standing.observed.map(Observed::name),
            restart_at: standing.restart.map(|restart| restart.at),
            gave_up: stream.gave_up.is_some(),
            removed: stream.unregistered,
        }
    }
}

fn as_text<S: Serializer>(id: &ProcessId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
