//! Who asks for something, and why.

use crate::event::actor::Actor;

/// Who asks for a start or a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// Who.
    pub actor: Actor,
    /// Why, in their own words.
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
