//! A line on standard error that shows the progress of a long command.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// Time after which the progress is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// Shows the progress in one line of a terminal, which is overwritten.
pub(crate) struct ProgressLine {
    begun: Instant,
    is_terminal: bool,
    is_shown: bool,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), is_terminal: io::stderr().is_terminal(), is_shown: false }
    }

    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_terminal && self.begun.elapsed() >= SHOWN_AFTER {
            // The progress is optional, so an error of a write to standard error is ignored.
            let _ = write!(io::stderr(), "\r{}\x1b[K", text());
            self.is_shown = true;
        }
    }
}

impl Drop for ProgressLine {
    /// Erases the line: a carriage return, and the escape sequence that erases to the end of the line.
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
