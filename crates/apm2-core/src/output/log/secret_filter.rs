//! The secrets that a process was given and that must not be recorded, wherever it writes them (law 7).

use std::sync::{Mutex, PoisonError};

use apm2_model::spec::redact::known::Known;

/// The secrets of the latest run: `None` while there may be some that are not known.
#[derive(Debug, Default)]
pub(crate) struct SecretFilter(Mutex<Option<Known>>);

impl SecretFilter {
    /// Masks these from now on.
    pub(crate) fn set(&self, known: Known) {
        self.put(Some(known));
    }

    /// From now on there may be secrets that are not known.
    pub(crate) fn forget(&self) {
        self.put(None);
    }

    fn put(&self, known: Option<Known>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// What is to be masked; `None` where there may be secrets that are not known.
    pub(crate) fn known(&self) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
