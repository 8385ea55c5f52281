//! Starts the threads of the screen. If one of them panics, the screen says so and goes on.

use std::{
    any::Any,
    io,
    panic::{self, AssertUnwindSafe},
    sync::mpsc::SyncSender,
    thread,
};

use crate::top::message::Message;

/// Starts a thread, which ends with the program.
///
/// # Errors
/// The system has no thread left.
pub(crate) fn spawn(
    name: &'static str,
    screen: &SyncSender<Message>,
    work: impl FnOnce(&SyncSender<Message>) + Send + 'static,
) -> io::Result<()> {
    let screen = screen.clone();
    let guarded = move || {
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| work(&screen))) {
            // The screen may have been closed meanwhile.
            let _ = screen.send(Message::Broken(format!("internal error in {name}: {}", text_of(&*panic))));
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map(drop)
}

/// The message of a panic.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
