//! The calls that a client can make to a daemon, and the answers. Each connection carries one call.

use std::{fmt, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{id::ProcessId, launch::LaunchSpec},
};
use serde::{Deserialize, Serialize};

use crate::{
    launch_form::LaunchForm,
    ledger_settings::LedgerSettings,
    question::{SentFound, SentQuestion},
};

/// The protocol version. A daemon refuses any other version, and names its own version in the error.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request, together with facts about the requester that the daemon cannot read from the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The protocol version of the client, see [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The reason that the user gave for the request.
    pub reason: Option<String>,
    /// The user's terminal, if there is one.
    pub terminal: Option<String>,
    /// The request of the client.
    pub request: ClientRequest,
}

/// A request of a client. Its targets are names, `name-instance`, prefixes of ids, or `all`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientRequest {
    /// Return the pid and the version of the daemon.
    Hello,
    /// Make the processes of a group exactly the given processes, and start them.
    Apply {
        /// The name of the group.
        group: String,
        /// The launches of all processes of the group.
        launches: Vec<SentLaunch>,
        /// Only return the plan; change nothing.
        dry_run: bool,
        /// Whether processes that have finished (ended with success) are started again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rerun: bool,
        /// The settings of the ledger that the group gives. Omitted without any, because a daemon that does not know the
        /// field refuses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ledger: Option<LedgerSettings>,
    },
    /// Stop processes and unregister them.
    Remove {
        /// The processes or instances to which the request applies.
        targets: Targets,
        /// Whether the logs of the processes are also removed, including logs of processes that were removed earlier.
        /// Omitted when false, because a daemon that does not know the field refuses it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        purge: bool,
    },
    /// Start instances that do not run.
    Start {
        /// The processes or instances to which the request applies.
        targets: Vec<String>,
    },
    /// Stop running instances.
    Stop {
        /// The processes or instances to which the request applies.
        targets: Vec<String>,
        /// Time until SIGKILL; `None` for the stop timeout of each process.
        #[serde(default, with = "apm2_model::duration::option")]
        timeout: Option<Duration>,
    },
    /// Stop instances and start them again.
    Restart {
        /// The processes or instances to which the request applies.
        targets: Vec<String>,
    },
    /// Send a signal to the process group of each instance. The signal does not count as a stop.
    Signal {
        /// The processes or instances that receive the signal.
        targets: Vec<String>,
        /// The number of the signal.
        signal: Signal,
    },
    /// Replace the credentials of instances.
    Reload {
        /// The processes or instances to which the request applies.
        targets: Vec<String>,
    },
    /// Change the number of instances.
    Scale {
        /// The name of the process.
        name: String,
        /// The new number of instances.
        instances: u32,
    },
    /// Run a process once with its restart policy, and wait for its end. The answers are [`CallAnswer::Started`] and
    /// then [`CallAnswer::Ended`].
    Run {
        /// The launch specification of the process.
        launch: Box<SentLaunch>,
        /// Whether the standard input of the first run is sent with the call (`SCM_RIGHTS`, unix(7)).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stdin: bool,
    },
    /// Wait for the end of a process that `Run` started.
    Wait {
        /// The process to wait for.
        process_id: ProcessId,
        /// The number of the first run, from [`CallAnswer::Started`]. Omitted when that answer had none, because a
        /// daemon that does not know the field refuses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// Return the states of all instances, each as a binary frame, and then [`CallAnswer::Done`].
    Streams,
    /// Return the events from `first` on, each as a binary frame, including events that are recorded later.
    Follow {
        /// The sequence number of the first event.
        first: u64,
    },
    /// Answer a question about the ledger. Events and states are sent in binary frames.
    Read {
        /// The question.
        question: SentQuestion,
    },
    /// Shut down the daemon.
    Shutdown {
        /// Whether processes are left running for the next daemon. Otherwise they are stopped.
        leave: bool,
    },
}

