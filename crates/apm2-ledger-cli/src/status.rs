//! The displayed state of an instance: the recorded state, and whether a daemon or the kernel confirms it.

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

/// Whether a daemon updates the ledger while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervision {
    /// The daemon runs and has answered.
    Answered,
    /// The daemon runs, but it did not answer or no request was sent to it. The recorded state is the last known state.
    Unanswered,
    /// No daemon of this ledger runs.
    Absent,
}

/// What the kernel reports about a process that is recorded as alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelState {
    /// The kernel reports that the process exists.
    Alive,
    /// The process has ended, but its exit is not recorded.
    Gone,
    /// The process cannot be checked, because it was started in another boot or on another host.
    Elsewhere,
    /// The process cannot be checked, because it is in another pid namespace, or `/proc` does not show it.
    Unseen,
}

impl KernelState {
    /// The name of this observation in the JSON contract.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Gone => "gone",
            Self::Elsewhere | Self::Unseen => "unknown",
        }
    }

    /// Checks a process in `/proc`. All commands use this function. A process of unknown identity cannot be checked.
    pub(crate) fn of(identity: Option<&ProcessIdentity>) -> Self {
        let Some(identity) = identity else { return Self::Elsewhere };
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

/// The facts that are needed to display a moment, in addition to the recorded events.
#[derive(Debug, Clone)]
pub(crate) struct StatusContext {
    /// The moment that is displayed.
    pub(crate) moment: Moment,
    /// Whether a daemon updates the ledger; `None` for a moment in the past, which is shown as recorded.
    pub(crate) supervision: Option<Supervision>,
    /// The ids of the processes that the current daemon or the next daemon supervises; `None` when unknown.
    pub(crate) launched: Option<HashSet<ProcessId>>,
    /// The time of the last event, if no daemon answers.
    pub(crate) recorded_until: Option<DateTime<Utc>>,
}

impl StatusContext {
    /// The facts for a moment in the past.
    pub(crate) const fn past(moment: Moment) -> Self {
        Self { moment, supervision: None, launched: None, recorded_until: None }
    }

    /// Whether the instance of `stream` is supervised, or will be supervised by the next daemon. False for a removed
    /// instance, and for a `run` that has ended.
    pub(crate) fn is_kept(&self, stream: &Stream) -> bool {
        let is_launched = || self.launched.as_ref().is_none_or(|launched| launched.contains(&stream.id.process_id));
        !stream.unregistered && (stream.is_open() || is_launched())
    }

    /// Looks up in `/proc` what the kernel reports about the process of `stream`; `None` when the record is enough.
    pub(crate) fn observe(&self, stream: &Stream) -> Option<KernelState> {
        match self.supervision {
            None | Some(Supervision::Answered) => None,
            Some(Supervision::Unanswered | Supervision::Absent) if stream.handle.state.has_exited() => None,
            Some(Supervision::Unanswered | Supervision::Absent) => Some(KernelState::of(stream.identity.as_ref())),
        }
    }

    /// The displayed state of `stream`.
    pub(crate) fn status<'a>(&self, stream: &'a Stream) -> InstanceStatus<'a> {
        self.observed_status(stream, self.observe(stream))
    }

    /// The displayed state of `stream`, about whose process the kernel reports `observed`. Reads nothing.
    pub(crate) fn observed_status<'a>(&self, stream: &'a Stream, observed: Option<KernelState>) -> InstanceStatus<'a> {
        let is_kept = self.is_kept(stream);
        InstanceStatus {
            stream,
            now: self.moment.now,
            supervision: self.supervision,
            is_kept,
            supervised: match self.supervision {
                Some(supervision) => Some(is_kept && supervision != Supervision::Absent),
                None => self.moment.is_unwatched.then_some(false),
            },
            observed,
            restart: Restart::of(stream.follow_up, &self.moment),
            is_unwatched: self.moment.is_unwatched,
        }
    }

    /// The displayed states of `streams`.
    pub(crate) fn statuses<'a>(&self, streams: &[&'a Stream]) -> Vec<InstanceStatus<'a>> {
        streams.iter().map(|stream| self.status(stream)).collect()
    }

    /// The warning that is printed when no daemon updates these states. It contains the time of the last event.
    pub(crate) fn warning(&self, statuses: &[InstanceStatus<'_>], zone: Zone) -> Option<String> {
        if statuses.iter().any(|status| status.is_kept) { self.unwatched(zone) } else { None }
    }

    /// The warning that no daemon updates, or updated then, what is supervised. It contains the time of the last event, if that is
    /// the present.
    pub(crate) fn unwatched(&self, zone: Zone) -> Option<String> {
        let until = |what: &str| match self.recorded_until {
            Some(time) => {
                let ago = (self.moment.now - time).to_std().unwrap_or_default();
                let ago = words::duration(Duration::from_secs(ago.as_secs()));
                format!("{what} {} ({ago} ago)", zone.time(time))
            }
            None => format!("{what} its beginning"),
        };
        match self.supervision {
            Some(Supervision::Absent) => Some(until("no daemon runs; nothing was recorded since")),
            Some(Supervision::Unanswered) => {
                Some(until("states are the last known ones; the last event on record is of"))
            }
            None if self.moment.is_unwatched => {
                Some("no daemon is known to have run then; the states are the last known ones".to_owned())
            }
            Some(Supervision::Answered) | None => None,
        }
    }
}

