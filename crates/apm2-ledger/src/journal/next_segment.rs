//! The next segment: created ahead of its use, as zeros that are allocated and synced.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    file::{self, sync_dir},
    journal::{
        segment::{AHEAD, SegmentHeader, segment_path},
        storage_backend::StorageBackend,
    },
};

const ZEROS_LEN: usize = 1 << 20;

/// Makes a segment of zeros under the name [`AHEAD`], allocated and synced.
pub(super) fn make_ahead(journal: &Path, len: u64) -> io::Result<()> {
    let making = journal.join("ahead.new");
    let file = file::create(&making)?;
    write_zeros(&file, 0, len)?;
    file.sync_all()?;
    fs::rename(&making, journal.join(AHEAD))
}

/// Writes zeros from `start` to `end`.
pub(super) fn write_zeros(file: &File, start: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut at = start;
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS_LEN);
        file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
        at += part as u64;
    }
    Ok(())
}

/// Whether the segment ahead is whole, has no other name, and has the length that is needed now.
fn is_ready(ahead: &Path, len: u64) -> bool {
    fs::symlink_metadata(ahead)
        .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1 && metadata.len() == len)
        && file::read(ahead).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Puts the segment ahead into use. Its header is durable before it has its name, and its name before it has a commit:
/// a segment that has a name is sound.
pub(super) fn begin_segment(
    journal: &Path,
    ledger: Uuid,
    number: u64,
    first_seq: u64,
    chain_before: Chain,
    len: u64,
    backend: &dyn StorageBackend,
) -> io::Result<File> {
    let ahead = journal.join(AHEAD);
    if !is_ready(&ahead, len) {
        make_ahead(journal, len)?;
    }
    let file = file::open_for_writing(&ahead)?;
    let header = SegmentHeader { ledger, number, first_seq, chain_before, len };
    backend.write_all_at(&file, &header.to_bytes(), 0)?;
    backend.sync_data(&file)?;
    fs::rename(&ahead, segment_path(journal, number))?;
    sync_dir(journal)?;
    Ok(file)
}
