//! A filter for the ends of runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    event::{
        exit::{Exit, ExitOutcome, RunEnd},
        kind::EventKind,
    },
    signal::Signal,
};

/// The ends of runs that are asked for.
///
/// As text: an exit code (`7`), the name of a signal (`SIGKILL` or `KILL`), `ok`, `failed`, `unknown` or `not-started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EndFilter {
    /// The process exited with this code.
    Code(i32),
    /// This signal killed the process.
    Signal(Signal),
    /// The process exited with code 0.
    Success,
    /// The run is recorded as crashed. A process that was stopped on request did not fail, whatever its exit is.
    Failure,
    /// The exit status is not known.
    Unknown,
    /// There was no process, since the spawn failed or was never confirmed.
    NotStarted,
}

/// The error for a text that is no [`EndFilter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write an exit code (7), a signal (SIGKILL), ok, failed, unknown or not-started")]
pub struct InvalidEndFilter;

/// The kinds of the events that record the end of a run.
pub const END_KINDS: [&str; 3] = ["stopped", "crashed", "terminated"];

impl EndFilter {
    /// The names of the kinds of events that can record such an end.
    #[must_use]
    pub const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Failure | Self::NotStarted => &["crashed"],
            Self::Success | Self::Code(0) => &["stopped", "terminated"],
            Self::Code(_) | Self::Signal(_) | Self::Unknown => &END_KINDS,
        }
    }

    /// Whether an event of this kind records an end that the filter accepts.
    #[must_use]
    pub fn accepts(self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => {
                self.accepts_end(&RunEnd::Exit(*exit), false)
            }
            EventKind::Crashed { cause } => self.accepts_end(cause, true),
            _ => false,
        }
    }

    /// Whether the filter accepts this end of a run. `is_crash` is whether the run is recorded as crashed.
    #[must_use]
    pub fn accepts_end(self, end: &RunEnd, is_crash: bool) -> bool {
        let exit = match end {
            RunEnd::Exit(exit) => Some(exit),
            RunEnd::SpawnFailed(_) | RunEnd::NeverConfirmed => None,
        };
        let outcome = exit.map(|exit| exit.outcome);
        match self {
            Self::Code(code) => outcome == Some(ExitOutcome::Code(code)),
            Self::Signal(signal) => exit.and_then(Exit::signal) == Some(signal),
            Self::Success => exit.is_some_and(Exit::is_success),
            Self::Failure => is_crash,
            Self::Unknown => outcome == Some(ExitOutcome::Unknown),
            Self::NotStarted => exit.is_none(),
        }
    }
}

impl fmt::Display for EndFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Signal(signal) => signal.fmt(f),
            Self::Success => f.write_str("ok"),
            Self::Failure => f.write_str("failed"),
            Self::Unknown => f.write_str("unknown"),
            Self::NotStarted => f.write_str("not-started"),
        }
    }
}

impl FromStr for EndFilter {
    type Err = InvalidEndFilter;

    fn from_str(text: &str) -> Result<Self, InvalidEndFilter> {
        match text {
            "ok" => Ok(Self::Success),
            "failed" => Ok(Self::Failure),
            "unknown" => Ok(Self::Unknown),
            "not-started" => Ok(Self::NotStarted),
            _ => match text.parse() {
                Ok(code) => Ok(Self::Code(code)),
                Err(_) => text.parse().map(Self::Signal).map_err(|_| InvalidEndFilter),
            },
        }
    }
}

impl TryFrom<String> for EndFilter {
    type Error = InvalidEndFilter;

    fn try_from(text: String) -> Result<Self, InvalidEndFilter> {
        text.parse()
    }
}

impl From<EndFilter> for String {
    fn from(filter: EndFilter) -> Self {
        filter.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::exit::{Evidence, SpawnFailure, SpawnStage};

    fn exit(outcome: ExitOutcome) -> Exit {
        Exit { outcome, evidence: Evidence::Observed }
    }

    #[test]
    fn each_filter_accepts_its_ends_only() {
        let killed = ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false };
        let failure = SpawnFailure { stage: SpawnStage::Exec, errno: Some(2), message: "no".to_owned() };
        let kinds = [
            EventKind::Stopped { exit: exit(ExitOutcome::Code(0)) },
            EventKind::Stopped { exit: exit(ExitOutcome::Code(7)) },
            EventKind::Terminated { exit: exit(killed) },
            EventKind::Crashed { cause: RunEnd::Exit(exit(killed)) },
            EventKind::Crashed { cause: RunEnd::Exit(Exit::UNKNOWN) },
            EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) },
            EventKind::Crashed { cause: RunEnd::NeverConfirmed },
            EventKind::Running,
        ];
        for (text, accepted) in [
            ("0", &[0][..]),
            ("7", &[1]),
            ("SIGKILL", &[2, 3]),
            ("KILL", &[2, 3]),
            ("ok", &[0]),
            ("failed", &[3, 4, 5, 6]),
            ("unknown", &[4]),
            ("not-started", &[5, 6]),
            ("9", &[]),
        ] {
            let filter: EndFilter = text.parse().unwrap();
            let found: Vec<usize> = (0..kinds.len()).filter(|at| filter.accepts(&kinds[*at])).collect();
            assert_eq!(found, accepted, "{text:?}");
        }
        let filters = ["0", "7", "SIGKILL", "ok", "failed", "unknown", "not-started"];
        for filter in filters.map(|text| text.parse::<EndFilter>().unwrap()) {
            for kind in kinds.iter().filter(|kind| filter.accepts(kind)) {
                assert!(filter.kinds().contains(&kind.name()), "{filter} {kind:?}");
            }
        }
    }

    #[test]
    fn a_filter_is_read_back_from_its_text() {
        for text in ["7", "SIGKILL", "ok", "failed", "unknown", "not-started"] {
            let filter: EndFilter = text.parse().unwrap();
            assert_eq!((filter.to_string(), filter.to_string().parse()), (text.to_owned(), Ok(filter)));
        }
        assert!(["", "kaput", "SIG", "1.5"].iter().all(|text| text.parse::<EndFilter>().is_err()));
    }
}
