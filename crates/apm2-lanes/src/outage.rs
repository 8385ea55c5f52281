//! Outages: the times in which an instance was down although it had not been stopped on request.

use apm2_model::event::{
    Event,
    actor::Actor,
    kind::{EventKind, RestartRule},
    timestamp::Timestamp,
};

use crate::mark::{Mark, MarkKind};

/// How an outage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageEnd {
    /// The process was running again.
    Recovered,
    /// An operator cancelled the restart or removed the instance.
    Withdrawn,
    /// The process was still down at the end of the period.
    Open,
}

/// An outage of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The end of the run with which the outage began; `None` if it began before the period.
    pub mark: Option<Mark>,
    /// The beginning of the outage, or of the period.
    pub from: Timestamp,
    /// The end of the outage, or of the period.
    pub to: Timestamp,
    /// How the outage ended.
    pub end: OutageEnd,
}

impl Outage {
    /// The length of the outage in nanoseconds, within the period.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        elapsed_ns(self.from, self.to)
    }
}

/// Nanoseconds from `from` to `to` on the boot clock, or on the wall clock if the machine was booted in between. 0 if `to` is earlier.
#[must_use]
pub fn elapsed_ns(from: Timestamp, to: Timestamp) -> u64 {
    to.nanos_since(&from).unwrap_or_else(|| u64::try_from(to.wall_ns.saturating_sub(from.wall_ns)).unwrap_or(0))
}

/// Finds the outages of one instance. Keeps the longest ones only.
#[derive(Debug, Default)]
pub struct OutageFold {
    open: Option<(Option<Mark>, Timestamp)>,
    found: Outages,
}

/// The outages of one instance in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outages {
    /// The number of outages.
    pub count: u64,
    /// Their nanoseconds together.
    pub total_ns: u64,
    /// The first end of a run with which an outage began.
    pub first_death: Option<Mark>,
    /// The longest outage.
    pub longest: Option<Outage>,
    /// The longest of those after which the process was running again.
    pub slowest_recovery: Option<Outage>,
    /// The outage that had not ended at the end of the period.
    pub open: Option<Outage>,
}

impl OutageFold {
    /// The fold at the beginning of the period. `is_down` is whether the instance had failed and was not running again.
    #[must_use]
    pub fn new(is_down: bool, from: Timestamp) -> Self {
        Self { open: is_down.then_some((None, from)), ..Self::default() }
    }

    /// Adds the next event of the stream. `mark` is the mark that it makes.
    pub fn add(&mut self, event: &Event, mark: Option<&Mark>) {
        if let Some(mark) = mark.filter(|mark| is_death(&mark.kind)) {
            self.found.first_death.get_or_insert(*mark);
            self.open.get_or_insert((Some(*mark), event.stamp));
        }
        let end = match &event.kind {
            EventKind::Running => OutageEnd::Recovered,
            EventKind::Unregistered => OutageEnd::Withdrawn,
            EventKind::RestartRefused { rule: RestartRule::StopRequested } if is_operator(&event.actor) => {
                OutageEnd::Withdrawn
            }
            _ => return,
        };
        self.close(event.stamp, end);
    }

    fn close(&mut self, to: Timestamp, end: OutageEnd) {
        let Some((mark, from)) = self.open.take() else { return };
        let outage = Outage { mark, from, to, end };
        let nanos = outage.nanos();
        self.found.count = self.found.count.saturating_add(1);
        self.found.total_ns = self.found.total_ns.saturating_add(nanos);
        let keep_longer = |kept: &mut Option<Outage>| {
            if kept.is_none_or(|kept| kept.nanos() < nanos) {
                *kept = Some(outage);
            }
        };
        keep_longer(&mut self.found.longest);
        match end {
            OutageEnd::Recovered => keep_longer(&mut self.found.slowest_recovery),
            OutageEnd::Open => self.found.open = Some(outage),
            OutageEnd::Withdrawn => {}
        }
    }

    /// The outages until the end of the period.
    #[must_use]
    pub fn finish(mut self, to: Timestamp) -> Outages {
        self.close(to, OutageEnd::Open);
        self.found
    }
}

/// Whether the mark is the end of a run that no operator asked for, other than a success.
const fn is_death(kind: &MarkKind) -> bool {
    match kind {
        MarkKind::Crash(_) | MarkKind::FailedStart(_) => true,
        MarkKind::Stop(_, by) | MarkKind::Kill(_, by) => by.is_left_to_policy(),
        _ => false,
    }
}

const fn is_operator(actor: &Actor) -> bool {
    matches!(actor, Actor::Operator { .. })
}
