//! What the screen asks of the rest of the program. It is taken after each update.

use crate::top::{app::dialog::Order, feed::log_update::LogTarget, message::Question};

/// What is to be done outside of the screen.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) questions: Vec<Question>,
    /// The output to read from now on; the inner value is `None` when none is to be read.
    pub(crate) logs: Option<Option<LogTarget>>,
    pub(crate) orders: Vec<Order>,
    /// Whether to suspend the program (Ctrl-Z).
    pub(crate) suspends: bool,
    /// Whether to draw every cell again, after another program wrote to the terminal.
    pub(crate) redraws: bool,
}
