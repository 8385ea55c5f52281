//! [`Cancel`]: ends a reading early, from another thread.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A flag that ends readings, see [`Reader::cancelled_by`](crate::Reader::cancelled_by). Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the readings. They return [`ReadError::Cancelled`](crate::ReadError::Cancelled) before they read the next frame
    /// or block.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
