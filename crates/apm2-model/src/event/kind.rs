//! The kinds of events, with their fields.

use crate::{
    event::{
        exit::{Exit, RunEnd},
        identity::ProcessIdentity,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::redact::spec::RedactedSpec,
};

/// The trigger of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTrigger {
    /// A person or a program requested it.
    Start,
    /// The restart policy requested it.
    Restart {
        /// Which attempt since the last sustained run, from 1.
        attempt: u32,
    },
    /// A new supervisor started it, since it ran before the supervisor or the machine was shut down.
    Boot,
}

/// The target of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// The process alone.
    Process,
    /// Its whole process group.
    Group,
}

/// One of the two outputs of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The rule that refused a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartRule {
    /// The policy is `never`. Not recorded by any version; it exists because the format of version 1 has it.
    PolicyNever,
    /// The process succeeded, and the policy is `on-failure`. Not recorded by any version; see `PolicyNever`.
    Succeeded,
    /// The budget is spent.
    BudgetSpent {
        /// Restarts in the window.
        restarts: u32,
        /// Restarts allowed in it.
        max_restarts: u32,
        /// The window, in milliseconds.
        window_ms: u64,
    },
    /// A stop was asked for.
    StopRequested,
    /// The budget of starts that fail is spent.
    SpawnBudgetSpent {
        /// Starts that failed in the window.
        failures: u32,
        /// Restarts allowed in it.
        max_restarts: u32,
        /// The window, in milliseconds.
        window_ms: u64,
    },
    /// The values that it was launched with are not known to this supervisor.
    LaunchUnknown,
}

impl RestartRule {
    /// Whether the policy asks for a restart that cannot be made, so that the process stays down although it failed.
    #[must_use]
    pub const fn is_giving_up(&self) -> bool {
        match self {
            Self::BudgetSpent { .. } | Self::SpawnBudgetSpent { .. } | Self::LaunchUnknown => true,
            Self::PolicyNever | Self::Succeeded | Self::StopRequested => false,
        }
    }
}

/// The kind of an event, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The instance was registered. The first event of its stream.
    Registered {
        /// What it runs.
        spec: RedactedSpec,
    },
    /// Its specification was replaced.
    SpecChanged {
        /// What it runs from the next start on.
        spec: RedactedSpec,
    },
    /// The instance was removed from supervision.
    Unregistered,
    /// A start is about to be made: durable before the spawn.
    StartRequested {
        /// The trigger of the start.
        trigger: StartTrigger,
    },
    /// Transition to `Starting`.
    Starting {
        /// The process that was spawned; `None` where the spawn failed, and `Crashed` follows in the same commit.
        identity: Option<ProcessIdentity>,
        /// The trigger of the start.
        trigger: StartTrigger,
    },
    /// Transition to `Running`.
    Running,
    /// Transition to `Unhealthy`.
    Unhealthy {
        /// Health checks failed in a row.
        failures: u32,
    },
    /// Transition to `Stopping`: durable before the first signal.
    Stopping {
        /// The signal that will be sent.
        signal: Signal,
        /// Milliseconds until SIGKILL.
        timeout_ms: u64,
        /// Whether SIGKILL will follow at all.
        force_kill: bool,
    },
    /// Transition to `Stopped`.
    Stopped {
        /// How it ended.
        exit: Exit,
    },
    /// Transition to `Crashed`.
    Crashed {
        /// How the run ended.
        cause: RunEnd,
    },
    /// Transition to `Terminated`.
    Terminated {
        /// How it ended.
        exit: Exit,
    },
    /// A signal is about to be sent: durable before the kernel is asked.
    SignalSent {
        /// The signal.
        signal: Signal,
        /// The process or the process group that the signal was sent to.
        target: SignalTarget,
    },
    /// The kernel refused the signal recorded before.
    SignalFailed {
        /// The signal.
        signal: Signal,
        /// The error number (errno(3)).
        errno: i32,
    },
    /// Members of the group were still alive after SIGKILL and the time it was given.
    GroupSurvived {
        /// Their pids, a limited number of them.
        pids: Vec<u32>,
    },
    /// The policy will start it again.
    RestartScheduled {
        /// Which attempt since the last sustained run, from 1.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
    },
    /// The policy will not start it again.
    RestartRefused {
        /// The rule that refused it.
        rule: RestartRule,
    },
    /// The restart budget is full again.
    BudgetReset,
    /// The result of the health check changed, and the state did not.
    HealthChanged {
        /// The new result.
        healthy: bool,
        /// The detail of the result.
        detail: String,
    },
    /// A process that outlived its supervisor was taken over by a new one.
    Adopted {
        /// The process.
        identity: ProcessIdentity,
    },
    /// The process has ended, and another process still has its output open.
    OutputLeaked {
        /// Which output.
        source: OutputSource,
    },
    /// A measurement.
    Sampled {
        /// Processor use, in hundredths of a percent of one core.
        cpu_centipercent: u32,
        /// Resident memory, in bytes.
        memory_bytes: u64,
        /// Processes of the run that were measured together; `None` where the first one alone was.
        processes: Option<u32>,
    },
    /// Credentials were replaced while it ran.
    CredentialRotated {
        /// The profile.
        profile: String,
        /// The names of the variables.
        variables: Vec<String>,
    },
    /// An agent adapter recognized something in the output.
    Observed {
        /// The name of the adapter.
        adapter: String,
        /// What it recognized.
        detail: String,
    },
    /// The last lines of a run that failed, secrets masked.
    OutputTail {
        /// Of stdout; of both where they are merged.
        stdout: Vec<String>,
        /// Of stderr.
        stderr: Vec<String>,
    },
    /// Output could not be stored: the process continued, and its output was dropped.
    OutputDropped {
        /// Which output.
        source: OutputSource,
        /// Bytes dropped; 0 in the event that records the beginning.
        bytes: u64,
        /// Why it could not be stored.
        cause: String,
    },
    /// A command that comes before the stop signal has ended.
    PreStopEnded {
        /// The command, secrets masked.
        command: String,
        /// Whether it ended with 0, in time.
        succeeded: bool,
        /// How it ended.
        detail: String,
    },
    /// Processes of a run that had left its session were found by their marker after its end, and were ended.
    OrphansEnded {
        /// The number of these processes.
        processes: u32,
    },
    /// The end that was recorded just before happened while no supervisor ran, between these two times.
    EndUnobserved {
        /// When a supervisor last recorded anything before the end was found.
        not_before: Timestamp,
        /// When the end was found.
        not_after: Timestamp,
    },
    /// System: a supervisor opened the ledger.
    SupervisorStarted {
        /// The pid of the supervisor.
        pid: u32,
        /// The version of the supervisor.
        version: String,
    },
    /// System: a supervisor closed the ledger.
    SupervisorStopped,
    /// System: the size and hash of the ledger were stated. Not recorded by any version; it exists because the format of
    /// version 1 has it.
    Checkpointed {
        /// Events covered.
        size: u64,
        /// The chain after the last of them.
        chain: [u8; 32],
    },
    /// System: the store beside the journal was set aside and built again.
    StoreRebuilt {
        /// The damage that was found.
        cause: String,
        /// The name in the ledger's directory that it was renamed to; `None` where the store was missing.
        set_aside: Option<String>,
    },
    /// System: a commit that was cut short by a crash, and never acknowledged, was removed.
    TailCut {
        /// The journal segment.
        segment: u64,
        /// Where it began in it, in bytes.
        offset: u64,
    },
}

