//! Reads events by number, stream and time, and replays the states of streams from their events.
//!
//! The process that has the ledger open reads the store and the commits in memory. Other processes read the journal.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod archived;
pub(crate) mod cancel;
pub(crate) mod current_states;
pub(crate) mod events;
pub(crate) mod events_back;
pub(crate) mod find;
pub(crate) mod journal_states;
pub(crate) mod journal_streams;
pub(crate) mod query;
pub(crate) mod read_ledger;
pub(crate) mod reader;
pub(crate) mod replay;
pub(crate) mod sealed_states;
pub(crate) mod state;
pub(crate) mod state_pages;
pub(crate) mod states_before;
pub(crate) mod stream_states;
