//! Serialization format of a stream state in a snapshot. A snapshot is only a cache: the state can always be replayed
//! from the events. So when the state type changes, this format and its version change too, without compatibility.

use std::collections::VecDeque;

use apm2_model::{
    event::stream_id::StreamId,
    spec::redact::spec::RedactedSpec,
    state::{
        ProcessState,
        handle::ProcessHandle,
        restart_budget::{RestartBudget, Tally},
        stream::{FollowUp, Intent, StopUnderWay, Stream},
    },
};
use chrono::{DateTime, TimeZone as _, Utc};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    agent_state::{AgentStateV4, AgentStateV5},
    exit::{RestartRuleV1, RunEndV1, SnapshotIdentity, TriggerV1, signal},
    spec::{
        SpecV3,
        agent::{AgentV4, AgentV5},
    },
    stamp::StampV1,
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
struct StopV1 {
    seq: u64,
    since: StampV1,
    timeout_ms: u64,
    signal: u8,
    force_kill: bool,
    by_health: bool,
}

#[derive(Serialize, Deserialize)]
enum FollowUpV1 {
    Nothing,
    Undecided { unhealthy: bool },
    Restart { seq: u64, attempt: u32, since: StampV1, delay_ms: u64 },
}

#[derive(Serialize, Deserialize)]
struct TallyV1 {
    recent: VecDeque<StampV1>,
    consecutive: u32,
}

impl From<&Tally> for TallyV1 {
    fn from(tally: &Tally) -> Self {
        let recent = tally.recent.iter().map(|stamp| (*stamp).into()).collect();
        Self { recent, consecutive: tally.consecutive }
    }
}

impl From<TallyV1> for Tally {
    fn from(record: TallyV1) -> Self {
        Self { recent: record.recent.into_iter().map(Into::into).collect(), consecutive: record.consecutive }
    }
}

impl From<&StopUnderWay> for StopV1 {
    fn from(stop: &StopUnderWay) -> Self {
        let StopUnderWay { seq, since, timeout_ms, signal, force_kill, by_health, by_policy: _ } = *stop;
        Self { seq, since: since.into(), timeout_ms, signal: signal.number(), force_kill, by_health }
    }
}

impl StopV1 {
    fn into_stop(self) -> Result<StopUnderWay, RecordError> {
        let Self { seq, since, timeout_ms, signal: number, force_kill, by_health } = self;
        let (since, signal) = (since.into(), signal(number)?);
        Ok(StopUnderWay { seq, since, timeout_ms, signal, force_kill, by_health, by_policy: false })
    }
}

impl From<&FollowUp> for FollowUpV1 {
    fn from(follow_up: &FollowUp) -> Self {
        match *follow_up {
            FollowUp::Nothing => Self::Nothing,
            FollowUp::Undecided { unhealthy } => Self::Undecided { unhealthy },
            FollowUp::Restart { seq, attempt, since, delay_ms } => {
                Self::Restart { seq, attempt, since: since.into(), delay_ms }
            }
        }
    }
}

