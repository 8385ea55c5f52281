//! Byte format of a commit in the journal, which is one frame of this format.
//!
//! ```text
//!  0  magic "a2fr"        4
//!  4  layout version      1   1
//!  5  codec               1   0 = plain
//!  6  zero                2
//!  8  first seq           8   all integers are little-endian
//! 16  count               4
//! 20  body length         4
//! 24  chain before       32
//! 56  chain after        32
//! 88  CRC-32C of 0..88    4   so that the body length is checked before the body is read
//! 92  body                    count times: length 4, event bytes
//!     CRC-32C of all before   4
//! ```
//!
//! The CRC-32C values detect torn writes and corrupt bytes, and are checked at every read. The hash chain detects
//! tampering, and is checked by `verify`. The module [`record`](crate::record) defines the bytes of an event.

use std::ops::Range;

use crate::{
    chain::Chain,
    limits::{APPEND_BYTES_MAX, COMMIT_BYTES_MAX, RECORD_BYTES_MAX},
};

/// Length of the frame header in bytes.
pub const HEADER_LEN: usize = 92;

/// Length of the frame trailer (a CRC-32C) in bytes.
pub const TRAILER_LEN: usize = 4;

const MAGIC: [u8; 4] = *b"a2fr";

const LAYOUT_VERSION: u8 = 1;

const CODEC_PLAIN: u8 = 0;

/// Size of the length prefix of each event in bytes.
pub(crate) const LENGTH_LEN: usize = 4;

/// Largest body of a valid frame in bytes. A commit that is just below [`COMMIT_BYTES_MAX`] still accepts one more
/// append of up to [`APPEND_BYTES_MAX`].
const BODY_LEN_MAX: usize = COMMIT_BYTES_MAX + APPEND_BYTES_MAX;

/// Error from parsing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The input is shorter than the frame.
    #[error("cut short")]
    Short,
    /// The bytes do not begin with the frame magic, or the header does not match its checksum.
    #[error("no frame header")]
    Header,
    /// The frame was written by a newer version of this program.
    #[error("frame layout {0}, newer than this program knows")]
    Newer(u8),
    /// The frame does not match its checksum.
    #[error("checksum mismatch")]
    Checksum,
    /// The checksums match, but the lengths or numbers are invalid. Accidental damage would not produce matching
    /// checksums.
    #[error("inconsistent lengths")]
    Inconsistent,
}

/// The header of a frame, with a valid checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Sequence number of the first event in the frame.
    pub first_seq: u64,
    /// Number of events in the frame.
    pub count: u32,
    /// Length of the frame body in bytes.
    pub body_len: u32,
    /// Hash chain value before the first event in the frame.
    pub chain_before: Chain,
    /// Hash chain value after the last event in the frame.
    pub chain_after: Chain,
}

impl FrameHeader {
    /// Parses the frame header at the beginning of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not a valid frame header, or one of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(FrameError::Short)?;
        let (covered, crc) = header.split_last_chunk::<4>().ok_or(FrameError::Short)?;
        if !header.starts_with(&MAGIC) || crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(FrameError::Header);
        }
        match (header[4], header[5], header[6], header[7]) {
            (LAYOUT_VERSION, CODEC_PLAIN, 0, 0) => {}
            (LAYOUT_VERSION, ..) => return Err(FrameError::Inconsistent),
            (version, ..) => return Err(FrameError::Newer(version)),
        }
        let parsed = Self {
            first_seq: u64::from_le_bytes(array(header, 8)),
            count: u32::from_le_bytes(array(header, 16)),
            body_len: u32::from_le_bytes(array(header, 20)),
            chain_before: Chain(array(header, 24)),
            chain_after: Chain(array(header, 56)),
        };
        let plausible = parsed.count > 0
            && parsed.first_seq > 0
            && parsed.first_seq.checked_add(u64::from(parsed.count)).is_some()
            && parsed.body_len() <= BODY_LEN_MAX;
        if plausible { Ok(parsed) } else { Err(FrameError::Inconsistent) }
    }

    /// Sequence number of the last event in the frame.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        // `parse` has checked that the sum does not overflow and that the count is not 0.
        self.first_seq.saturating_add(self.count as u64).saturating_sub(1)
    }

    /// Length of the whole frame in bytes.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        HEADER_LEN + self.body_len() + TRAILER_LEN
    }

    const fn body_len(&self) -> usize {
        self.body_len as usize
    }
}

/// Copies `N` bytes of a header, beginning at offset `at`.
#[expect(clippy::indexing_slicing, reason = "the offsets are constants within the header")]
fn array<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// A frame with valid checksums.
#[derive(Debug, Clone)]
pub struct Frame {
    header: FrameHeader,
    events: Vec<Range<usize>>,
}

