//! Makes writes to log files panic, for tests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

static ARMED: Mutex<Option<HashMap<PathBuf, usize>>> = Mutex::new(None);

/// Makes the next `times` attempts to write to `path` panic.
pub(crate) fn arm(path: &Path, times: usize) {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(path.to_owned(), times);
}

/// Panics if a fault is armed for `path`.
pub(crate) fn strike(path: &Path) {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(times) = armed.as_mut().and_then(|armed| armed.get_mut(path)).filter(|times| **times > 0) else { return };
    *times -= 1;
    drop(armed);
    panic!("injected by a test");
}
