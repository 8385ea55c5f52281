//! Creation of the next segment file. The file is created before it is needed, filled with zeros and synced.

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
        segment::{AHEAD, FORMAT_VERSION, SegmentHeader, segment_path},
        storage_backend::StorageBackend,
    },
};

const ZEROS_LEN: usize = 1 << 20;

/// Creates a file of `len` zero bytes with the name [`AHEAD`] in the directory `journal`, and syncs the file.
pub(super) fn prepare_segment(journal: &Path, len: u64) -> io::Result<()> {
    let unfinished = journal.join("ahead.new");
    let written = file::create(&unfinished).and_then(|file| {
        write_zeros(&file, 0, len)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // On a full disk the file would occupy the space that was left.
        drop(fs::remove_file(&unfinished));
        return Err(error);
    }
    fs::rename(&unfinished, journal.join(AHEAD))
}

/// Writes zeros from byte `start` up to byte `end`.
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

/// Whether the prepared segment file can be used: a regular file with one hard link, of `len` bytes, all of them zero.
fn is_ready(ahead: &Path, len: u64) -> bool {
    fs::symlink_metadata(ahead)
        .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1 && metadata.len() == len)
        && file::read(ahead).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Turns the prepared file [`AHEAD`] into segment `number`, and returns the open file.
///
/// The header is synced before the file gets its segment name, and the new name is synced before the first commit is
/// written. So every file with a segment name has a valid header.
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
        prepare_segment(journal, len)?;
    }
    let file = file::open_for_writing(&ahead)?;
    let header = SegmentHeader { version: FORMAT_VERSION, ledger, number, first_seq, chain_before, len };
    backend.write_all_at(&file, &header.to_bytes(), 0)?;
    backend.sync_data(&file)?;
    fs::rename(&ahead, segment_path(journal, number))?;
    sync_dir(journal)?;
    Ok(file)
}
