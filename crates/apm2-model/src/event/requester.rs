//! Who requested a start or a stop, and why.

use crate::event::actor::Actor;

/// Who requested a start or a stop, and the reason that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The actor that made the request.
    pub actor: Actor,
    /// The reason for the request, if one was given.
    pub reason: Option<String>,
}

impl Default for Requester {
    /// The supervisor itself as the requester, without a reason.
    fn default() -> Self {
        Self { actor: Actor::System, reason: None }
    }
}

impl From<Actor> for Requester {
    fn from(actor: Actor) -> Self {
        Self { actor, reason: None }
    }
}
