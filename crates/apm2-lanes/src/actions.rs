//! What persons, and programs on their behalf, did in a period, which restarts were refused, and which ends no supervisor observed. The
//! lists have a limit.

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        kind::{EventKind, RestartRule},
        requester::Requester,
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    policy::joined::Joined,
};

use crate::mark::Mark;

/// Largest number of listed actions, refusals and unobserved ends each. The first ones are kept.
pub const LISTED_MAX: usize = 1000;

/// The first elements of a sequence, up to [`LISTED_MAX`], and the number of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The first elements.
    pub first: Vec<T>,
    /// The number of all elements.
    pub count: u64,
}

/// An event that an operator requested.
///
/// The end of a supervisor is an action of the stream of the ledger itself. A ledger may have its requester in a reason only, so
/// that its actor is the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The wall-clock time in nanoseconds since 1970, within the period.
    pub at_ns: i64,
    /// The sequence number of the event.
    pub seq: u64,
    /// The instance; [`StreamId::SYSTEM`] for the end of a supervisor.
    pub stream: StreamId,
    /// The name of the kind of event: `registered`, `spec_changed`, `unregistered`, `start_requested`, `stopping`,
    /// `supervisor_stopped`, or `observed` for a request that joined another.
    pub kind: &'static str,
    /// Whether it is a start that follows a stop because one request asked for both.
    pub is_second_half: bool,
    /// What the request joined, if it joined another.
    pub joined: Option<Joined>,
    /// The operator.
    pub actor: Actor,
    /// The reason that was given.
    pub reason: Option<String>,
}

/// A restart that the policy asks for and that was not made, so that the process stays down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The wall-clock time in nanoseconds since 1970, within the period.
    pub at_ns: i64,
    /// The sequence number of the event.
    pub seq: u64,
    /// The instance.
    pub stream: StreamId,
    /// The rule that prevented the restart.
    pub rule: RestartRule,
}

/// An end of a run that no supervisor observed as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnobservedEnd {
    /// The instance.
    pub stream: StreamId,
    /// The mark of the end, at the time at which it was found; `None` if the end is before the period.
    pub mark: Option<Mark>,
    /// The last time at which a supervisor recorded anything before the end was found.
    pub not_before: Timestamp,
    /// The time at which a supervisor found the end.
    pub not_after: Timestamp,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Listed<T> {
    /// Adds the next element.
    pub fn add(&mut self, element: T) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < LISTED_MAX {
            self.first.push(element);
        }
    }
}

impl Listed<Action> {
    /// Adds an action at the place of its event.
    pub fn insert(&mut self, action: Action) {
        self.count = self.count.saturating_add(1);
        let place = self.first.partition_point(|other| other.seq < action.seq);
        self.first.insert(place, action);
        self.first.truncate(LISTED_MAX);
    }
}

impl Action {
    /// The end of a supervisor, recorded by this event, as an action of the one who requested it.
    #[must_use]
    pub fn end_of_supervisor(event: &Event, by: Requester) -> Self {
        let (at_ns, kind) = (event.stamp.wall_ns, event.kind.name());
        let Requester { actor, reason } = by;
        Self { at_ns, seq: event.seq, stream: event.stream, kind, is_second_half: false, joined: None, actor, reason }
    }

    /// The action in an event at this time; `None` if the event is none.
    #[must_use]
    pub fn of(event: &Event, at_ns: i64) -> Option<Self> {
        let joined = Joined::of(&event.kind);
        let is_action = joined.is_some()
            || matches!(
                event.kind,
                EventKind::Registered { .. }
                    | EventKind::SpecChanged { .. }
                    | EventKind::Unregistered
                    | EventKind::StartRequested { .. }
                    | EventKind::Stopping { .. }
            );
        if !is_action || !matches!(event.actor, Actor::Operator { .. }) {
            return None;
        }
        // The start of a restart has a cause, which is the end of the run before. A start on its own has none.
        let is_second_half = matches!(event.kind, EventKind::StartRequested { .. }) && event.cause.is_some();
        let (actor, reason) = (event.actor.clone(), event.reason.clone());
        Some(Self {
            at_ns,
            seq: event.seq,
            stream: event.stream,
            kind: event.kind.name(),
            is_second_half,
            joined,
            actor,
            reason,
        })
    }
}

impl UnobservedEnd {
    /// The unobserved end that an event is about; `None` if it is about none. `last_end` is the latest end of a run of its stream.
    #[must_use]
    pub fn of(event: &Event, last_end: Option<Mark>) -> Option<Self> {
        match event.kind {
            EventKind::EndUnobserved { not_before, not_after } => {
                Some(Self { stream: event.stream, mark: last_end, not_before, not_after })
            }
            _ => None,
        }
    }
}

impl Refusal {
    /// The refusal in an event at this time; `None` if the event is none, or a refusal after which the process need not run.
    #[must_use]
    pub fn of(event: &Event, at_ns: i64) -> Option<Self> {
        match event.kind {
            EventKind::RestartRefused { rule } if rule.is_giving_up() => {
                Some(Self { at_ns, seq: event.seq, stream: event.stream, rule })
            }
            _ => None,
        }
    }
}
