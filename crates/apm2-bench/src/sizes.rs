//! Bytes on disk of each event: the ledger, and the databases with the same encoded events and the same indexes.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use apm2_ledger::{JOURNAL_DIR, Reader, record::encode_event};

use crate::{
    Result,
    peers::{Record, open_database},
};

/// Number of records in each transaction of a database. The ledger's indexer also writes many events at once.
const RECORDS_A_TRANSACTION: usize = 1000;
const BYTES_A_BLOCK: u64 = 512;

/// The blocks on disk of a file or of all files of a directory that satisfy `is_counted`, in bytes.
fn disk_bytes(path: &Path, is_counted: &dyn Fn(&Path) -> bool) -> Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(if is_counted(path) { metadata.blocks() * BYTES_A_BLOCK } else { 0 });
    }
    path.read_dir()?.try_fold(0, |sum, entry| Ok(sum + disk_bytes(&entry?.path(), is_counted)?))
}

/// Whether the file is a plain segment with a sealed file. It is removed some minutes after the sealing.
fn will_be_removed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg") && path.with_extension("sealed").exists()
}

/// Prints the size of the ledger in `dir`, and of the databases after they stored the same events, in `parent`.
pub fn sizes(dir: &Path, parent: &Path) -> Result<()> {
    let events = print_ledger(dir)?;
    for number in 0.. {
        let scratch = tempfile::tempdir_in(parent)?;
        let Some(database) = open_database(number, scratch.path())? else { break };
        let mut kinds = HashMap::new();
        let mut records = Vec::new();
        for event in Reader::open(dir)?.events(1, u64::MAX) {
            let event = event?;
            let kinds_known = kinds.len() as u8;
            let kind = *kinds.entry(event.kind.name()).or_insert(kinds_known);
            let mut body = Vec::new();
            encode_event(&event, &mut body)?;
            let (stream, wall_ns) = (*event.stream.process_id.as_bytes(), event.stamp.wall_ns.cast_unsigned());
            records.push(Record { stream, wall_ns, kind, body });
            if records.len() == RECORDS_A_TRANSACTION {
                database.append(&records)?;
                records.clear();
            }
        }
        database.append(&records)?;
        let name = database.name();
        drop(database);
        let bytes = disk_bytes(scratch.path(), &|_| true)?;
        println!("{name:<32} {:>6.1} bytes an event", bytes as f64 / events as f64);
    }
    Ok(())
}

/// Prints the size of the ledger in `dir`. Returns the number of its events.
pub fn print_ledger(dir: &Path) -> Result<u64> {
    let events = Reader::open(dir)?.head().map_or(0, |head| head.size);
    let each = |bytes: u64| bytes as f64 / events as f64;
    let journal = each(disk_bytes(&dir.join(JOURNAL_DIR), &|path| !will_be_removed(path))?);
    let all = each(disk_bytes(dir, &|path| !will_be_removed(path))?);
    println!("ledger, {events} events: {all:.1} bytes an event, {journal:.1} of them in the journal");
    Ok(events)
}