impl ClientRequest {
    /// Whether the request may change the state of a process or of the daemon.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        let is_read = matches!(
            self,
            Self::Hello
                | Self::Wait { .. }
                | Self::Streams
                | Self::Follow { .. }
                | Self::Read { .. }
                | Self::Apply { dry_run: true, .. }
        );
        !is_read
    }

    /// Whether the request is idempotent. An idempotent request can be repeated when it is unknown whether it was
    /// carried out.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Hello
            | Self::Stop { .. }
            | Self::Scale { .. }
            | Self::Wait { .. }
            | Self::Streams
            | Self::Follow { .. }
            | Self::Read { .. } => true,
            Self::Apply { dry_run, rerun, .. } => *dry_run || !*rerun,
            // `Remove` cannot be repeated: the name is unknown after the removal, so the repetition would fail.
            Self::Remove { targets, .. } => !matches!(targets, Targets::Named(_)),
            Self::Signal { signal, .. } => {
                [nix::libc::SIGSTOP, nix::libc::SIGCONT].contains(&i32::from(signal.number()))
            }
            // `Run` cannot be repeated: a process that ends quickly would run twice.
            Self::Start { .. }
            | Self::Restart { .. }
            | Self::Reload { .. }
            | Self::Run { .. }
            | Self::Shutdown { .. } => false,
        }
    }
}

/// A launch specification in its serialized form for calls, which is also the form of the launch files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SentLaunch(#[serde(with = "LaunchForm")] pub LaunchSpec);

/// The set of processes to which a request applies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// All processes of a group.
    Group(String),
    /// The processes or instances with these names.
    Named(Vec<String>),
    /// All supervised processes.
    All,
}

/// A message that the daemon sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonReply {
    /// The outcome for one process. More messages follow.
    Progress(Outcome),
    /// The daemon is alive and still works on the call. More messages follow.
    Alive,
    /// An answer of `Run` that is not the last answer.
    Answer(CallAnswer),
    /// The last answer of a call.
    Done(CallAnswer),
    /// The call failed. This is the last message.
    Failed {
        /// The kind of the failure, from which the client derives its exit code.
        kind: FailureKind,
        /// The error message for the user.
        message: String,
        /// A hint for the user: what to do next.
        hint: Option<String>,
        /// Whether the daemon is shutting down and has not begun the call. The client can then make the call to the
        /// next daemon.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_leaving: bool,
    },
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// The identity of the daemon.
    Hello {
        /// The pid of the daemon.
        pid: u32,
        /// The version of the daemon program.
        version: String,
    },
    /// The changes that were made, or that would be made in a dry run.
    Outcomes(Vec<Outcome>),
    /// The process was started.
    Started {
        /// The id of the process.
        process_id: ProcessId,
        /// The sequence number of the last event that was recorded before the start was requested.
        seq: u64,
        /// The number of the first run. Daemons of earlier versions do not send it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// The process has ended. Its final state was sent before in a binary frame.
    Ended,
    /// The instances that a text names.
    Found {
        /// The instances, or why the text names none.
        found: SentFound,
        /// The sequence number of the last event of the ledger.
        size: u64,
    },
    /// The events or states that were asked for are those before this answer.
    Read {
        /// The sequence number of the last event of the ledger when they were read.
        size: u64,
    },
    /// The call is complete, and has no other result.
    Done,
}

/// The outcome of a call for one process or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name of the process or instance.
    pub name: String,
    /// The action that was taken, or that would be taken in a dry run.
    pub action: Action,
    /// Size of the removed logs in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The error message, if the action failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The reason, if nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An action on a process or an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Action {
    Create,
    Change,
    Remove,
    Unchanged,
    /// The process has finished (ended with success), and is not started again.
    Finished,
    Start,
    Stop,
    Restart,
    Signal,
    Reload,
    Scale,
    /// The logs of the process were removed.
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

/// The kind of a failure. The client derives its exit code from the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The operation failed.
    Failed,
    /// The request is invalid.
    Usage,
    /// No process has this name or id.
    NoSuchProcess,
    /// The integrity of the ledger is broken.
    Integrity,
    /// The ledger cannot be used, for example because it is locked.
    Unusable,
}
