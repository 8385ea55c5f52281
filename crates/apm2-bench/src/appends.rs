//! Rates of durable appends, of one caller and of 64 callers at once.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    peers::{LEDGER, PREFILLED, Peer, SQLITE, open_all},
};

const CALLERS: [usize; 2] = [1, 64];

/// The appends of one storage in all rounds.
#[derive(Default)]
struct Measured {
    /// Appends per second of each round.
    rates: Vec<f64>,
    /// Duration of each append, in nanoseconds.
    latencies_ns: Vec<u64>,
}

impl Measured {
    /// Appends with `callers` threads for the duration `round`.
    fn add_round(&mut self, peer: &Arc<dyn Peer>, callers: usize, round: Duration) {
        let began = Instant::now();
        let mut latencies_ns = thread::scope(|scope| {
            let callers: Vec<_> =
                (0..callers).map(|caller| scope.spawn(move || repeat(&**peer, caller, began, round))).collect();
            callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect::<Vec<_>>()
        });
        self.rates.push(latencies_ns.len() as f64 / began.elapsed().as_secs_f64());
        self.latencies_ns.append(&mut latencies_ns);
    }

    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    /// The latency in microseconds that this share of the appends does not exceed.
    fn latency_us(&mut self, share: f64) -> f64 {
        self.latencies_ns.sort_unstable();
        let last = self.latencies_ns.len().saturating_sub(1);
        self.latencies_ns.get((last as f64 * share) as usize).map_or(0.0, |ns| *ns as f64 / 1e3)
    }
}

/// Appends until `round` has passed since `began`. Returns the duration of each append, in nanoseconds.
fn repeat(peer: &dyn Peer, caller: usize, began: Instant, round: Duration) -> Vec<u64> {
    let mut append = peer.caller(caller);
    let mut latencies_ns = Vec::new();
    while began.elapsed() < round {
        let called = Instant::now();
        append();
        latencies_ns.push(u64::try_from(called.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    latencies_ns
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures all storages in turn, `rounds` times for the duration `round`. Prints the median rates of the rounds, and the
/// latencies of all appends.
pub fn appends(parent: &Path, round: Duration, rounds: usize) -> Result<()> {
    for callers in CALLERS {
        let dir = tempfile::tempdir_in(parent)?;
        let peers = open_all(dir.path())?;
        let mut measured: Vec<Measured> = peers.iter().map(|_| Measured::default()).collect();
        for _ in 0..rounds {
            for (peer, measured) in peers.iter().zip(&mut measured) {
                measured.add_round(peer, callers, round);
            }
        }
        let mut medians_us = Vec::new();
        for (peer, measured) in peers.iter().zip(&mut measured) {
            let (rate, median_us, p99_us) = (measured.rate(), measured.latency_us(0.5), measured.latency_us(0.99));
            println!(
                "{callers:>3} callers  {:<32} {rate:>10.0} appends/s  median {median_us:>8.1} us  99 % {p99_us:>8.1} us",
                peer.name()
            );
            medians_us.push(median_us);
        }
        let rates: Vec<f64> = measured.iter().map(Measured::rate).collect();
        println!(
            "{callers:>3} callers  ledger to pre-filled file: rate {:.2}, median latency {:.2}; to SQLite: rate {:.2}, median latency {:.2}",
            rates[LEDGER] / rates[PREFILLED],
            medians_us[LEDGER] / medians_us[PREFILLED],
            rates[LEDGER] / rates[SQLITE],
            medians_us[LEDGER] / medians_us[SQLITE],
        );
    }
    Ok(())
}
