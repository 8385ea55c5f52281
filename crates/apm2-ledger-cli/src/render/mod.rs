//! Human-readable output: words, tables and colours. This module only formats; other modules decide what a state means.

pub(crate) mod agent;
pub(crate) mod agent_line;
pub(crate) mod color;
pub(crate) mod cost;
pub(crate) mod diff;
pub(crate) mod disk;
pub(crate) mod doctor;
pub(crate) mod ends;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod invisible;
pub(crate) mod process;
pub(crate) mod requests;
pub(crate) mod sessions;
pub(crate) mod sparkline;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod timeline;
pub(crate) mod why;
pub(crate) mod words;
pub(crate) mod wrap;
pub(crate) mod zone;
