//! Counts the starts in progress, and can refuse further starts.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Counts the starts in progress, and can refuse further starts.
pub(crate) struct Starts {
    is_closed: AtomicBool,
    under_way: watch::Sender<usize>,
}

/// One start in progress. The start is over when this value is dropped.
pub(crate) struct StartUnderWay<'a>(&'a Starts);

impl Starts {
    /// From now on, refuses each start.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Begins a start; `None` if starts are refused.
    pub(crate) fn begin(&self) -> Option<StartUnderWay<'_>> {
        // The start is counted before the flag is read, so that [`finish`](Self::finish) waits for each start that is
        // not refused.
        self.under_way.send_modify(|count| *count = count.saturating_add(1));
        let begun = StartUnderWay(self);
        (!self.is_closed()).then_some(begun)
    }

    /// Waits until no start is in progress.
    pub(crate) async fn finish(&self) {
        // `self` holds the sender, so the wait cannot fail.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self { is_closed: AtomicBool::new(false), under_way: watch::Sender::new(0) }
    }
}

impl Drop for StartUnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}
