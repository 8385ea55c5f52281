//! What a client may ask a daemon for, and what it is answered. One call for each connection.

use std::{fmt, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{id::ProcessId, launch::LaunchSpec},
};
use serde::{Deserialize, Serialize};

/// The version of this protocol. A daemon refuses another one, and says which it speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request, with who makes it as far as the socket does not tell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Why, in their own words.
    pub reason: Option<String>,
    /// Their terminal, if there is one.
    pub terminal: Option<String>,
    /// What is asked for.
    pub request: Request,
}

/// What is asked for. Targets are names, `name-instance`, beginnings of ids, or `all`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Whether there is anybody.
    Hello,
    /// What belongs to a group is to be exactly this, and to run.
    Apply {
        /// The group.
        group: String,
        /// What belongs to it.
        launches: Vec<LaunchSpec>,
        /// Only say what would be done.
        dry_run: bool,
        /// Whether what has finished is started, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rerun: bool,
    },
    /// Stop and forget.
    Remove {
        /// Which.
        targets: Targets,
        /// Whether their logs are removed, too, and those of what was removed before. Not sent where it is not wanted: a
        /// daemon from before it would refuse it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        purge: bool,
    },
    /// Start.
    Start {
        /// Which.
        targets: Vec<String>,
    },
    /// Stop.
    Stop {
        /// Which.
        targets: Vec<String>,
        /// Time until SIGKILL; without it, each its own.
        #[serde(default, with = "apm2_model::duration::option")]
        timeout: Option<Duration>,
    },
    /// Stop and start.
    Restart {
        /// Which.
        targets: Vec<String>,
    },
    /// Pass a signal on to the process group. It is no stop.
    Signal {
        /// Whose.
        targets: Vec<String>,
        /// The signal.
        signal: Signal,
    },
    /// Replace credentials.
    Reload {
        /// Which.
        targets: Vec<String>,
    },
    /// Change the number of instances.
    Scale {
        /// Which.
        name: String,
        /// How many.
        instances: u32,
    },
    /// Run something once, under its policy, and wait for its end. Answered by [`Answer::Started`] and then
    /// [`Answer::Ended`].
    Run {
        /// What.
        launch: Box<LaunchSpec>,
        /// Whether the standard input of its first run comes beside the call (`SCM_RIGHTS`, unix(7)).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stdin: bool,
    },
    /// Wait for the end of what was asked for by `Run`.
    Wait {
        /// Whose.
        process_id: ProcessId,
        /// The run that it began with, as [`Answer::Started`] told. Not sent where that did not: a daemon from before it
        /// would refuse it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// The folds of all instances, each as bytes, then [`Answer::Done`].
    Streams,
    /// Events from here on as they come, each as bytes.
    Follow {
        /// The seq of the first.
        first: u64,
    },
    /// Leave.
    Shutdown {
        /// Whether what runs is left running, for the next daemon.
        leave: bool,
    },
}

impl Request {
    /// Whether it may change something.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        let is_read = matches!(
            self,
            Self::Hello | Self::Wait { .. } | Self::Streams | Self::Follow { .. } | Self::Apply { dry_run: true, .. }
        );
        !is_read
    }

    /// Whether it comes to the same to ask for it once more, when it is not known whether it was done.
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
            // What is named is unknown once it is removed.
            Self::Remove { targets, .. } => !matches!(targets, Targets::Named(_)),
            Self::Signal { signal, .. } => {
                [nix::libc::SIGSTOP, nix::libc::SIGCONT].contains(&i32::from(signal.number()))
            }
            // What ends at once would run twice.
            Self::Start { .. }
            | Self::Restart { .. }
            | Self::Reload { .. }
            | Self::Run { .. }
            | Self::Shutdown { .. } => false,
        }
    }
}

/// Which processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Those of a group.
    Group(String),
    /// Those that are named.
    Named(Vec<String>),
    /// All.
    All,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// One thing is done; more to come.
    Progress(Outcome),
    /// More to come; nothing to say.
    Alive,
    /// An answer that others may follow, of `Run`.
    Answer(Answer),
    /// The last one.
    Done(Answer),
    /// It is not done.
    Failed {
        /// What kind of trouble.
        kind: FailureKind,
        /// In words.
        message: String,
        /// What to do next.
        hint: Option<String>,
        /// Whether the daemon is leaving, and has not begun what was asked for: the next one can be asked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_leaving: bool,
    },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Who is there.
    Hello {
        /// The daemon's pid.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// What was done, or would be.
    Outcomes(Vec<Outcome>),
    /// It was started.
    Started {
        /// Its id.
        process_id: ProcessId,
        /// The seq of the last event before it was asked for.
        seq: u64,
        /// The run that it began with. A daemon from before it does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// It has ended. Its fold, as bytes, came before.
    Ended,
    /// That is all.
    Done,
}

/// What became of one process or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What was done, or would be.
    pub action: Action,
    /// How much was removed, of logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why not, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why nothing had to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Action {
    Create,
    Change,
    Remove,
    Unchanged,
    /// It has done what it was started for: nothing is to be done.
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

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It failed.
    Failed,
    /// It was asked for in a wrong way.
    Usage,
    /// There is no such process.
    NoSuchProcess,
    /// The ledger's integrity is broken.
    Integrity,
    /// The ledger cannot be used.
    Unusable,
}
