//! The check of a copied segment file, and the comparison of a file with its copy.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::{
    chain::Chain,
    error::Damage,
    file,
    journal::{
        plain_segment::PlainSegment,
        reader::{header_damage, sealed_damage},
        scan::Scanned,
        sealed::{check::Checked, error::SealedError, reader::SealedSegment},
        segment::SegmentError,
        segment_file::SegmentStart,
    },
};

/// Bytes at the beginning of a file that are compared. The header of a segment is shorter.
const COMPARED_FIRST: u64 = 256;

/// Bytes at the end of a file that are compared. The trailer of a sealed segment is shorter, and the checksum of the last
/// commit of a full plain segment is in them. Both depend on the hash chain value, and so on all events.
const COMPARED_LAST: u64 = 4096;

/// The events of a sound segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentSpan {
    pub(crate) start: SegmentStart,
    /// The sequence number of the event after the last one.
    pub(crate) next_seq: u64,
    /// The hash chain value after the last event.
    pub(crate) chain: Chain,
}

/// Reads and checks a whole full segment. The outer error is an I/O error.
pub(crate) fn check_full(path: &Path, number: u64, is_sealed: bool) -> io::Result<Result<SegmentSpan, Damage>> {
    if is_sealed { check_sealed(path, number) } else { Ok(check_plain(file::read(path)?, number)) }
}

fn check_plain(bytes: Vec<u8>, number: u64) -> Result<SegmentSpan, Damage> {
    let mut segment = PlainSegment::parse(bytes, false, false).map_err(|error| header_damage(number, error, 1))?;
    let start = SegmentStart::from(*segment.header());
    if start.number != number {
        return Err(header_damage(number, SegmentError::Header, start.first_seq));
    }
    while let Some(found) = segment.scan_next() {
        match found {
            Scanned::Commit(..) => {}
            Scanned::Damage(damage) => return Err(damage),
            Scanned::Torn(at) => {
                let (first_seq, what) = (segment.next_seq(), "the segment ends in a torn commit".to_owned());
                return Err(Damage { first_seq, last_seq: first_seq, segment: number, offset: at as u64, what });
            }
        }
    }
    Ok(SegmentSpan { start, next_seq: segment.next_seq(), chain: segment.chain() })
}

fn check_sealed(path: &Path, number: u64) -> io::Result<Result<SegmentSpan, Damage>> {
    let segment = match SealedSegment::open(path) {
        Ok(segment) => segment,
        Err(error) => return sealed_damage(number, (1, 1), error).map(Err),
    };
    let (start, last_seq) = (SegmentStart::from(&segment), segment.header().last_seq());
    if start.number != number {
        return Ok(Err(header_damage(number, SegmentError::Header, start.first_seq)));
    }
    let mut first_error = None;
    let chain = segment.check(&mut |found| {
        if let Checked::Damage(error) = found {
            first_error.get_or_insert(error);
        }
    })?;
    match (first_error, chain) {
        (None, Some(chain)) => Ok(Ok(SegmentSpan { start, next_seq: last_seq.saturating_add(1), chain })),
        (error, _) => {
            let error = error.unwrap_or(SealedError::Trailer);
            sealed_damage(number, (start.first_seq, last_seq), error).map(Err)
        }
    }
}

/// Whether the file `copy` exists, and has the length, the first [`COMPARED_FIRST`] and the last [`COMPARED_LAST`] bytes of
/// the file `original`.
pub(crate) fn is_same(original: &Path, copy: &Path) -> io::Result<bool> {
    let mut copied = match file::open(copy) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut original = file::open(original)?;
    let len = original.metadata()?.len();
    if copied.metadata()?.len() != len {
        return Ok(false);
    }
    let parts = [(0, COMPARED_FIRST), (len.saturating_sub(COMPARED_LAST), COMPARED_LAST)];
    for (at, count) in parts {
        if part(&mut original, at, count)? != part(&mut copied, at, count)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn part(file: &mut File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}
