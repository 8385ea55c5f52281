//! The texts of the detail pane, as lines.

pub(crate) mod events;
pub(crate) mod logs;
pub(crate) mod overview;
pub(crate) mod runs;
pub(crate) mod why;
