//! Watches whether the ledger can still be written. A thread makes the checks, since they may wait for the disk.

use std::{io, thread, time::Duration};

use apm2_ledger::{Ledger, Place};
use tokio::sync::mpsc;

/// Interval of the checks whether the path of the ledger still leads to its directory.
const PLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Starts a thread that poisons the ledger (stops all writes) when its directory is moved or removed.
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

/// Receives one message when the ledger is poisoned. The message is the current path of the ledger directory.
pub(crate) fn poisoned(ledger: &Ledger) -> mpsc::Receiver<Place> {
    let (sender, receiver) = mpsc::channel(1);
    let dir = ledger.dir().clone();
    // The channel has room for the only message, so sending never blocks.
    ledger.when_poisoned(move || {
        let _ = sender.try_send(dir.place());
    });
    receiver
}