impl Frame {
    /// Parses the frame at the beginning of `bytes`. More bytes may follow the frame.
    ///
    /// # Errors
    /// When the frame is incomplete or invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let header = FrameHeader::parse(bytes)?;
        let frame = bytes.get(..header.frame_len()).ok_or(FrameError::Short)?;
        let (covered, crc) = frame.split_last_chunk::<TRAILER_LEN>().ok_or(FrameError::Short)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(FrameError::Checksum);
        }
        let events = split_body(covered, header.count)?;
        Ok(Self { header, events })
    }

    /// The header of the frame.
    #[must_use]
    pub const fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// The byte range of each event in the frame.
    #[must_use]
    pub(crate) fn into_events(self) -> Vec<Range<usize>> {
        self.events
    }

    /// The byte range of each event in the frame.
    #[must_use]
    pub fn events(&self) -> &[Range<usize>] {
        &self.events
    }

    /// Iterates over the sequence number and the bytes of each event. `bytes` must be the bytes that the frame was
    /// parsed from.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (u64, &'a [u8])> {
        (self.header.first_seq..).zip(self.events.iter().filter_map(move |range| bytes.get(range.clone())))
    }
}

/// Finds the byte ranges of `count` length-prefixed events, which must fill the body exactly.
fn split_body(covered: &[u8], count: u32) -> Result<Vec<Range<usize>>, FrameError> {
    // Each event takes at least its length prefix, so a false count cannot cause a large allocation.
    let most = covered.len().saturating_sub(HEADER_LEN) / LENGTH_LEN;
    let count = count as usize;
    if count > most {
        return Err(FrameError::Inconsistent);
    }
    let mut events = Vec::with_capacity(count);
    let mut at = HEADER_LEN;
    for _ in 0..count {
        let prefix = covered.get(at..).and_then(<[u8]>::first_chunk).ok_or(FrameError::Inconsistent)?;
        let start = at + LENGTH_LEN;
        let end = start.saturating_add(u32::from_le_bytes(*prefix) as usize);
        if end > covered.len() {
            return Err(FrameError::Inconsistent);
        }
        events.push(start..end);
        at = end;
    }
    if at == covered.len() { Ok(events) } else { Err(FrameError::Inconsistent) }
}

/// Builds one frame event by event in a buffer.
#[derive(Debug)]
pub struct FrameBuilder {
    first_seq: u64,
    chain_before: Chain,
    chain: Chain,
    count: u32,
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// Creates a builder for a frame that begins with event `first_seq` and follows the hash chain value `chain`.
    #[must_use]
    pub fn new(first_seq: u64, chain: Chain) -> Self {
        Self { first_seq, chain_before: chain, chain, count: 0, bytes: vec![0; HEADER_LEN] }
    }

    /// Adds the next event. Returns the byte range of the event in the frame.
    pub fn push(&mut self, event_bytes: &[u8]) -> Range<usize> {
        let length = u32::try_from(event_bytes.len()).unwrap_or(u32::MAX);
        debug_assert!(event_bytes.len() <= RECORD_BYTES_MAX, "records are limited where they are encoded");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(event_bytes);
        self.chain = self.chain.link(self.next_seq(), event_bytes);
        self.count += 1;
        start..self.bytes.len()
    }

    /// Sequence number of the first event in the frame.
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Sequence number of the next event to add.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.first_seq + self.count as u64
    }

    /// Hash chain value after the events that were added so far.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// Whether no event was added yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length of the body so far, in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.bytes.len() - HEADER_LEN
    }

    /// Completes the frame and returns its bytes.
    #[expect(clippy::indexing_slicing, reason = "the buffer begins with a header's worth of bytes")]
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let body_len = u32::try_from(self.body_len()).unwrap_or(u32::MAX);
        let header = &mut self.bytes[..HEADER_LEN];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = LAYOUT_VERSION;
        header[5] = CODEC_PLAIN;
        header[8..16].copy_from_slice(&self.first_seq.to_le_bytes());
        header[16..20].copy_from_slice(&self.count.to_le_bytes());
        header[20..24].copy_from_slice(&body_len.to_le_bytes());
        header[24..56].copy_from_slice(&self.chain_before.0);
        header[56..88].copy_from_slice(&self.chain.0);
        let crc = crc32c::crc32c(&header[..88]);
        header[88..].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn sample() -> Vec<u8> {
        let mut builder = FrameBuilder::new(7, Chain::genesis(Uuid::nil()));
        builder.push(b"one");
        builder.push(b"");
        builder.push(b"three");
        builder.finish()
    }

    #[test]
    fn a_frame_reads_back_as_it_was_built_and_may_be_followed_by_anything() {
        let mut bytes = sample();
        bytes.extend_from_slice(b"more");
        let frame = Frame::parse(&bytes).unwrap();
        let events: Vec<_> = frame.iter(&bytes).collect();
        assert_eq!(events, [(7, &b"one"[..]), (8, b""), (9, b"three")]);
        assert_eq!(frame.header().last_seq(), 9);
    }

    #[test]
    fn the_chain_does_not_depend_on_the_grouping() {
        let start = Chain::genesis(Uuid::nil());
        let mut together = FrameBuilder::new(1, start);
        together.push(b"a");
        together.push(b"b");
        let mut first = FrameBuilder::new(1, start);
        first.push(b"a");
        let mut second = FrameBuilder::new(2, first.chain());
        second.push(b"b");
        assert_eq!(together.chain(), second.chain());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::parse(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Frame::parse(&bytes[..len]).is_err(), "length {len}");
        }
    }
}