/// Defines the names of the kinds from one list, so that no kind can be without one and no list can lack one.
macro_rules! kind_names {
    ($($kind:ident => $name:literal),* $(,)?) => {
        impl EventKind {
            /// The names of all kinds, in the order of their declaration: events of a process, then of the ledger.
            pub const NAMES: [&'static str; [$($name),*].len()] = [$($name),*];

            /// The kind's name in `snake_case`: its type in JSON and in filters, and its name in error messages.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)*
                }
            }
        }
    };
}

kind_names! {
    Registered => "registered",
    SpecChanged => "spec_changed",
    Unregistered => "unregistered",
    StartRequested => "start_requested",
    Starting => "starting",
    Running => "running",
    Unhealthy => "unhealthy",
    Stopping => "stopping",
    Stopped => "stopped",
    Crashed => "crashed",
    Terminated => "terminated",
    SignalSent => "signal_sent",
    SignalFailed => "signal_failed",
    GroupSurvived => "group_survived",
    RestartScheduled => "restart_scheduled",
    RestartRefused => "restart_refused",
    BudgetReset => "budget_reset",
    HealthChanged => "health_changed",
    Adopted => "adopted",
    OutputLeaked => "output_leaked",
    Sampled => "sampled",
    CredentialRotated => "credential_rotated",
    Observed => "observed",
    OutputTail => "output_tail",
    OutputDropped => "output_dropped",
    PreStopEnded => "pre_stop_ended",
    OrphansEnded => "orphans_ended",
    EndUnobserved => "end_unobserved",
    SupervisorStarted => "supervisor_started",
    SupervisorStopped => "supervisor_stopped",
    Checkpointed => "checkpointed",
    StoreRebuilt => "store_rebuilt",
    TailCut => "tail_cut",
}

impl EventKind {
    /// The run that an event of this kind belongs to where `run` is the latest one so far.
    #[must_use]
    pub const fn run_after(&self, run: u64) -> u64 {
        match self {
            Self::StartRequested { .. } => run.saturating_add(1),
            _ => run,
        }
    }

    /// Whether the event belongs to [`StreamId::SYSTEM`](crate::event::stream_id::StreamId::SYSTEM) and to no process.
    #[must_use]
    pub const fn is_system(&self) -> bool {
        matches!(
            self,
            Self::SupervisorStarted { .. }
                | Self::SupervisorStopped
                | Self::Checkpointed { .. }
                | Self::StoreRebuilt { .. }
                | Self::TailCut { .. }
        )
    }
}
