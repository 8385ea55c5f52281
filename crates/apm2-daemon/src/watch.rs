//! Whether the ledger can still be written. Looked at on a thread of its own, since a disk may keep it waiting.

use std::{io, thread, time::Duration};

use apm2_ledger::{Ledger, Place};
use tokio::sync::mpsc;

/// How often it is looked whether the ledger's path still names its directory.
const PLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Poisons the ledger once its directory is moved or removed.
pub(crate) fn watch_place(ledger: &Ledger) -> io::Result<()> {
    let watched = ledger.clone();
    thread::Builder::new().name("apm2-place".to_owned()).spawn(move || {
        while watched.poisoned().is_none() {
            watched.check_place();
            thread::sleep(PLACE_INTERVAL);
        }
    })?;
    Ok(())
}

/// Says, once, that the ledger is poisoned, and where its directory is by then.
pub(crate) fn poisoned(ledger: &Ledger) -> mpsc::Receiver<Place> {
    let (sender, receiver) = mpsc::channel(1);
    let dir = ledger.dir().clone();
    // With room for one message, sending never waits.
    ledger.when_poisoned(move || {
        let _ = sender.try_send(dir.place());
    });
    receiver
}
