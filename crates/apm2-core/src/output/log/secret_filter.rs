//! The known secret values of a process. They are masked in its output before the output is recorded or shown.

use std::sync::{Mutex, PoisonError};

use apm2_model::spec::redact::known::Known;

/// The secrets of the latest run; `None` while some of them may be unknown.
#[derive(Debug, Default)]
pub(crate) struct SecretFilter(Mutex<Option<Known>>);

impl SecretFilter {
    /// Masks the values in `known` from now on.
    pub(crate) fn set(&self, known: Known) {
        self.put(Some(known));
    }

    /// Records that some secrets may be unknown from now on. No output is shown until [`Self::set`] is called.
    pub(crate) fn forget(&self) {
        self.put(None);
    }

    fn put(&self, known: Option<Known>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// The values to mask; `None` while some secrets may be unknown.
    pub(crate) fn known(&self) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
