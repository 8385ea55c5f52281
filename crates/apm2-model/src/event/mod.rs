//! What happened, in the past tense. Data only: bytes are the ledger's matter, words the command line's.

pub mod actor;
pub mod exit;
pub mod identity;
pub mod kind;
pub mod origin;
pub mod requester;
pub mod stream_id;
pub mod timestamp;

use crate::event::{actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Timestamp};

/// An event that is not recorded yet: everything but its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whose event it is.
    pub stream: StreamId,
    /// The run it belongs to, from 1; 0 before the first and for system events.
    pub run: u64,
    /// Who or what brought it about.
    pub actor: Actor,
    /// Why, in the words of whoever asked.
    pub reason: Option<String>,
    /// The seq of the event that caused it.
    pub cause: Option<u64>,
    /// When.
    pub stamp: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Position in the whole ledger, from 1, without gaps.
    pub seq: u64,
    /// Position in its stream, from 1, without gaps.
    pub version: u64,
    /// Whose event it is.
    pub stream: StreamId,
    /// The run it belongs to, from 1; 0 before the first and for system events.
    pub run: u64,
    /// Who or what brought it about.
    pub actor: Actor,
    /// Why, in the words of whoever asked.
    pub reason: Option<String>,
    /// The seq of the event that caused it.
    pub cause: Option<u64>,
    /// When.
    pub stamp: Timestamp,
    /// What.
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
