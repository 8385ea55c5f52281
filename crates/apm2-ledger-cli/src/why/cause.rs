//! One cause of the state of an instance: the events that record it, and its figures.

use std::time::Duration;

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        agent::{class::FailureClass, event::SessionReason, outcome::AgentOutcome},
        exit::RunEnd,
        kind::{OutputSource, RestartRule, StartTrigger},
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::config::restart::RestartPolicy,
};

use crate::status::{InstanceStatus, KernelState, Supervision};

/// One cause in the chain that led to the state of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    pub(crate) kind: CauseKind,
    /// The sequence number of the main event that records the cause.
    pub(crate) seq: u64,
    /// The sequence numbers of all events that record the cause, ascending.
    pub(crate) seqs: Vec<u64>,
    /// The time of the main event.
    pub(crate) at: Timestamp,
    /// The run, from 1; 0 before the first run.
    pub(crate) run: u64,
    /// Who or what caused it.
    pub(crate) actor: Actor,
    /// The recorded reason, if one was given.
    pub(crate) reason: Option<String>,
}

impl Cause {
    /// A cause that `event` records.
    pub(crate) fn of(event: &Event, kind: CauseKind) -> Self {
        let (actor, reason) = (event.actor.clone(), event.reason.clone());
        Self { kind, seq: event.seq, seqs: vec![event.seq], at: event.stamp, run: event.run, actor, reason }
    }

    /// This cause, which `events` record, too.
    pub(crate) fn with<'a>(mut self, events: impl IntoIterator<Item = &'a Event>) -> Self {
        self.add_seqs(events.into_iter().map(|event| event.seq));
        self
    }

    pub(crate) fn add_seqs(&mut self, seqs: impl IntoIterator<Item = u64>) {
        self.seqs.extend(seqs);
        self.seqs.sort_unstable();
        self.seqs.dedup();
    }
}

/// What a cause is, with its figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CauseKind {
    /// The instance was registered, and never started.
    Registered,
    /// The instance was removed from supervision.
    Removed,
    /// The specification was replaced.
    SpecChanged {
        /// Whether the latest run was started with the new specification.
        is_applied: bool,
        /// The settings that differ; `None` if the specification before was not read.
        changed: Option<Vec<&'static str>>,
    },
    /// A start was requested, and its result is not recorded.
    StartPending { trigger: StartTrigger },
    /// A start by an operator, by a program or by a new daemon.
    Started {
        trigger: StartTrigger,
        pid: Option<u32>,
        /// Whether the process is known to be up. False while its readiness check has not succeeded.
        is_up: bool,
    },
    /// One restart by the policy.
    Restarted { attempt: u32, delay_ms: Option<u64>, pid: Option<u32> },
    /// Several restarts by the policy, one after each of several runs that ended by themselves.
    RestartedOften(RestartSeries),
    /// A restart is scheduled and has not happened.
    RestartDue { attempt: u32, delay_ms: u64 },
    /// A restart that the policy asks for was refused.
    RestartRefused { rule: RestartRule },
    /// A restart, or a start that waited, was cancelled.
    StartCancelled {
        /// Whether the restart had been scheduled.
        was_scheduled: bool,
    },
    /// The restart policy asks for no restart after this end.
    NotRestarted { policy: RestartPolicy },
    /// The restart policy asks for a restart, and its decision is not recorded.
    Undecided { policy: RestartPolicy },
    /// The run ended.
    Ended(Box<EndOfRun>),
    /// An agent reported the end of its run.
    AgentEnded {
        outcome: AgentOutcome,
        class: Option<FailureClass>,
        http_status: Option<u16>,
        /// When the limit that ended the run is reset, in seconds since the epoch.
        resets_at: Option<i64>,
        /// Whether the agent itself reported the end.
        is_reported: bool,
    },
    /// The supervisor chose the session of a run.
    SessionChosen { session_id: Option<String>, is_resumed: bool, reason: SessionReason },
    /// A usage limit of another agent of the account delays the start.
    AccountLimited { account: String, resets_at: i64 },
    /// The process group was not empty some time after SIGKILL.
    GroupSurvived { pids: Vec<u32> },
    /// A stop was requested.
    StopRequested {
        signal: Signal,
        timeout_ms: u64,
        force_kill: bool,
        /// Whether the process has not ended yet.
        is_in_progress: bool,
        /// Whether the stop signal was sent. Before that, the pre-stop commands run.
        is_signalled: bool,
        /// The error number of kill(2), if the kernel refused the stop signal.
        errno: Option<i32>,
    },
    /// The health check failed too often.
    Unhealthy { failures: u32 },
    /// The result of the health check changed to failed, and the process is not unhealthy yet.
    HealthFailing { detail: String },
    /// The health check succeeds again, and the state stays unhealthy until a restart.
    HealthRecovered { detail: String },
    /// A new daemon took over the running process.
    Adopted { pid: u32, gap: Option<Gap> },
    /// The recorded state of the instance is not updated now, because no daemon answers.
    Unwatched { process: UnwatchedProcess },
}

