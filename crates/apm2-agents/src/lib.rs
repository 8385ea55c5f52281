//! Reads the output of AI coding agents as events: sessions, turns, tools, limits and results.
//!
//! [`reader::AgentReader`] takes the lines of one instance and returns [`AgentEvent`]s. The crate holds data and pure functions: it
//! reads no clock and no file, starts nothing and does not block. Each agent has a dialect (`dialect`), which knows its lines; all
//! dialects report to one tracker (`tracker`), which knows what is in progress and decides what becomes an event.
//!
//! No event holds a prompt, an answer, reasoning, the arguments of a tool or its result. Such fields are skipped in the JSON of a line
//! and are neither copied nor allocated (`json`); from the text of an error only its class, its HTTP status and a time are taken
//! (`classify`).
//!
//! [`AgentEvent`]: apm2_model::event::agent::event::AgentEvent

mod classify;
mod detect;
mod dialect;
mod json;
mod money;
mod names;
pub mod reader;
pub mod record;
mod reset;
mod tracker;
mod verdict;
