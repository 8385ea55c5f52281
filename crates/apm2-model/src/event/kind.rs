//! The kinds of events, with their fields.

use crate::{
    event::{
        agent::{class::FailureClass, finding::AgentFinding, report::AgentReport},
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
    /// A person or a program requested the start.
    Start,
    /// The restart policy requested the start.
    Restart {
        /// The number of the restart since the last sustained run (a run of at least `min_uptime`), from 1.
        attempt: u32,
    },
    /// A new supervisor started the process, because the process was running when the earlier supervisor or the machine
    /// was shut down.
    Boot,
}

/// Where a signal is sent: to one process or to a process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// The signal is sent to the main process of the run alone.
    Process,
    /// The signal is sent to the whole process group of the run.
    Group,
}

/// One of the two output streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputSource {
    /// The standard output of a process.
    Stdout,
    /// The standard error of a process.
    Stderr,
}

/// The rule by which the policy refused a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartRule {
    /// The restart policy is `never`. No version records this rule; the format of version 1 defines it.
    PolicyNever,
    /// The process succeeded, and the restart policy is `on-failure`. No version records this rule; the format of
    /// version 1 defines it.
    Succeeded,
    /// The restart budget is spent: the window already contains the allowed number of restarts.
    BudgetSpent {
        /// The number of restarts in the window.
        restarts: u32,
        /// The number of restarts that are allowed in the window.
        max_restarts: u32,
        /// The length of the window, in milliseconds.
        window_ms: u64,
    },
    /// A stop of the process was requested.
    StopRequested,
    /// The budget of failed starts is spent: too many spawns failed in the window.
    SpawnBudgetSpent {
        /// The number of failed starts in the window.
        failures: u32,
        /// The number of restarts that are allowed in the window.
        max_restarts: u32,
        /// The length of the window, in milliseconds.
        window_ms: u64,
    },
    /// This supervisor does not have the launch specification of the process (its environment values and secrets), so
    /// it cannot start the process.
    LaunchUnknown,
    /// The process is an agent, and another run would fail in the same way.
    AgentFailed {
        /// Why the agent failed.
        class: FailureClass,
    },
    /// The process is an agent, and was stopped for good: a budget is used up, or a setting asks for it.
    AgentStopped {
        /// What was found.
        finding: AgentFinding,
    },
}

impl RestartRule {
    /// Whether the policy asks for a restart that this rule prevents, so that a failed process stays down.
    #[must_use]
    pub const fn is_giving_up(&self) -> bool {
        match self {
            Self::BudgetSpent { .. }
            | Self::SpawnBudgetSpent { .. }
            | Self::LaunchUnknown
            | Self::AgentFailed { .. }
            | Self::AgentStopped { .. } => true,
            Self::PolicyNever | Self::Succeeded | Self::StopRequested => false,
        }
    }
}

