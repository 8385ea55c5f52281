//! The origin of the events of one commit: requester, cause and time.

use crate::event::{requester::Requester, timestamp::Timestamp};

/// The origin of the events of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOrigin {
    /// The requester and their reason.
    pub request: Requester,
    /// The seq of the event that caused them.
    pub cause: Option<u64>,
    /// When they happened; `None` for the present.
    pub stamp: Option<Timestamp>,
}

impl EventOrigin {
    /// The origin of what `request` asks for.
    pub fn of(request: impl Into<Requester>) -> Self {
        Self { request: request.into(), ..Self::default() }
    }

    /// This origin, as a consequence of the event numbered `cause`.
    pub fn caused_by(self, cause: Option<u64>) -> Self {
        Self { cause, ..self }
    }

    /// This origin, at another time than the present.
    pub fn at(self, stamp: Timestamp) -> Self {
        Self { stamp: Some(stamp), ..self }
    }
}
