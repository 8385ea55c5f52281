//! The journal format of version 1: segments that contain commits, with one hash chain over all events.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    FORMAT_VERSION, LAYOUT_VERSION,
    record::{Event, decode_event},
};

const SEGMENT_MAGIC: &[u8] = b"APM2JRNL";
const SEGMENT_HEADER_LEN: usize = 96;
const FRAME_MAGIC: &[u8] = b"a2fr";
const FRAME_HEADER_LEN: usize = 92;
const CRC_LEN: usize = 4;
const ALIGN: usize = 8;

/// The contents of a journal. The event at index `n` of the list has the sequence number `n + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// ID of the ledger.
    pub ledger: [u8; 16],
    /// The events in order.
    pub events: Vec<Event>,
    /// Hash chain value after the last event.
    pub chain: [u8; 32],
}

/// Error from reading a journal.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The journal contains bytes that version 1 does not write.
    #[error("{}, byte {offset}: {what}", path.display())]
    Broken {
        /// The segment file.
        path: PathBuf,
        /// Byte offset in the segment.
        offset: usize,
        /// Description of the error.
        what: String,
    },
}

/// Reads the journal in the directory `dir`. Checks every checksum, every sequence number and the hash chain.
///
/// A torn last commit is also an error, because opening a ledger removes it.
///
/// # Errors
/// When a file cannot be read, or contains bytes that version 1 does not write.
pub fn read_journal(dir: &Path) -> Result<Journal, ReadError> {
    let io_error = |source| ReadError::Io { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error)? {
        paths.push(entry.map_err(io_error)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    let mut journal = None;
    for (path, number) in paths.iter().zip(1..) {
        let bytes = fs::read(path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let broken = |(offset, what)| ReadError::Broken { path: path.clone(), offset, what };
        read_segment(&bytes, number, &mut journal).map_err(broken)?;
    }
    let nothing = || ReadError::Broken { path: dir.to_owned(), offset: 0, what: "no segments".to_owned() };
    journal.ok_or_else(nothing)
}

/// Byte offset and description of an error in a segment.
type Fault = (usize, String);

fn read_segment(bytes: &[u8], number: u64, journal: &mut Option<Journal>) -> Result<(), Fault> {
    let fault = |what: &str| (0, what.to_owned());
    let header = bytes.get(..SEGMENT_HEADER_LEN).ok_or_else(|| fault("no header"))?;
    if !header.starts_with(SEGMENT_MAGIC) || u32_at(header, 8) != FORMAT_VERSION {
        return Err(fault("no segment of version 1"));
    }
    if crc32c::crc32c(part(header, 0, 88)) != u32_at(header, 88) {
        return Err(fault("the checksum of the header"));
    }
    if u32_at(header, 12) != 0 || u32_at(header, 92) != 0 {
        return Err(fault("the header's zeros"));
    }
    let ledger = array_at(header, 16);
    let journal = journal.get_or_insert_with(|| Journal { ledger, events: Vec::new(), chain: genesis(ledger) });
    let follows = journal.ledger == ledger && journal.chain == array_at::<32>(header, 48);
    if !follows || u64_at(header, 32) != number || u64_at(header, 40) != next_seq(journal) {
        return Err(fault("it does not follow on the segment before it"));
    }
    let mut at = SEGMENT_HEADER_LEN;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
        let len = read_frame(rest, journal).map_err(|what| (at, what))?;
        let padded = len.next_multiple_of(ALIGN);
        if part(rest, len, padded.min(rest.len())).iter().any(|byte| *byte != 0) {
            return Err((at + len, "the padding is not zero".to_owned()));
        }
        at += padded;
    }
    Ok(())
}

/// Reads the frame at the beginning of `bytes`. Returns the length of the frame.
fn read_frame(bytes: &[u8], journal: &mut Journal) -> Result<usize, String> {
    let header = bytes.get(..FRAME_HEADER_LEN).ok_or("no frame header")?;
    if !header.starts_with(FRAME_MAGIC) || part(header, 4, 8) != [LAYOUT_VERSION, 0, 0, 0] {
        return Err("no frame of version 1".to_owned());
    }
    if crc32c::crc32c(part(header, 0, 88)) != u32_at(header, 88) {
        return Err("the checksum of the frame's header".to_owned());
    }
    let body_end = FRAME_HEADER_LEN + u32_at(header, 20) as usize;
    let frame = bytes.get(..body_end + CRC_LEN).ok_or("the frame is cut short")?;
    if crc32c::crc32c(part(frame, 0, body_end)) != u32_at(frame, body_end) {
        return Err("the checksum of the frame".to_owned());
    }
    if u64_at(header, 8) != next_seq(journal) || array_at::<32>(header, 24) != journal.chain {
        return Err("the frame does not follow on the one before it".to_owned());
    }
    let mut body = part(frame, FRAME_HEADER_LEN, body_end);
    for _ in 0..u32_at(header, 16) {
        let (len, rest) = body.split_first_chunk().ok_or("fewer events than counted")?;
        let (event, rest) =
            rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("an event longer than its frame")?;
        let seq = next_seq(journal);
        journal.chain = link(journal.chain, seq, event);
        journal.events.push(decode_event(event).map_err(|error| format!("event {seq}: {error}"))?);
        body = rest;
    }
    if !body.is_empty() {
        return Err("more bytes than the events have".to_owned());
    }
    if array_at::<32>(header, 56) != journal.chain {
        return Err("the events are not those that the chain was made of".to_owned());
    }
    Ok(frame.len())
}

const fn next_seq(journal: &Journal) -> u64 {
    journal.events.len() as u64 + 1
}

/// The hash chain value before the first event.
fn genesis(ledger: [u8; 16]) -> [u8; 32] {
    sha256(&[&[2], &ledger])
}

/// The hash chain value after one more event.
fn link(chain: [u8; 32], seq: u64, event: &[u8]) -> [u8; 32] {
    let leaf = sha256(&[&[0], &seq.to_le_bytes(), event]);
    sha256(&[&[1], &chain, &leaf])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The bytes from `from` to `to`. Returns an empty slice when `bytes` is shorter.
fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or_default()
}

/// Copies `N` bytes from offset `at`. The callers have checked the length.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
