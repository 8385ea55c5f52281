//! What people read: words, tables, colours. What it means is decided elsewhere.

pub(crate) mod color;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod invisible;
pub(crate) mod process;
pub(crate) mod standing;
pub(crate) mod table;
pub(crate) mod words;
pub(crate) mod zone;