impl From<FollowUpV1> for FollowUp {
    fn from(record: FollowUpV1) -> Self {
        match record {
            FollowUpV1::Nothing => Self::Nothing,
            FollowUpV1::Undecided { unhealthy } => Self::Undecided { unhealthy },
            FollowUpV1::Restart { seq, attempt, since, delay_ms } => {
                Self::Restart { seq, attempt, since: since.into(), delay_ms }
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StreamV1 {
    spec: SpecV3,
    instance: u32,
    state: StateV1,
    pid: Option<u32>,
    started_at_ns: Option<i64>,
    restart_count: u32,
    last_restart_ns: Option<i64>,
    cpu_percent: Option<f32>,
    memory_bytes: Option<u64>,
    processes: Option<u32>,
    version: u64,
    last_seq: u64,
    run: u64,
    intent: Option<(u64, TriggerV1)>,
    identity: Option<SnapshotIdentity>,
    run_started: Option<StampV1>,
    end: Option<RunEndV1>,
    kill_sent: bool,
    stopping: Option<StopV1>,
    follow_up: FollowUpV1,
    crashes: TallyV1,
    spawn_failures: TallyV1,
    unregistered: bool,
    gave_up: Option<RestartRuleV1>,
    wanted: bool,
    finished: bool,
    asked_at: Option<StampV1>,
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

/// Converts a time to nanoseconds. The conversion is exact, because the times in a handle are set from event timestamps
/// in nanoseconds.
fn nanos(time: DateTime<Utc>) -> Option<i64> {
    time.timestamp_nanos_opt()
}

/// The state of a stream with that of an agent, in version 8.
#[derive(Deserialize)]
pub(crate) struct StreamV8 {
    process: Box<StreamV1>,
    /// The settings of the agent in the specification.
    settings: Option<Box<AgentV4>>,
    agent: Option<Box<AgentStateV4>>,
}

/// The state of a stream with that of an agent and what its budgets and policies need.
#[derive(Serialize, Deserialize)]
pub(crate) struct StreamV9 {
    // The parts are boxed, because a decoded value is moved many times.
    process: Box<StreamV1>,
    /// Whether a policy for agents requested the stop in progress.
    is_stopped_by_policy: bool,
    settings: Option<Box<AgentV5>>,
    agent: Option<Box<AgentStateV5>>,
}

impl From<&Stream> for StreamV9 {
    fn from(stream: &Stream) -> Self {
        Self {
            process: Box::new(stream.into()),
            is_stopped_by_policy: stream.stopping.is_some_and(|stop| stop.by_policy),
            settings: stream.handle.spec.agent.as_deref().map(|agent| Box::new(agent.into())),
            agent: stream.agent.as_deref().map(|agent| Box::new(agent.into())),
        }
    }
}

impl StreamV9 {
    /// The state with the specification as it is recorded. An earlier version of the secret filter may have masked less in it
    /// than the present one does.
    pub(crate) fn into_recorded(self) -> Result<Box<Stream>, RecordError> {
        let mut stream = self.process.into_recorded()?;
        if let Some(stop) = &mut stream.stopping {
            stop.by_policy = self.is_stopped_by_policy;
        }
        stream.handle.spec.agent = self.settings.map(|settings| Box::new((*settings).into()));
        stream.agent = self.agent.map(|agent| agent.into_state().map(Box::new)).transpose()?;
        Ok(stream)
    }
}

impl StreamV8 {
    /// The state with the specification as it is recorded. An earlier version of the secret filter may have masked less in it
    /// than the present one does.
    ///
    /// # Errors
    /// A value is out of range.
    pub(crate) fn into_recorded(self) -> Result<Box<Stream>, RecordError> {
        let mut stream = self.process.into_recorded()?;
        stream.handle.spec.agent = self.settings.map(|settings| Box::new((*settings).into()));
        stream.agent = self.agent.map(|agent| agent.into_state().map(Box::new)).transpose()?;
        Ok(stream)
    }
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
            processes: handle.processes,
            version: stream.version,
            last_seq: stream.last_seq,
            run: stream.run,
            intent: stream.intent.map(|intent| (intent.seq, intent.trigger.into())),
            identity: stream.identity.map(Into::into),
            run_started: stream.run_started.map(Into::into),
            end: stream.end.as_ref().map(Into::into),
            kill_sent: stream.kill_sent,
            stopping: stream.stopping.as_ref().map(Into::into),
            follow_up: (&stream.follow_up).into(),
            crashes: (&stream.budget.crashes).into(),
            spawn_failures: (&stream.budget.spawn_failures).into(),
            unregistered: stream.unregistered,
            gave_up: stream.gave_up.map(Into::into),
            wanted: stream.wanted,
            finished: stream.finished,
            asked_at: stream.asked_at.map(Into::into),
        }
    }
}

impl StreamV1 {
    pub(crate) fn into_recorded(self: Box<Self>) -> Result<Box<Stream>, RecordError> {
        let spec = self.spec.into_recorded()?;
        if self.instance >= spec.instances {
            return Err(RecordError::Range("instance"));
        }
        let id = StreamId { process_id: spec.id, instance: self.instance };
        let time = |ns: i64| Utc.timestamp_nanos(ns);
        let handle = ProcessHandle {
            spec,
            instance: self.instance,
            state: self.state.into(),
            pid: self.pid,
            started_at: self.started_at_ns.map(time),
            restart_count: self.restart_count,
            last_restart: self.last_restart_ns.map(time),
            cpu_percent: self.cpu_percent,
            memory_bytes: self.memory_bytes,
            processes: self.processes,
        };
        Ok(Box::new(Stream {
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
            stopping: self.stopping.map(StopV1::into_stop).transpose()?,
            follow_up: self.follow_up.into(),
            budget: RestartBudget { crashes: self.crashes.into(), spawn_failures: self.spawn_failures.into() },
            unregistered: self.unregistered,
            gave_up: self.gave_up.map(Into::into),
            wanted: self.wanted,
            finished: self.finished,
            asked_at: self.asked_at.map(Into::into),
            agent: None,
        }))
    }
}
