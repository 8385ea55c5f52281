//! Requests of persons that join a stop or a start under way. The events of that stop or start carry the requester and the reason of
//! the first request alone, so each further one is recorded as an observation of the supervisor.

use crate::event::{actor::Actor, kind::EventKind, origin::EventOrigin, requester::Requester};

/// The name of the supervisor in its observations, where adapters have theirs.
pub const SUPERVISOR: &str = "supervisor";

/// What was requested, and what the request joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Joined {
    /// A stop that joined a stop.
    Stop,
    /// A stop that joined the stop of a restart. The start that was to follow is cancelled.
    StopOnly,
    /// A start that joined a start, or the second half of a restart.
    Start,
    /// A restart that joined a restart, or a start.
    Restart,
}

impl Joined {
    const ALL: [Self; 4] = [Self::Stop, Self::StopOnly, Self::Start, Self::Restart];

    /// What is on record in an event of this kind; `None` if it records no such request.
    #[must_use]
    pub fn of(kind: &EventKind) -> Option<Self> {
        let EventKind::Observed { adapter, detail } = kind else { return None };
        Self::ALL.into_iter().find(|joined| adapter == SUPERVISOR && joined.detail() == detail)
    }

    /// The words on record.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Stop => "stop: joined the stop under way",
            Self::StopOnly => "stop: joined the stop under way, and no start follows",
            Self::Start => "start: joined the start under way",
            Self::Restart => "restart: joined the restart under way",
        }
    }
}

/// A request of a person that joined another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRequest {
    /// Who requested it, and why.
    pub request: Requester,
    /// What the request joined.
    pub joined: Joined,
}

impl JoinedRequest {
    /// The request of a person; `None` for any other requester, whose requests need no record.
    #[must_use]
    pub fn of(request: Requester, joined: Joined) -> Option<Self> {
        is_person(&request).then_some(Self { request, joined })
    }

    /// The origin and the kind of the event that records the request. `cause` is the seq of the event of the stop or the start that it
    /// joined. The kind is allowed only while there is a process.
    #[must_use]
    pub fn event(self, cause: Option<u64>) -> (EventOrigin, EventKind) {
        let detail = self.joined.detail().to_owned();
        let kind = EventKind::Observed { adapter: SUPERVISOR.to_owned(), detail };
        (EventOrigin::of(self.request).caused_by(cause), kind)
    }
}

/// Whether a person, or a program on their behalf, made the request.
pub const fn is_person(request: &Requester) -> bool {
    matches!(request.actor, Actor::Operator { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_is_found_again() {
        for joined in Joined::ALL {
            let operator = Actor::Operator { uid: 7, user: None, terminal: None };
            let request = JoinedRequest::of(Requester { actor: operator, reason: None }, joined).unwrap();
            let (_, kind) = request.event(None);
            assert_eq!(Joined::of(&kind), Some(joined));
            let of_adapter = EventKind::Observed { adapter: "output".to_owned(), detail: joined.detail().to_owned() };
            assert_eq!(Joined::of(&of_adapter), None);
        }
        assert_eq!(Joined::of(&EventKind::Unregistered), None);
    }
}
