//! The origin of the events of one commit: who requested them, which event caused them, and when they happened.

use crate::event::{requester::Requester, timestamp::Timestamp};

/// The origin of the events of one commit: requester, cause and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOrigin {
    /// Who requested the events, and the reason that was given.
    pub request: Requester,
    /// The seq of the event that caused these events, if one did.
    pub cause: Option<u64>,
    /// The time of the events; `None` for the current time.
    pub stamp: Option<Timestamp>,
}

impl EventOrigin {
    /// The origin of events that `request` asks for. It has no cause and the current time.
    pub fn of(request: impl Into<Requester>) -> Self {
        Self { request: request.into(), ..Self::default() }
    }

    /// This origin with the event of seq `cause` as the cause.
    pub fn caused_by(self, cause: Option<u64>) -> Self {
        Self { cause, ..self }
    }

    /// This origin with `stamp` as the time of the events.
    pub fn at(self, stamp: Timestamp) -> Self {
        Self { stamp: Some(stamp), ..self }
    }
}
