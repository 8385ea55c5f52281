//! JSON view of an instance with its state.

use apm2_model::{event::exit::Exit, signal::Signal, spec::id::ProcessId};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::{
    status::{InstanceStatus, KernelState},
    view::agent_state::AgentStateView,
};

/// The JSON object for one instance with its state.
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
    /// Number of processes summed in `cpu_percent` and `memory_bytes`; null when only the main process was measured.
    processes: Option<u32>,
    /// Whether a daemon supervises the instance. Of a moment in the past: false if no daemon is known to have run then, else null.
    supervised: Option<bool>,
    /// What the kernel reports about the process when no daemon answers: `alive`, `gone` (it has ended, and its exit is
    /// not recorded) or `unknown` (it belongs to another host or boot). `state` is then the last recorded state. Null
    /// when the kernel was not queried.
    observed: Option<&'static str>,
    /// The time at which the restart is due that the instance waits for.
    #[serde(serialize_with = "crate::view::time_or_null")]
    restart_at: Option<DateTime<Utc>>,
    /// Whether the restart policy has given up after a failure: the restart budget is spent, or the launch specification is
    /// lost.
    gave_up: bool,
    /// Whether the instance was removed from supervision.
    removed: bool,
    /// The state of an AI coding agent; left out for other processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentStateView<'a>>,
}

impl<'a> HandleView<'a> {
    /// The JSON object for `status`. Facts that may be outdated (pid, uptime, usage) are null when the process may have
    /// ended.
    pub(crate) fn new(status: &InstanceStatus<'a>) -> Self {
        let stream = status.stream;
        let handle = &stream.handle;
        let (cpu_percent, memory_bytes) = status.usage();
        Self {
            id: stream.id.process_id,
            name: &handle.spec.name,
            instance: handle.instance,
            display_name: handle.display_name(),
            state: handle.state.name(),
            exit_code: handle.state.exit_code(),
            signal: stream.exit().filter(|_| handle.state.has_exited()).and_then(Exit::signal),
            pid: status.pid(),
            started_at: handle.started_at,
            restart_count: handle.restart_count,
            last_restart: handle.last_restart,
            uptime_secs: status.uptime_secs(),
            cpu_percent,
            memory_bytes,
            processes: handle.processes.filter(|_| memory_bytes.is_some()),
            supervised: status.supervised,
            observed: status.observed.map(KernelState::name),
            restart_at: status.restart.map(|restart| restart.at),
            gave_up: stream.gave_up.is_some(),
            removed: stream.unregistered,
            agent: stream.agent.as_deref().map(AgentStateView::new),
        }
    }
}

fn as_text<S: Serializer>(id: &ProcessId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
