//! The check of an archive as a whole, but for what the states must be.

use std::io;

use crate::{
    chain::Chain,
    journal::{
        archive::{
            form::{FormError, Part},
            reader::{Archive, ArchiveError},
        },
        sealed::{check::Checked, reader::SealedSegment},
    },
};

/// Bytes that are read at once.
const READ_BYTES: u64 = 256 * 1024;

/// Checks the checksums of all parts and both tables.
pub(crate) fn check_bytes(archive: &Archive) -> Result<(), ArchiveError> {
    for part in archive.parts()? {
        if crc_of(archive, part)? != Some(part.crc) {
            return Err(FormError::Damaged("a segment or a catalog").into());
        }
    }
    let (mut streams, mut gone) = (0, 0);
    for state in archive.states_from(&[])? {
        streams += 1;
        gone += u64::from(state?.is_gone);
    }
    if (streams, gone) != (archive.trailer().streams, archive.trailer().gone) {
        return Err(FormError::Damaged("the number of its streams").into());
    }
    archive.names()?.try_for_each(|name| name.map(drop))
}

/// The checksum of a part; `None` when the file is too short.
fn crc_of(archive: &Archive, part: &Part) -> io::Result<Option<u32>> {
    let (bytes, mut crc, mut at) = (archive.part(part)?, 0, 0);
    while at < part.len {
        let len = usize::try_from(READ_BYTES.min(part.len - at)).unwrap_or(0);
        let Some(read) = bytes.read(at, len)? else { return Ok(None) };
        crc = crc32c::crc32c_append(crc, &read);
        at += len as u64;
    }
    Ok(Some(crc))
}

/// Reads all events, and checks that the segments follow each other and have the hash chain of the header. Calls `progress`
/// after each segment with the number of events so far.
pub(crate) fn check_events(archive: &Archive, progress: &mut dyn FnMut(u64)) -> Result<(), ArchiveError> {
    let header = archive.header();
    let (mut chain, mut next_seq, mut events) = (header.chain_before, header.first_seq, 0);
    for part in archive.parts()?.iter().filter(|part| part.level == 0) {
        let segment = SealedSegment::from_part(archive.part(part)?).map_err(|_| damaged_segment())?;
        let start = *segment.header();
        if (start.ledger, start.number, start.first_seq, start.chain_before)
            != (header.ledger, part.first, next_seq, chain)
        {
            return Err(damaged_segment());
        }
        chain = chain_of(&segment)?.ok_or_else(damaged_segment)?;
        next_seq = start.last_seq() + 1;
        events += start.count;
        progress(events);
    }
    if (chain, next_seq) == (header.chain_after, header.last_seq + 1) { Ok(()) } else { Err(damaged_segment()) }
}

/// The hash chain value after the last event; `None` when something in the segment is damaged.
fn chain_of(segment: &SealedSegment) -> io::Result<Option<Chain>> {
    let mut is_sound = true;
    let chain = segment.check(&mut |found| is_sound &= matches!(found, Checked::Event(_) | Checked::Erased { .. }))?;
    Ok(chain.filter(|_| is_sound))
}

fn damaged_segment() -> ArchiveError {
    FormError::Damaged("a segment").into()
}
