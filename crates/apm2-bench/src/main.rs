//! Benchmarks of the ledger. Each run also measures plain files and databases on the same machine, because results of
//! different machines or runs cannot be compared.
//!
//! ```text
//! apm2-bench [--short] all COMMAND [DIR]    everything below, with ledgers of 1 and 10 million events
//! apm2-bench [--short] append [DIR]         durable appends, 1 and 64 callers: ledger, plain files, SQLite, redb, fjall
//! apm2-bench [--short] allocations [DIR]    memory allocations of a durable append
//! apm2-bench fill DIR EVENTS [--small | --gone PERCENT]
//!                                           creates a ledger with about EVENTS events; --small: in commits of one or two;
//!                                           --gone: that share of its processes ended for good long ago
//! apm2-bench replay DIR                     replays the events of the ledger to process handles, and verifies it
//! apm2-bench sizes DIR [DIR]                bytes on disk of each event: ledger, SQLite, redb, fjall, plain file
//! apm2-bench questions COMMAND DIR [DIR]    times of questions with a daemon, without, and by the library
//! apm2-bench retention COMMAND DIR SMALL    times of questions before and after `retain` in DIR, and in the ledger SMALL
//! ```
//!
//! COMMAND is the path of a release build of `apm2-ledger`. `--short` checks that a benchmark works. Its results are too
//! inaccurate to be used.

mod allocations;
mod appends;
mod events;
mod fill;
mod peers;
mod questions;
mod replays;
mod retention;
mod sizes;

use std::{error::Error, path::Path, time::Duration};

use crate::{
    allocations::allocations, appends::appends, events::Commits, fill::fill, questions::ask, replays::replay,
    retention::compare, sizes::sizes,
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
    /// Number of events in the smaller one of the two filled ledgers. The larger one has ten times as many.
    events: u64,
    /// Number of times that each question is asked. The median is printed.
    asks: usize,
}

const FULL: Extent =
    Extent { round: Duration::from_millis(1500), rounds: 5, counted_appends: 2000, events: 1_000_000, asks: 9 };
const SHORT: Extent =
    Extent { round: Duration::from_millis(50), rounds: 1, counted_appends: 20, events: 2000, asks: 1 };

const USAGE: &str =
    "usage: apm2-bench [--short] all COMMAND [DIR] | [--short] append [DIR] | [--short] allocations [DIR]
       | fill DIR EVENTS [--small | --gone PERCENT] | replay DIR | sizes DIR [DIR] | questions COMMAND DIR [DIR]
       | retention COMMAND DIR SMALL";

fn all(command: &Path, parent: &Path, extent: Extent) -> Result<()> {
    let dir = tempfile::tempdir_in(parent)?;
    let [first, second, small] = ["first", "second", "small"].map(|name| dir.path().join(name));
    appends(dir.path(), extent.round, extent.rounds)?;
    allocations(dir.path(), extent.counted_appends)?;
    fill(&first, extent.events, Commits::Bulk, 0)?;
    fill(&second, extent.events * 10, Commits::Bulk, 0)?;
    fill(&small, extent.events, Commits::Small, 0)?;
    for ledger in [&first, &small] {
        sizes(ledger, dir.path())?;
    }
    replay(&second)?;
    ask(command, &[&first, &second], extent.asks)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let is_short = args.first() == Some(&"--short");
    let extent = if is_short { SHORT } else { FULL };
    args.drain(..usize::from(is_short));
    let here = Path::new(".");
    match args.as_slice() {
        ["all", command] => all(Path::new(command), here, extent),
        ["all", command, dir] => all(Path::new(command), Path::new(dir), extent),
        ["append"] => appends(here, extent.round, extent.rounds),
        ["append", dir] => appends(Path::new(dir), extent.round, extent.rounds),
        ["allocations"] => allocations(here, extent.counted_appends),
        ["allocations", dir] => allocations(Path::new(dir), extent.counted_appends),
        ["fill", dir, events] => fill(Path::new(dir), events.parse()?, Commits::Bulk, 0),
        ["fill", dir, events, "--small"] => fill(Path::new(dir), events.parse()?, Commits::Small, 0),
        ["fill", dir, events, "--gone", percent] => {
            fill(Path::new(dir), events.parse()?, Commits::Bulk, percent.parse::<u64>()?.min(100))
        }
        ["retention", command, dir, small] => {
            compare(Path::new(command), Path::new(dir), Path::new(small), extent.asks)
        }
        ["replay", dir] => replay(Path::new(dir)),
        ["sizes", ledger] => sizes(Path::new(ledger), here),
        ["sizes", ledger, dir] => sizes(Path::new(ledger), Path::new(dir)),
        ["questions", command, dirs @ ..] if !dirs.is_empty() => {
            let dirs: Vec<&Path> = dirs.iter().map(Path::new).collect();
            ask(Path::new(command), &dirs, extent.asks)
        }
        _ => Err(USAGE.into()),
    }
}
