//! Human-readable output: words, tables, colours. It only formats; what a state means is decided in other modules.

pub(crate) mod color;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod invisible;
pub(crate) mod process;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod words;
pub(crate) mod zone;