/// The kind of an event, with the fields of that kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The instance was registered. This is the first event of each stream.
    Registered {
        /// The specification of the instance.
        spec: RedactedSpec,
    },
    /// The specification of the instance was replaced.
    SpecChanged {
        /// The new specification. It applies from the next start on.
        spec: RedactedSpec,
    },
    /// The instance was removed from supervision.
    Unregistered,
    /// A start is about to be made. This event is durable before the process is spawned.
    StartRequested {
        /// The trigger of the start.
        trigger: StartTrigger,
    },
    /// The state changes to `Starting`: a spawn was attempted.
    Starting {
        /// The process that was spawned. `None` if the spawn failed: a `Crashed` event then follows in the same commit.
        identity: Option<ProcessIdentity>,
        /// The trigger of the start.
        trigger: StartTrigger,
    },
    /// The state changes to `Running`: the process is up.
    Running,
    /// The state changes to `Unhealthy`, because the health check has failed too often.
    Unhealthy {
        /// The number of consecutive failed health checks.
        failures: u32,
    },
    /// The state changes to `Stopping`. This event is durable before the first signal is sent.
    Stopping {
        /// The stop signal that will be sent first.
        signal: Signal,
        /// The stop timeout in milliseconds, after which SIGKILL follows.
        timeout_ms: u64,
        /// Whether SIGKILL follows when the stop timeout has passed.
        force_kill: bool,
    },
    /// The state changes to `Stopped`: the process ended with success or after a requested stop.
    Stopped {
        /// The exit of the process.
        exit: Exit,
    },
    /// The state changes to `Crashed`: the process failed, or could not be started.
    Crashed {
        /// How the run ended.
        cause: RunEnd,
    },
    /// The state changes to `Terminated`: the SIGKILL of the supervisor ended the process.
    Terminated {
        /// The exit of the process.
        exit: Exit,
    },
    /// A signal is about to be sent. This event is durable before kill(2) is called.
    SignalSent {
        /// The signal that is sent.
        signal: Signal,
        /// The process or the process group to which the signal is sent.
        target: SignalTarget,
    },
    /// The kernel refused the signal whose `SignalSent` event precedes this event.
    SignalFailed {
        /// The signal that was refused.
        signal: Signal,
        /// The error number of kill(2) (errno(3)).
        errno: i32,
    },
    /// Members of the process group were still alive some time after SIGKILL.
    GroupSurvived {
        /// The pids of these members, up to a limit.
        pids: Vec<u32>,
    },
    /// The policy will restart the process after a delay.
    RestartScheduled {
        /// The number of the restart since the last sustained run (a run of at least `min_uptime`), from 1.
        attempt: u32,
        /// The delay before the restart, in milliseconds.
        delay_ms: u64,
    },
    /// The policy will not restart the process.
    RestartRefused {
        /// The rule by which the restart was refused.
        rule: RestartRule,
    },
    /// The restart budget was reset to its full size.
    BudgetReset,
    /// The result of the health check changed, but the state of the process did not.
    HealthChanged {
        /// The new result of the health check.
        healthy: bool,
        /// The detail of the result, such as an error message.
        detail: String,
    },
    /// A new supervisor took over a process that had outlived the earlier supervisor.
    Adopted {
        /// The identity of the process.
        identity: ProcessIdentity,
    },
    /// The main process has ended, but another process still has its output pipe open.
    OutputLeaked {
        /// The output that is still open.
        source: OutputSource,
    },
    /// A measurement of the resource use of a run.
    Sampled {
        /// Processor use, in hundredths of a percent of one core.
        cpu_centipercent: u32,
        /// Resident memory (`VmRSS`, proc(5)), in bytes.
        memory_bytes: u64,
        /// The number of processes of the run that were measured together; `None` where only the main process was
        /// measured.
        processes: Option<u32>,
    },
    /// The credentials of a running process were replaced.
    CredentialRotated {
        /// The name of the credential profile.
        profile: String,
        /// The names of the environment variables that were replaced.
        variables: Vec<String>,
    },
    /// An agent adapter recognized a condition in the output of the process, or a request of a person joined another request
    /// ([`joined`](crate::policy::joined)).
    Observed {
        /// The name of the adapter, or [`SUPERVISOR`](crate::policy::joined::SUPERVISOR).
        adapter: String,
        /// The condition that the adapter recognized, or what the request joined.
        detail: String,
    },
    /// An AI agent reported something in its output. No prompt, answer, tool argument or tool result is part of it.
    Agent {
        /// The report.
        report: Box<AgentReport>,
    },
    /// The last output lines of a failed run. Secrets are masked.
    OutputTail {
        /// The last lines of stdout, or of both outputs where they are merged.
        stdout: Vec<String>,
        /// The last lines of stderr.
        stderr: Vec<String>,
    },
    /// Output could not be stored. The process continued, and its output was dropped.
    OutputDropped {
        /// The output that was dropped.
        source: OutputSource,
        /// The number of dropped bytes; 0 in the event that records the beginning of the loss.
        bytes: u64,
        /// Why the output could not be stored.
        cause: String,
    },
    /// A pre-stop command, which runs before the stop signal is sent, has ended.
    PreStopEnded {
        /// The command with its arguments. Secrets are masked.
        command: String,
        /// Whether the command exited with code 0 within its timeout.
        succeeded: bool,
        /// How the command ended, in words.
        detail: String,
    },
    /// Processes that had left the session of the run were found by the run's marker (an environment variable) after
    /// its end, and were killed.
    OrphansEnded {
        /// The number of killed processes.
        processes: u32,
    },
    /// The end in the preceding event happened while no supervisor ran, at some time between these two times.
    EndUnobserved {
        /// The last time at which a supervisor recorded anything before the end was found.
        not_before: Timestamp,
        /// The time at which a supervisor found the end.
        not_after: Timestamp,
    },
    /// System event: a supervisor opened the ledger.
    SupervisorStarted {
        /// The pid of the supervisor.
        pid: u32,
        /// The version of the supervisor program.
        version: String,
    },
    /// System event: a supervisor closed the ledger.
    SupervisorStopped,
    /// System event: a statement of the size and the hash of the ledger. No version records this event; the format of
    /// version 1 defines it.
    Checkpointed {
        /// The number of events that the statement covers.
        size: u64,
        /// The chain hash after the last covered event. Each chain hash covers one event and the chain hash before it.
        chain: [u8; 32],
    },
    /// System event: the event store beside the journal was damaged or missing. It was renamed and rebuilt from the
    /// journal.
    StoreRebuilt {
        /// A description of the damage.
        cause: String,
        /// The new name of the damaged store in the ledger directory; `None` where the store was missing.
        set_aside: Option<String>,
    },
    /// System event: an incomplete commit at the end of the journal was removed. A crash had interrupted its write, and
    /// it was never acknowledged.
    TailCut {
        /// The number of the journal segment.
        segment: u64,
        /// The offset of the incomplete commit in the segment, in bytes.
        offset: u64,
    },
}

/// Defines the kind names from one list, so that each kind has a name and the list names each kind.
macro_rules! kind_names {
    ($($kind:ident => $name:literal),* $(,)?) => {
        impl EventKind {
            /// The names of all kinds in the order of their declaration: first the events of processes, then the events
            /// of the ledger.
            pub const NAMES: [&'static str; [$($name),*].len()] = [$($name),*];

            /// The name of the kind in `snake_case`, as used for `type` in JSON, in filters and in error messages.
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
    Agent => "agent",
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
    /// The run to which an event of this kind belongs; `run` is the latest run so far.
    #[must_use]
    pub const fn run_after(&self, run: u64) -> u64 {
        match self {
            Self::StartRequested { .. } => run.saturating_add(1),
            _ => run,
        }
    }

    /// Whether events of this kind belong to [`StreamId::SYSTEM`](crate::event::stream_id::StreamId::SYSTEM) instead of
    /// a process.
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
