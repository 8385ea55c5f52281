//! The end of a run, and how the supervisor learned of this end.

use std::{fmt, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use crate::signal::Signal;

/// The bit of a wait status that says that the process dumped core (wait(2)).
const CORE_DUMPED: i32 = 0x80;

/// The exit status of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitOutcome {
    /// The process called exit(3) with this code.
    Code(i32),
    /// A signal killed the process.
    Signal {
        /// The signal that killed the process.
        signal: Signal,
        /// Whether the kernel wrote a core dump (core(5)).
        core_dumped: bool,
    },
    /// The exit status is not known. The supervisor does not invent a code.
    Unknown,
}

/// How the supervisor learned of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The supervisor was the parent of the process and reaped it (wait(2)).
    Observed,
    /// The process was no longer a child of the supervisor. Its exit status was read from the kernel.
    Recovered,
    /// The process no longer exists, and its exit status could not be read.
    Unknown,
}

/// The exit of a process: its exit status, and how the supervisor learned of the exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit status of the process.
    pub outcome: ExitOutcome,
    /// How the supervisor learned of the exit.
    pub evidence: Evidence,
}

impl Exit {
    /// An exit without a known status.
    pub const UNKNOWN: Self = Self { outcome: ExitOutcome::Unknown, evidence: Evidence::Unknown };

    /// The exit in a wait status (wait(2)), as reaped or as the last field of `/proc/<pid>/stat`.
    #[must_use]
    pub fn from_status(status: ExitStatus, evidence: Evidence) -> Self {
        let signal = status.signal().and_then(|number| u8::try_from(number).ok()).and_then(Signal::from_number);
        match (status.code(), signal) {
            (Some(code), _) => Self { outcome: ExitOutcome::Code(code), evidence },
            (None, Some(signal)) => {
                Self { outcome: ExitOutcome::Signal { signal, core_dumped: status.core_dumped() }, evidence }
            }
            (None, None) => Self::UNKNOWN,
        }
    }

    /// The wait status (wait(2)) of this exit; `None` for an unknown exit status.
    #[must_use]
    pub fn to_status(&self) -> Option<ExitStatus> {
        let raw = match self.outcome {
            ExitOutcome::Code(code) => (code & 0xff) << 8,
            ExitOutcome::Signal { signal, core_dumped } => {
                i32::from(signal.number()) | if core_dumped { CORE_DUMPED } else { 0 }
            }
            ExitOutcome::Unknown => return None,
        };
        Some(ExitStatus::from_raw(raw))
    }

    /// The exit code; `None` if a signal killed the process or the status is unknown.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        match self.outcome {
            ExitOutcome::Code(code) => Some(code),
            ExitOutcome::Signal { .. } | ExitOutcome::Unknown => None,
        }
    }

    /// The signal that killed the process; `None` if the process exited by itself or the status is unknown.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        match self.outcome {
            ExitOutcome::Signal { signal, .. } => Some(signal),
            ExitOutcome::Code(_) | ExitOutcome::Unknown => None,
        }
    }

    /// Whether the process exited by itself with code 0.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.outcome, ExitOutcome::Code(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            ExitOutcome::Code(code) => write!(f, "exit code {code}")?,
            ExitOutcome::Signal { signal, core_dumped } => {
                write!(f, "killed by {signal}{}", if core_dumped { ", core dumped" } else { "" })?;
            }
            ExitOutcome::Unknown => f.write_str("exit unknown")?,
        }
        match self.evidence {
            Evidence::Recovered => f.write_str(" (recovered)"),
            Evidence::Observed | Evidence::Unknown => Ok(()),
        }
    }
}

/// The step of a spawn that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnStage {
    /// The working directory cannot be entered.
    WorkingDirectory,
    /// No process could be created: fork(2) failed, a pipe could not be made, or a resource limit was reached.
    Fork,
    /// The program was not found or cannot be executed (execve(2)).
    Exec,
    /// The credentials of the process could not be read from their source.
    Credentials,
    /// The file for its standard input could not be opened.
    Stdin,
}

/// Why no process was spawned. A spawn failure is not a crash, since no process existed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnFailure {
    /// The step of the spawn that failed.
    pub stage: SpawnStage,
    /// The error number (errno(3)), if the failure has one.
    pub errno: Option<i32>,
    /// The message for the user about the failed spawn.
    pub message: String,
}

impl fmt::Display for SpawnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// How a run ended: an exit, a failed spawn, or a start without a known outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The process ran and exited.
    Exit(Exit),
    /// The process could not be spawned.
    SpawnFailed(SpawnFailure),
    /// The start was requested, but its outcome was never recorded. It is unknown whether the process ran.
    NeverConfirmed,
}

impl RunEnd {
    /// The exit code of the process; `None` if no process exited by itself in this run.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit(exit) => exit.code(),
            Self::SpawnFailed(_) | Self::NeverConfirmed => None,
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::SpawnFailed(failure) => failure.fmt(f),
            Self::NeverConfirmed => f.write_str("asked for, never confirmed"),
        }
    }
}
