//! Messages to the user on standard error.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::{error::PREFIX, render::escape::escape};

/// Largest number of messages that are held. Further ones are dropped.
const HELD_MAX: usize = 64;

/// The messages that are held while the terminal shows a full screen; `None` while messages are written at once.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Writes one line to standard error, or holds it after [`hold`]. A failed write is ignored, since it cannot be reported.
pub(crate) fn say(text: &str) {
    let text = escape(text);
    match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(held) if held.len() < HELD_MAX => held.push(text.into_owned()),
        Some(_) => {}
        None => {
            let _ = writeln!(io::stderr(), "{PREFIX}{text}");
        }
    }
}

/// Holds all messages from now on, because a line on standard error would damage a full screen.
pub(crate) fn hold() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Takes the messages that are held.
pub(crate) fn take_held() -> Vec<String> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(std::mem::take).unwrap_or_default()
}

/// Ends [`hold`], and writes the messages that were not taken.
pub(crate) fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    held.into_iter().flatten().for_each(|text| say(&text));
}
