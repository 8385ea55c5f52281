//! Who or what brought the events of one commit about.

use crate::event::{requester::Requester, timestamp::Timestamp};

/// Where the events of one commit come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOrigin {
    /// Who brought them about, and why.
    pub request: Requester,
    /// The seq of the event that caused them.
    pub cause: Option<u64>,
    /// When they happened, if that was not just now.
    pub stamp: Option<Timestamp>,
}

impl EventOrigin {
    /// What `request` asked for.
    pub fn of(request: impl Into<Requester>) -> Self {
        Self { request: request.into(), ..Self::default() }
    }

    /// The same, as a consequence of the event numbered `cause`.
    pub fn caused_by(self, cause: Option<u64>) -> Self {
        Self { cause, ..self }
    }

    /// The same, at another time than now.
    pub fn at(self, stamp: Timestamp) -> Self {
        Self { stamp: Some(stamp), ..self }
    }
}
