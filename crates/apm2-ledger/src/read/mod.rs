//! Reading: events by number, stream and time, and the states of streams that are replayed from them.
//!
//! The owner of an open ledger reads the store and the commits in memory; other processes read the journal.

pub(crate) mod access;
pub(crate) mod current_states;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod last_events;
pub mod query;
pub(crate) mod reader;
pub(crate) mod replay;
pub(crate) mod sealed_states;
