//! The time at which the screen is updated. Taken once for each update, so that all that follows is a pure function.

use std::time::{Duration, Instant};

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Utc};

/// A time on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// The wall clock, which is displayed.
    pub(crate) wall: DateTime<Utc>,
    /// The time since the screen was opened, by which waits are measured.
    pub(crate) open_for: Duration,
}

impl Now {
    /// The present, on a screen that was opened at `opened`.
    pub(crate) fn since(opened: Instant) -> Self {
        Self { wall: SystemClock.now().wall(), open_for: opened.elapsed() }
    }
}
