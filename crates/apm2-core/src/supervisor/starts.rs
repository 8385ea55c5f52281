//! The starts that are under way, and whether another one may begin.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The starts that are under way, and whether another one may begin.
pub(crate) struct Starts {
    is_closed: AtomicBool,
    under_way: watch::Sender<usize>,
}

/// One start that is under way, until it is dropped.
pub(crate) struct StartUnderWay<'a>(&'a Starts);

impl Starts {
    /// Refuses every start from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Begins a start; `None` once they are refused.
    pub(crate) fn begin(&self) -> Option<StartUnderWay<'_>> {
        // Counted before the flag is read: a start that is not refused is seen by `finish`.
        self.under_way.send_modify(|count| *count = count.saturating_add(1));
        let begun = StartUnderWay(self);
        (!self.is_closed()).then_some(begun)
    }

    /// Waits until no start is under way.
    pub(crate) async fn finish(&self) {
        // The sender is held by `self`, so this cannot fail.
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
