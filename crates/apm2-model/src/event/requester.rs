//! Who asks for something, and why.

use crate::event::actor::Actor;

/// Who asks for a start or a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who.
    pub actor: Actor,
    /// Why, in their own words.
    pub reason: Option<String>,
}

impl Default for Request {
    /// The system, without a reason.
    fn default() -> Self {
        Self { actor: Actor::System, reason: None }
    }
}

impl From<Actor> for Request {
    fn from(actor: Actor) -> Self {
        Self { actor, reason: None }
    }
}
