//! Converts panics of sled into errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::error::StoreError;

/// Runs `work`, which calls sled, and converts a panic into [`StoreError::Panicked`].
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Panicked(text.unwrap_or("without a message").to_owned()))
    })
}
