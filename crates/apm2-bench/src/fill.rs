//! Creates ledgers of a given size.

use std::{
    ops::Range,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use apm2_ledger::{JOURNAL_DIR, Ledger};

use crate::{
    Result,
    events::{Commits, Fill, Lifetime, stream},
};

const CALLERS: u64 = 64;

/// Bound of the wait for the sealing of the last segments.
const SEALING_WAIT: Duration = Duration::from_secs(120);
const SEALING_POLL: Duration = Duration::from_millis(50);

/// Creates a ledger with about `events` events in `dir`, and waits until its full segments are sealed. The first `gone_percent`
/// of 100 processes ended long ago, before the others began.
pub fn fill(dir: &Path, events: u64, commits: Commits, gone_percent: u64) -> Result<()> {
    let ledger = Ledger::open(dir)?;
    let began = Instant::now();
    let streams = (events / Fill::EVENTS_A_STREAM).max(1);
    let gone = streams * gone_percent / 100;
    append_all(&ledger, 0..gone, commits, Lifetime::Gone);
    append_all(&ledger, gone..streams, commits, Lifetime::Recent);
    let head = ledger.reader().head().map_or(0, |head| head.size);
    let took = began.elapsed();
    wait_until_sealed(&dir.join(JOURNAL_DIR))?;
    ledger.close()?;
    println!("{head} events of {streams} processes in {:.1} s, closed", took.as_secs_f64());
    Ok(())
}

/// Appends the histories of the processes with these numbers.
fn append_all(ledger: &Ledger, numbers: Range<u64>, commits: Commits, lifetime: Lifetime) {
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let numbers = numbers.clone().filter(move |number| number % CALLERS == caller);
            scope.spawn(move || {
                numbers.for_each(|number| Fill::new(stream(number), commits, lifetime).append_all(ledger));
            });
        }
    });
}

/// Waits until each segment but the last has its sealed file.
fn wait_until_sealed(journal: &Path) -> Result<()> {
    let began = Instant::now();
    loop {
        let (mut plain, mut unsealed) = (0, 0);
        for entry in journal.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                plain += 1;
                unsealed += usize::from(!path.with_extension("sealed").exists());
            }
        }
        // The segment after the active one may have been created in advance.
        if unsealed <= 2 || plain <= 2 {
            return Ok(());
        }
        if began.elapsed() > SEALING_WAIT {
            return Err(format!("{unsealed} segments are not sealed after {SEALING_WAIT:?}").into());
        }
        thread::sleep(SEALING_POLL);
    }
}
