//! Converts a panic to an error message with its source location.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

use crate::error::CliError;

/// Runs `work`. If `work` panics, returns an error.
///
/// Panics that are caught elsewhere print nothing: the ledger catches and handles panics of its store.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    let last = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&last);
    panic::set_hook(Box::new(move |info| {
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = last.lock().unwrap_or_else(PoisonError::into_inner);
        Err(CliError::failed(format!("internal error: {what}")).with_hint("this is a bug in apm2-ledger"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_its_place() {
        let error = caught::<()>(|| panic!("seven is odd")).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.text().contains("seven is odd") && error.text().contains("panic.rs"), "{}", error.text());
        drop(std::panic::take_hook());
    }
}
