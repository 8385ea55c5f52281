//! What a state on record is worth: whether a daemon keeps it up to date, and what the kernel says where none does.

use std::{collections::HashSet, time::Duration};

use apm2_core::process::{ProcessStatus, status_of};
use apm2_model::{
    clock::{SystemClock, boot_id},
    event::{
        identity::ProcessIdentity,
        timestamp::{Clock as _, Timestamp},
    },
    spec::id::ProcessId,
    state::{
        ProcessState,
        stream::{FollowUp, Stream},
    },
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    moment::Moment,
    render::{words, zone::Zone},
};

/// Who keeps the record of a ledger up to date while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervision {
    /// Its daemon, which has answered.
    Answered,
    /// Its daemon, which does not answer or was not asked: what is on record is the last known state.
    Unanswered,
    /// No daemon runs.
    Absent,
}

/// What the kernel says of a process that the record has as alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It is there.
    Alive,
    /// It has ended, and its end is not on record.
    Gone,
    /// This kernel cannot tell: the process is of another boot, or of another host.
    Elsewhere,
    /// It cannot be seen from here: it is in another pid namespace, or `/proc` does not show it.
    Unseen,
}

impl Observed {
    /// Its name, as programs see it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Gone => "gone",
            Self::Elsewhere | Self::Unseen => "unknown",
        }
    }

    /// Looks at the process. The one place where this program asks.
    fn of(identity: &ProcessIdentity) -> Self {
        if identity.boot_id.is_nil() || identity.boot_id != boot_id() {
            return Self::Elsewhere;
        }
        match status_of(identity) {
            ProcessStatus::Alive => Self::Alive,
            ProcessStatus::Zombie(_) | ProcessStatus::Gone => Self::Gone,
            ProcessStatus::Unverifiable => Self::Unseen,
        }
    }
}

/// What is known beside the record about a moment that is shown.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The moment.
    pub(crate) moment: Moment,
    /// Who keeps the record; `None` for a moment of the past, which is shown as it was recorded.
    pub(crate) supervision: Option<Supervision>,
    /// The processes that are launched by this ledger's daemon, or the next one; `None` when that is not known.
    pub(crate) launched: Option<HashSet<ProcessId>>,
    /// The time of the last event on record, where no daemon answers.
    pub(crate) recorded_until: Option<DateTime<Utc>>,
}

impl Scene {
    /// A moment of the past.
    pub(crate) const fn past(moment: Moment) -> Self {
        Self { moment, supervision: None, launched: None, recorded_until: None }
    }

    /// Whether `stream` is supervised, or will be by the next daemon: not when it was removed, and not when it was a `run`
    /// that is over.
    pub(crate) fn is_kept(&self, stream: &Stream) -> bool {
        let is_launched = || self.launched.as_ref().is_none_or(|launched| launched.contains(&stream.id.process_id));
        !stream.unregistered && (stream.is_open() || is_launched())
    }

    /// What the state of `stream` is worth.
    pub(crate) fn standing<'a>(&self, stream: &'a Stream) -> Standing<'a> {
        let is_kept = self.is_kept(stream);
        let observed = match self.supervision {
            None | Some(Supervision::Answered) => None,
            Some(Supervision::Unanswered | Supervision::Absent) if stream.handle.state.has_exited() => None,
            Some(Supervision::Unanswered | Supervision::Absent) => {
                Some(stream.identity.as_ref().map_or(Observed::Elsewhere, Observed::of))
            }
        };
        Standing {
            stream,
            now: self.moment.now,
            supervision: self.supervision,
            is_kept,
            supervised: self.supervision.map(|supervision| is_kept && supervision != Supervision::Absent),
            observed,
            restart: Restart::of(stream, &self.moment),
        }
    }

    /// What the states of these are worth.
    pub(crate) fn standings<'a>(&self, streams: &[&'a Stream]) -> Vec<Standing<'a>> {
        streams.iter().map(|stream| self.standing(stream)).collect()
    }

    /// What there is to say about the worth of these: that no daemon keeps them up to date, and since when.
    pub(crate) fn caveat(&self, standings: &[Standing<'_>]) -> Option<String> {
        if !standings.iter().any(|standing| standing.is_kept) {
            return None;
        }
        let until = |what: &str| match self.recorded_until {
            Some(time) => {
                let ago = (self.moment.now - time).to_std().unwrap_or_default();
                let ago = words::duration(Duration::from_secs(ago.as_secs()));
                format!("{what} {} ({ago} ago)", Zone::of_stderr().time(time))
            }
            None => format!("{what} its beginning"),
        };
        match self.supervision {
            Some(Supervision::Absent) => Some(until("no daemon runs; the record is silent since")),
            Some(Supervision::Unanswered) => {
                Some(until("states are the last known ones; the last event on record is of"))
            }
            Some(Supervision::Answered) | None => None,
        }
    }
}

/// One instance with what its state is worth.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) now: DateTime<Utc>,
    pub(crate) supervision: Option<Supervision>,
    /// Whether it is supervised, or will be by the next daemon.
    is_kept: bool,
    /// Whether a daemon supervises it; `None` for a moment of the past.
    pub(crate) supervised: Option<bool>,
    /// What the kernel says; `None` where nobody needed to ask it.
    pub(crate) observed: Option<Observed>,
    /// The restart that is due.
    pub(crate) restart: Option<Restart>,
}

impl Standing<'_> {
    /// Whether the process is known not to be alive, or cannot be known to be, against what the record says.
    pub(crate) const fn is_doubtful(&self) -> bool {
        matches!(self.observed, Some(Observed::Gone | Observed::Elsewhere | Observed::Unseen))
    }

    /// The state on record, where nothing speaks against it.
    pub(crate) const fn state(&self) -> Result<&ProcessState, Observed> {
        match self.observed {
            Some(observed @ (Observed::Gone | Observed::Elsewhere | Observed::Unseen)) => Err(observed),
            Some(Observed::Alive) | None => Ok(&self.stream.handle.state),
        }
    }

    /// The pid, unless it may be another process's by now.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.stream.handle.pid.filter(|_| !self.is_doubtful())
    }

    /// How long it has been up, unless it may not be any more.
    pub(crate) fn uptime_secs(&self) -> Option<i64> {
        self.stream.handle.uptime_secs_at(self.now).filter(|_| !self.is_doubtful())
    }

    /// Processor use and memory at the last sample, as long as samples are taken.
    pub(crate) fn usage(&self) -> (Option<f32>, Option<u64>) {
        let handle = &self.stream.handle;
        if self.observed.is_some() { (None, None) } else { (handle.cpu_percent, handle.memory_bytes) }
    }
}

/// A restart that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restart {
    /// When, by the wall clock that it was scheduled by.
    pub(crate) at: DateTime<Utc>,
    /// How long until then; zero when the time has come.
    pub(crate) left: Duration,
}

impl Restart {
    fn of(stream: &Stream, moment: &Moment) -> Option<Self> {
        let FollowUp::Restart { since, delay_ms, .. } = stream.follow_up else { return None };
        let delay = Duration::from_millis(delay_ms);
        let at = since.wall() + TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        let by_boot_clock =
            |now: &Timestamp| Some(delay.saturating_sub(Duration::from_nanos(now.nanos_since(&since)?)));
        // A wall clock may have been set meanwhile.
        let present = moment.is_present.then(|| SystemClock.now());
        let left =
            present.as_ref().and_then(by_boot_clock).unwrap_or_else(|| (at - moment.now).to_std().unwrap_or_default());
        Some(Self { at, left })
    }
}