impl CauseKind {
    /// The name of the kind in the JSON contract.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Removed => "removed",
            Self::SpecChanged { .. } => "spec_changed",
            Self::StartPending { .. } => "start_pending",
            Self::Started { .. } => "started",
            Self::Restarted { .. } => "restarted",
            Self::RestartedOften(_) => "restarted_often",
            Self::RestartDue { .. } => "restart_due",
            Self::RestartRefused { .. } => "restart_refused",
            Self::StartCancelled { .. } => "start_cancelled",
            Self::NotRestarted { .. } => "not_restarted",
            Self::Undecided { .. } => "undecided",
            Self::Ended(_) => "ended",
            Self::AgentEnded { .. } => "agent_ended",
            Self::SessionChosen { .. } => "session_chosen",
            Self::AccountLimited { .. } => "account_limited",
            Self::GroupSurvived { .. } => "group_survived",
            Self::StopRequested { .. } => "stop_requested",
            Self::Unhealthy { .. } => "unhealthy",
            Self::HealthFailing { .. } => "health_failing",
            Self::HealthRecovered { .. } => "health_recovered",
            Self::Adopted { .. } => "adopted",
            Self::Unwatched { .. } => "unwatched",
        }
    }
}

/// The restarts after several runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RestartSeries {
    /// The number of restarts.
    pub(crate) restarts: u64,
    /// Time from the decision for the first restart to the start of the last one; `None` across a reboot.
    pub(crate) span: Option<Duration>,
    /// The different ends of the runs with the number of each, the latest end first.
    pub(crate) ends: Vec<(RunEnd, u64)>,
    /// The duration of the last one of these runs, if it is known.
    pub(crate) last_lasted: Option<Duration>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EndOfRun {
    pub(crate) end: RunEnd,
    pub(crate) pid: Option<u32>,
    /// The duration of the run, if its end was observed in the same boot as its start.
    pub(crate) lasted: Option<Duration>,
    /// Whether the run had been up. False for a process that ended before its readiness check succeeded.
    pub(crate) was_up: bool,
    /// The time from the stop request to the end, if the run ended in a stop.
    pub(crate) in_stop: Option<StopTimes>,
    /// The signal that ended the process, if the daemon had sent it outside of a stop.
    pub(crate) signal_sent: Option<SignalSource>,
    /// The interval in which the process ended without a supervisor.
    pub(crate) gap: Option<Gap>,
    /// The last line of output of a failed run.
    pub(crate) last_line: Option<(OutputSource, String)>,
}

/// How long a stop took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopTimes {
    /// Time from the stop request to the end; `None` across a reboot.
    pub(crate) until_end: Option<Duration>,
    /// Time from the stop request to SIGKILL, if SIGKILL was sent.
    pub(crate) until_kill: Option<Duration>,
}

/// Who sent a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignalSource {
    pub(crate) actor: Actor,
    pub(crate) at: Timestamp,
    pub(crate) reason: Option<String>,
}

/// An interval without a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last time at which a supervisor recorded anything.
    pub(crate) from: Timestamp,
    /// The time at which the next supervisor found or took over the process.
    pub(crate) to: Timestamp,
    pub(crate) why: GapReason,
    /// The pid of the supervisor before the interval, if its start was read.
    pub(crate) pid_before: Option<u32>,
    /// The pid of the supervisor after the interval, if its start was read.
    pub(crate) pid_after: Option<u32>,
}

/// Why no supervisor ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// The supervisor recorded its stop.
    Stopped,
    /// The supervisor ended without a recorded stop.
    Died,
    /// The machine was restarted.
    Rebooted,
    /// The events of the supervisors were not read.
    Unknown,
}

/// What is known of the process of an instance while no daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnwatchedProcess {
    /// The process exists.
    Alive,
    /// The process has ended.
    Gone,
    /// The process cannot be checked from here.
    Unknown,
    /// There is no process: the instance waits for a restart.
    AwaitsRestart,
}

impl UnwatchedProcess {
    /// What is known of the process, if no daemon answers and the state may have changed since.
    pub(crate) fn of(status: &InstanceStatus<'_>) -> Option<Self> {
        match status.observed {
            Some(KernelState::Alive) => Some(Self::Alive),
            Some(KernelState::Gone) => Some(Self::Gone),
            Some(KernelState::Elsewhere | KernelState::Unseen) => Some(Self::Unknown),
            None if status.supervision == Some(Supervision::Absent) && status.restart.is_some() => {
                Some(Self::AwaitsRestart)
            }
            None => None,
        }
    }
}
