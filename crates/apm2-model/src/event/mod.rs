//! Events: facts about a process or about the ledger. This module holds data only; `apm2-ledger` defines the bytes of
//! events, and `apm2-ledger-cli` their presentation.

pub mod actor;
pub mod agent;
pub mod end_filter;
pub mod exit;
pub mod identity;
pub mod kind;
pub mod origin;
pub mod requester;
pub mod stream_id;
pub mod timestamp;

use crate::event::{actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Timestamp};

/// An event before it is recorded. It has no sequence number and no version yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The instance that the event belongs to.
    pub stream: StreamId,
    /// The run to which the event belongs, from 1; 0 before the first run and for system events.
    pub run: u64,
    /// The cause of the event: a person, a policy or the system.
    pub actor: Actor,
    /// The reason that the requester gave, if any.
    pub reason: Option<String>,
    /// The seq (position in the ledger) of the event that caused this event.
    pub cause: Option<u64>,
    /// The time of the event.
    pub stamp: Timestamp,
    /// The kind of the event, with its fields.
    pub kind: EventKind,
}

/// A recorded event, with its position in the ledger and in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The position of the event in the whole ledger: from 1, without gaps.
    pub seq: u64,
    /// The position of the event in its stream: from 1, without gaps.
    pub version: u64,
    /// The instance that the event belongs to.
    pub stream: StreamId,
    /// The run to which the event belongs, from 1; 0 before the first run and for system events.
    pub run: u64,
    /// The cause of the event: a person, a policy or the system.
    pub actor: Actor,
    /// The reason that the requester gave, if any.
    pub reason: Option<String>,
    /// The seq (position in the ledger) of the event that caused this event.
    pub cause: Option<u64>,
    /// The time of the event.
    pub stamp: Timestamp,
    /// The kind of the event, with its fields.
    pub kind: EventKind,
}

impl NewEvent {
    /// Makes a recorded event of the draft and its position in the ledger (`seq`) and in its stream (`version`).
    #[must_use]
    pub fn numbered(self, seq: u64, version: u64) -> Event {
        let Self { stream, run, actor, reason, cause, stamp, kind } = self;
        Event { seq, version, stream, run, actor, reason, cause, stamp, kind }
    }
}

#[cfg(test)]
mod tests;
