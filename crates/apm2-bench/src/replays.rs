//! Times of a replay of all events to process handles, and of a verification.

use std::{path::Path, time::Instant};

use apm2_ledger::{Origin, Reader, verify};

use crate::Result;

pub fn replay(dir: &Path) -> Result<()> {
    let reader = Reader::open(dir)?;
    for origin in [Origin::Genesis, Origin::Genesis, Origin::Genesis, Origin::Snapshot] {
        let began = Instant::now();
        let replayed = reader.replay(u64::MAX, origin)?;
        let took = began.elapsed().as_secs_f64();
        println!(
            "{origin:?}, {}: {} events to {} handles in {:.3} s, {:.2} million a second",
            reader.source(),
            replayed.events,
            replayed.streams.len(),
            took,
            replayed.events as f64 / took / 1e6
        );
    }
    let began = Instant::now();
    let report = verify(dir, &mut |_| {})?;
    let took = began.elapsed().as_secs_f64();
    let (size, findings) = (report.head.size, report.findings.len());
    println!(
        "verify: {size} events in {took:.3} s, {:.2} million a second, {findings} findings",
        size as f64 / took / 1e6
    );
    Ok(())
}
