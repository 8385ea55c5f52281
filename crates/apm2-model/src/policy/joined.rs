//! Requests of persons that join a stop or a start under way. The events of that stop or start carry the requester and the reason of
//! the first request alone, so each further one is recorded as an observation of the supervisor.

use crate::event::{actor::Actor, kind::EventKind, origin::EventOrigin, requester::Requester};

/// The name of the supervisor in its observations, where adapters have theirs.
pub const SUPERVISOR: &str = "supervisor";

/// What was requested, and what the request joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    const fn detail(self) -> &'static str {
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
