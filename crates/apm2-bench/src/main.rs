//! Benchmarks of the ledger. Each run also measures plain files and databases on the same machine, because results of
//! different machines or runs cannot be compared.
//!
//! ```text
//! apm2-bench [--short] append [DIR]       durable appends, 1 and 64 callers: ledger, plain files, SQLite, redb, fjall
//! apm2-bench [--short] allocations [DIR]  memory allocations of a durable append
//! apm2-bench fill DIR EVENTS              creates a ledger with about EVENTS events
//! apm2-bench replay DIR                   replays the events of the ledger to process handles
//! ```
//!
//! `--short` checks in seconds that a benchmark works. Its results are too inaccurate to be used.

mod allocations;
mod events;
mod peers;

use std::{
    error::Error,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use apm2_ledger::{Ledger, Origin, Reader};

use crate::{
    allocations::allocations,
    events::{Fill, stream},
    peers::{LEDGER, PREFILLED, Peer, SQLITE, open_all},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Number and length of the measurements.
#[derive(Clone, Copy)]
struct Extent {
    /// Duration of each append measurement.
    round: Duration,
    /// Number of measurements of each storage. The storages are measured in turn.
    rounds: usize,
    /// Number of appends for which allocations are counted.
    counted_appends: u64,
}

const FULL: Extent = Extent { round: Duration::from_millis(1500), rounds: 5, counted_appends: 2000 };
const SHORT: Extent = Extent { round: Duration::from_millis(50), rounds: 1, counted_appends: 20 };

const CALLERS: [usize; 2] = [1, 64];

/// Appends with `callers` threads for the duration `round`. Returns the appends per second.
fn rate(peer: &Arc<dyn Peer>, callers: usize, round: Duration) -> f64 {
    let done = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        for caller in 0..callers {
            let (peer, done) = (Arc::clone(peer), &done);
            scope.spawn(move || {
                let mut append = peer.caller(caller);
                while began.elapsed() < round {
                    append();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn append(parent: &Path, extent: Extent) -> Result<()> {
    for callers in CALLERS {
        let dir = tempfile::tempdir_in(parent)?;
        let peers = open_all(dir.path())?;
        let mut rates = vec![Vec::new(); peers.len()];
        for _ in 0..extent.rounds {
            for (peer, rates) in peers.iter().zip(&mut rates) {
                rates.push(rate(peer, callers, extent.round));
            }
        }
        let medians: Vec<f64> = rates.into_iter().map(median).collect();
        for (peer, rate) in peers.iter().zip(&medians) {
            let latency_us = callers as f64 * 1e6 / rate;
            println!("{callers:>3} callers  {:<32} {rate:>10.0} appends/s  {latency_us:>8.1} us each", peer.name());
        }
        println!(
            "{callers:>3} callers  appends/s, ledger to pre-filled file: {:.2}; ledger to SQLite: {:.2}",
            medians[LEDGER] / medians[PREFILLED],
            medians[LEDGER] / medians[SQLITE]
        );
    }
    Ok(())
}

fn fill(dir: &Path, events: u64) -> Result<()> {
    let ledger = Ledger::open(dir)?;
    let began = Instant::now();
    let streams = (events / Fill::EVENTS_A_STREAM).max(1);
    thread::scope(|scope| {
        for part in 0..64 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (0..streams).filter(|number| number % 64 == part) {
                    Fill::new(stream(number)).append_all(ledger);
                }
            });
        }
    });
    let head = ledger.reader().head().map_or(0, |head| head.size);
    ledger.close()?;
    println!("{head} events of {streams} processes in {:.1} s, closed", began.elapsed().as_secs_f64());
    Ok(())
}

fn replay(dir: &Path) -> Result<()> {
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
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let is_short = args.first() == Some(&"--short");
    let extent = if is_short { SHORT } else { FULL };
    args.drain(..usize::from(is_short));
    match args.as_slice() {
        ["append"] => append(Path::new("."), extent),
        ["append", dir] => append(Path::new(dir), extent),
        ["allocations"] => allocations(Path::new("."), extent.counted_appends),
        ["allocations", dir] => allocations(Path::new(dir), extent.counted_appends),
        ["fill", dir, events] => fill(Path::new(dir), events.parse()?),
        ["replay", dir] => replay(Path::new(dir)),
        _ => {
            Err("usage: apm2-bench [--short] append [DIR] | [--short] allocations [DIR] | fill DIR EVENTS | replay DIR"
                .into())
        }
    }
}