/// The displayed state of one instance, and the source of this state.
#[derive(Debug)]
pub(crate) struct InstanceStatus<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) now: DateTime<Utc>,
    pub(crate) supervision: Option<Supervision>,
    /// Whether the instance is supervised, or will be supervised by the next daemon.
    pub(crate) is_kept: bool,
    /// Whether a daemon supervises the instance now. Of a moment in the past: false if no daemon is known to have run then, `None`
    /// otherwise.
    pub(crate) supervised: Option<bool>,
    /// What the kernel reports about the process; `None` when the kernel was not queried.
    pub(crate) observed: Option<KernelState>,
    /// The restart that the instance waits for.
    pub(crate) restart: Option<Restart>,
    /// Whether it is shown at a moment of the past at which no daemon is known to have run.
    pub(crate) is_unwatched: bool,
}

impl InstanceStatus<'_> {
    /// Whether the process is recorded as alive, but has ended or cannot be checked.
    pub(crate) const fn is_doubtful(&self) -> bool {
        matches!(self.observed, Some(KernelState::Gone | KernelState::Elsewhere | KernelState::Unseen))
    }

    /// The recorded state; `None` when the kernel reports that the process has ended.
    pub(crate) const fn state(&self) -> Result<&ProcessState, KernelState> {
        match self.observed {
            Some(observed @ (KernelState::Gone | KernelState::Elsewhere | KernelState::Unseen)) => Err(observed),
            Some(KernelState::Alive) | None => Ok(&self.stream.handle.state),
        }
    }

    /// The pid of the process; `None` when the kernel may have reused it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.stream.handle.pid.filter(|_| !self.is_doubtful())
    }

    /// The uptime of the process; `None` when the process may have ended, also at a moment of the past without a daemon.
    pub(crate) fn uptime_secs(&self) -> Option<i64> {
        self.stream.handle.uptime_secs_at(self.now).filter(|_| !self.is_doubtful() && !self.is_unwatched)
    }

    /// CPU use and memory at the last sample; `None` when no daemon measures them at the moment.
    pub(crate) fn usage(&self) -> (Option<f32>, Option<u64>) {
        let handle = &self.stream.handle;
        if self.observed.is_some() || self.is_unwatched {
            (None, None)
        } else {
            (handle.cpu_percent, handle.memory_bytes)
        }
    }
}

/// A restart that is scheduled and has not happened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restart {
    /// The time at which the restart is due, by the wall clock at the time of scheduling.
    pub(crate) at: DateTime<Utc>,
    /// The time until the restart; zero when the restart is due.
    pub(crate) left: Duration,
}

impl Restart {
    /// The restart that is scheduled as the follow-up of a run.
    pub(crate) fn of(follow_up: FollowUp, moment: &Moment) -> Option<Self> {
        let FollowUp::Restart { since, delay_ms, .. } = follow_up else { return None };
        let delay = Duration::from_millis(delay_ms);
        let at = since.wall() + TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        let by_boot_clock =
            |now: &Timestamp| Some(delay.saturating_sub(Duration::from_nanos(now.nanos_since(&since)?)));
        // The boot clock is preferred, because the wall clock may have been changed since the restart was scheduled.
        let present = moment.is_present.then(|| SystemClock.now());
        let left =
            present.as_ref().and_then(by_boot_clock).unwrap_or_else(|| (at - moment.now).to_std().unwrap_or_default());
        Some(Self { at, left })
    }
}
