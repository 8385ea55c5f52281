//! The requester of a start or a stop.

use crate::event::actor::Actor;

/// The requester of a start or a stop, and their reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The originator.
    pub actor: Actor,
    /// The reason that they gave.
    pub reason: Option<String>,
}

impl Default for Requester {
    /// The system, without a reason.
    fn default() -> Self {
        Self { actor: Actor::System, reason: None }
    }
}

impl From<Actor> for Requester {
    fn from(actor: Actor) -> Self {
        Self { actor, reason: None }
    }
}
