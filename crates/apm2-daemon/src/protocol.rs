//! The calls that a client can make to a daemon, and their answers. One call for each connection.

use std::{fmt, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{id::ProcessId, launch::LaunchSpec},
};
use serde::{Deserialize, Serialize};

use crate::launch_form::LaunchForm;

/// The protocol version. A daemon refuses any other, and names its own.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request, with what the daemon cannot read from the socket about the requester.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// The user's terminal, if there is one.
    pub terminal: Option<String>,
    /// The request.
    pub request: ClientRequest,
}

/// A request. Targets are names, `name-instance`, prefixes of ids, or `all`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientRequest {
    /// Return pid and version of the daemon.
    Hello,
    /// Make the processes of a group exactly these, and run them.
    Apply {
        /// The group.
        group: String,
        /// All processes of the group.
        launches: Vec<SentLaunch>,
        /// Return the plan, and change nothing.
        dry_run: bool,
        /// Whether processes that have finished are started again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rerun: bool,
    },
    /// Stop processes and unregister them.
    Remove {
        /// The processes or instances.
        targets: Targets,
        /// Whether their logs are removed too, including those of processes that were removed earlier. Omitted when false: a
        /// daemon that does not know the field refuses it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        purge: bool,
    },
    /// Start instances.
    Start {
        /// The processes or instances.
        targets: Vec<String>,
    },
    /// Stop instances.
    Stop {
        /// The processes or instances.
        targets: Vec<String>,
        /// Time until SIGKILL; `None` for the timeout of each process.
        #[serde(default, with = "apm2_model::duration::option")]
        timeout: Option<Duration>,
    },
    /// Stop instances and start them again.
    Restart {
        /// The processes or instances.
        targets: Vec<String>,
    },
    /// Send a signal to the process group. The instance does not count as stopped.
    Signal {
        /// The receivers, or the process to wait for.
        targets: Vec<String>,
        /// The signal.
        signal: Signal,
    },
    /// Replace the credentials of instances.
    Reload {
        /// The processes or instances.
        targets: Vec<String>,
    },
    /// Change the number of instances.
    Scale {
        /// The name of the process.
        name: String,
        /// The new number.
        instances: u32,
    },
    /// Run a process once, under its policy, and wait for its end. Answered by [`CallAnswer::Started`], then by [`CallAnswer::Ended`].
    Run {
        /// The process.
        launch: Box<SentLaunch>,
        /// Whether the standard input of its first run is sent with the call (`SCM_RIGHTS`, unix(7)).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stdin: bool,
    },
    /// Wait for the end of a process that `Run` started.
    Wait {
        /// The receivers, or the process to wait for.
        process_id: ProcessId,
        /// The first run, from [`CallAnswer::Started`]. Omitted when that had none: a daemon that does not know the field refuses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// The states of all instances, each as a bytes frame, then [`CallAnswer::Done`].
    Streams,
    /// Events from `first` on, each as a bytes frame, including those recorded later.
    Follow {
        /// The sequence number of the first event.
        first: u64,
    },
    /// Shut the daemon down.
    Shutdown {
        /// Whether processes are left running for the next daemon.
        leave: bool,
    },
}

impl ClientRequest {
    /// Whether the request may change the state of a process or of the daemon.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        let is_read = matches!(
            self,
            Self::Hello | Self::Wait { .. } | Self::Streams | Self::Follow { .. } | Self::Apply { dry_run: true, .. }
        );
        !is_read
    }

    /// Whether the request is idempotent, so that it can be repeated when it is unknown whether it was carried out.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Hello
            | Self::Stop { .. }
            | Self::Scale { .. }
            | Self::Wait { .. }
            | Self::Streams
            | Self::Follow { .. } => true,
            Self::Apply { dry_run, rerun, .. } => *dry_run || !*rerun,
            // A name is unknown after its removal, so the repetition would fail.
            Self::Remove { targets, .. } => !matches!(targets, Targets::Named(_)),
            Self::Signal { signal, .. } => {
                [nix::libc::SIGSTOP, nix::libc::SIGCONT].contains(&i32::from(signal.number()))
            }
            // A process that ends at once would run twice.
            Self::Start { .. }
            | Self::Restart { .. }
            | Self::Reload { .. }
            | Self::Run { .. }
            | Self::Shutdown { .. } => false,
        }
    }
}

/// A launch specification in the form in which it is sent, which is that of the launch files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SentLaunch(#[serde(with = "LaunchForm")] pub LaunchSpec);

/// A set of processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// All processes of a group.
    Group(String),
    /// Processes by their names.
    Named(Vec<String>),
    /// All processes.
    All,
}

/// A message of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonReply {
    /// The outcome for one process; more messages follow.
    Progress(Outcome),
    /// The daemon is alive and still works; more messages follow.
    Alive,
    /// An answer of `Run` that is not the last one.
    Answer(CallAnswer),
    /// The last answer.
    Done(CallAnswer),
    /// The call failed.
    Failed {
        /// The kind of failure.
        kind: FailureKind,
        /// The message for the user.
        message: String,
        /// What the user can do next.
        hint: Option<String>,
        /// Whether the daemon is shutting down and has not begun the call: the next daemon can be asked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_leaving: bool,
    },
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// Identifies the daemon.
    Hello {
        /// The daemon's pid.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// What was done, or would be done in a dry run.
    Outcomes(Vec<Outcome>),
    /// The process was started.
    Started {
        /// The id of the process.
        process_id: ProcessId,
        /// The sequence number of the last event before the start was requested.
        seq: u64,
        /// The first run. Absent from daemons of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// The process has ended. Its state was sent before, as a bytes frame.
    Ended,
    /// The call is complete.
    Done,
}

/// The outcome of a call for one process or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name of the process or instance.
    pub name: String,
    /// What was done, or would be done in a dry run.
    pub action: Action,
    /// Size of the removed logs in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The error message, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An action on a process or instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Action {
    Create,
    Change,
    Remove,
    Unchanged,
    /// The process has finished successfully, and is not started again.
    Finished,
    Start,
    Stop,
    Restart,
    Signal,
    Reload,
    Scale,
    /// Its logs were removed.
    Purge,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Unchanged => "unchanged",
            Self::Finished => "finished",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Signal => "signal",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Purge => "purge",
        })
    }
}

/// The kind of a failure; the client derives its exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The operation failed.
    Failed,
    /// The request is invalid.
    Usage,
    /// There is no such process.
    NoSuchProcess,
    /// The ledger's integrity is broken.
    Integrity,
    /// The ledger cannot be used.
    Unusable,
}
