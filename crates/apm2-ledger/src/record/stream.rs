//! The record of a stream's fold, version 1: a cache, never the truth.

use std::collections::VecDeque;

use apm2_core::{
    process::{Intent, ProcessHandle, ProcessState, RedactedSpec, Stream, StreamId},
    restart::RestartBudget,
};
use chrono::{DateTime, TimeZone as _, Utc};
use serde::{Deserialize, Serialize};

use super::{
    RecordError,
    event::StampV1,
    exit::{IdentityV1, RunEndV1, TriggerV1},
    spec::SpecV1,
};

#[derive(Serialize, Deserialize)]
enum StateV1 {
    Starting,
    Running,
    Unhealthy,
    Stopping,
    Stopped { exit_code: Option<i32> },
    Crashed { exit_code: Option<i32> },
    Terminated,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StreamV1 {
    spec: SpecV1,
    instance: u32,
    state: StateV1,
    pid: Option<u32>,
    started_at_ns: Option<i64>,
    restart_count: u32,
    last_restart_ns: Option<i64>,
    cpu_percent: Option<f32>,
    memory_bytes: Option<u64>,
    version: u64,
    last_seq: u64,
    run: u64,
    intent: Option<(u64, TriggerV1)>,
    identity: Option<IdentityV1>,
    run_started: Option<StampV1>,
    end: Option<RunEndV1>,
    kill_sent: bool,
    budget_recent: VecDeque<StampV1>,
    budget_consecutive: u32,
    unregistered: bool,
}

impl From<&ProcessState> for StateV1 {
    fn from(state: &ProcessState) -> Self {
        match state {
            ProcessState::Starting => Self::Starting,
            ProcessState::Running => Self::Running,
            ProcessState::Unhealthy => Self::Unhealthy,
            ProcessState::Stopping => Self::Stopping,
            ProcessState::Stopped { exit_code } => Self::Stopped { exit_code: *exit_code },
            ProcessState::Crashed { exit_code } => Self::Crashed { exit_code: *exit_code },
            ProcessState::Terminated => Self::Terminated,
        }
    }
}

impl From<StateV1> for ProcessState {
    fn from(state: StateV1) -> Self {
        match state {
            StateV1::Starting => Self::Starting,
            StateV1::Running => Self::Running,
            StateV1::Unhealthy => Self::Unhealthy,
            StateV1::Stopping => Self::Stopping,
            StateV1::Stopped { exit_code } => Self::Stopped { exit_code },
            StateV1::Crashed { exit_code } => Self::Crashed { exit_code },
            StateV1::Terminated => Self::Terminated,
        }
    }
}

/// Times on handles come from stamps, which hold nanoseconds: nothing is lost.
fn nanos(time: DateTime<Utc>) -> Option<i64> {
    time.timestamp_nanos_opt()
}

impl From<&Stream> for StreamV1 {
    fn from(stream: &Stream) -> Self {
        let handle = &stream.handle;
        Self {
            spec: (&RedactedSpec::new(&handle.spec)).into(),
            instance: handle.instance,
            state: (&handle.state).into(),
            pid: handle.pid,
            started_at_ns: handle.started_at.and_then(nanos),
            restart_count: handle.restart_count,
            last_restart_ns: handle.last_restart.and_then(nanos),
            cpu_percent: handle.cpu_percent,
            memory_bytes: handle.memory_bytes,
            version: stream.version,
            last_seq: stream.last_seq,
            run: stream.run,
            intent: stream.intent.map(|intent| (intent.seq, intent.trigger.into())),
            identity: stream.identity.map(Into::into),
            run_started: stream.run_started.map(Into::into),
            end: stream.end.as_ref().map(Into::into),
            kill_sent: stream.kill_sent,
            budget_recent: stream.budget.recent.iter().map(|stamp| (*stamp).into()).collect(),
            budget_consecutive: stream.budget.consecutive,
            unregistered: stream.unregistered,
        }
    }
}

impl StreamV1 {
    pub(super) fn into_stream(self) -> Result<Stream, RecordError> {
        let spec = self.spec.into_spec()?;
        if self.instance >= spec.instances {
            return Err(RecordError::Range("instance"));
        }
        let id = StreamId { process_id: spec.id, instance: self.instance };
        let time = |ns: i64| Utc.timestamp_nanos(ns);
        let handle = ProcessHandle {
            spec: (*spec).clone(),
            instance: self.instance,
            state: self.state.into(),
            pid: self.pid,
            started_at: self.started_at_ns.map(time),
            restart_count: self.restart_count,
            last_restart: self.last_restart_ns.map(time),
            cpu_percent: self.cpu_percent,
            memory_bytes: self.memory_bytes,
        };
        Ok(Stream {
            id,
            handle,
            version: self.version,
            last_seq: self.last_seq,
            run: self.run,
            intent: self.intent.map(|(seq, trigger)| Intent { seq, trigger: trigger.into() }),
            identity: self.identity.map(Into::into),
            run_started: self.run_started.map(Into::into),
            end: self.end.map(RunEndV1::into_end).transpose()?,
            kill_sent: self.kill_sent,
            budget: RestartBudget {
                recent: self.budget_recent.into_iter().map(Into::into).collect(),
                consecutive: self.budget_consecutive,
            },
            unregistered: self.unregistered,
        })
    }
}
