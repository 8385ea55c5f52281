//! Events: what has happened to a process or to the ledger. Data only; `apm2-ledger` defines their bytes and `apm2-ledger-cli` their
//! presentation.

pub mod actor;
pub mod exit;
pub mod identity;
pub mod kind;
pub mod origin;
pub mod requester;
pub mod stream_id;
pub mod timestamp;

use crate::event::{actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Timestamp};

/// An event before it is recorded: it has no numbers yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The instance that the event belongs to.
    pub stream: StreamId,
    /// The run it belongs to, from 1; 0 before the first and for system events.
    pub run: u64,
    /// The cause of the event: a person, a policy or the system.
    pub actor: Actor,
    /// The reason that the requester gave.
    pub reason: Option<String>,
    /// The seq of the event that caused it.
    pub cause: Option<u64>,
    /// When it happened.
    pub stamp: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Position in the whole ledger, from 1, without gaps.
    pub seq: u64,
    /// Position in its stream, from 1, without gaps.
    pub version: u64,
    /// The instance that the event belongs to.
    pub stream: StreamId,
    /// The run it belongs to, from 1; 0 before the first and for system events.
    pub run: u64,
    /// The cause of the event: a person, a policy or the system.
    pub actor: Actor,
    /// The reason that the requester gave.
    pub reason: Option<String>,
    /// The seq of the event that caused it.
    pub cause: Option<u64>,
    /// When it happened.
    pub stamp: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

impl NewEvent {
    /// The event with its numbers.
    #[must_use]
    pub fn numbered(self, seq: u64, version: u64) -> Event {
        let Self { stream, run, actor, reason, cause, stamp, kind } = self;
        Event { seq, version, stream, run, actor, reason, cause, stamp, kind }
    }
}

#[cfg(test)]
mod tests;
