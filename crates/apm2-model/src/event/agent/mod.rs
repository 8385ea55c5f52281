//! What an AI coding agent reports about itself: sessions, turns, tools, limits and its result, in the words of the
//! OpenTelemetry GenAI conventions where they have one.
//!
//! The types have no field for a prompt, an answer, reasoning, tool arguments or tool results, so none of these can be
//! recorded. Names that an agent prints are cut to a limit ([`label::Label`]).

pub mod breach;
pub mod class;
pub mod event;
pub mod finding;
pub mod label;
pub mod outcome;
pub mod report;
pub mod usage;
