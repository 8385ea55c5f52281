//! Counts the memory allocations of a durable append through the recorder of a runner, on one thread.

use std::path::Path;

use apm2_core::process::{Recorded, Recorder as _};
use apm2_ledger::Ledger;

use crate::{
    Result,
    events::{registered, sampled_with_reason, start, stream},
};

/// Prints the average number of allocations for each of `appends` appends of one event. Allocations of the indexing
/// thread are not counted.
pub fn allocations(parent: &Path, appends: u64) -> Result<()> {
    let dir = tempfile::tempdir_in(parent)?;
    let ledger = Ledger::open(&dir.path().join("ledger"))?;
    let mut recorder = ledger.recorder();
    let id = stream(1);
    let mut fold = recorder.record(None, vec![registered(id)])?.stream;
    for drafts in start(id, 1) {
        fold = recorder.record(Some(&fold), drafts)?.stream;
    }
    let drafts: Vec<_> = (0..appends).map(|number| vec![sampled_with_reason(id, 1, number)]).collect();
    let mut failed = None;
    let counted = allocation_counter::measure(|| {
        for draft in drafts {
            match recorder.record(Some(&fold), draft) {
                Ok(Recorded { stream, .. }) => fold = stream,
                Err(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let each = |total: u64| total as f64 / appends as f64;
    println!(
        "1 caller, {appends} appends of one event: {:.1} allocations, {:.0} bytes each",
        each(counted.count_total),
        each(counted.bytes_total)
    );
    Ok(())
}
