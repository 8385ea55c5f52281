//! Rates of durable appends, of one caller and of 64 callers at once.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    peers::{LEDGER, PREFILLED, Peer, SQLITE, open_all},
};

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

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures all storages in turn, `rounds` times for the duration `round`, and prints the medians.
pub fn appends(parent: &Path, round: Duration, rounds: usize) -> Result<()> {
    for callers in CALLERS {
        let dir = tempfile::tempdir_in(parent)?;
        let peers = open_all(dir.path())?;
        let mut rates = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for (peer, rates) in peers.iter().zip(&mut rates) {
                rates.push(rate(peer, callers, round));
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
