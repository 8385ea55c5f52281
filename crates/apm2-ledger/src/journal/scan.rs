//! Reads the commits of a segment, and says what its end means.
//!
//! A commit is written only after the one before it was synced. So at most the last commit of the last segment can be
//! torn, and a torn one was never acknowledged. How a torn commit is distinguished from a damaged one:
//!
//! - a whole commit follows it: it had been synced, so it is damaged;
//! - some 512-byte sector of it still holds the zeros that the segment was made with: torn, since a disk writes whole
//!   sectors, and no sector of a commit is zero ([`ZERO_RUN_BYTES_MAX`](crate::limits::ZERO_RUN_BYTES_MAX));
//! - the checksum that ends it, or its header, is still zero: torn, by a write that stopped half-way;
//! - none of these: all of it had reached the disk, so it is damaged.
//!
//! In a copy the last segment may also have been read while commits were written to it, see `origin`: what is
//! behind a sector that was read before it was written is no part of the copy.

use crate::{
    chain::Chain,
    error::Damage,
    frame::{Frame, FrameError, FrameHeader, HEADER_LEN},
    journal::segment::{COMMIT_ALIGN, SEGMENT_HEADER_LEN, SegmentHeader, aligned},
};

/// What a disk writes whole or not at all.
const SECTOR_LEN: usize = 512;

/// A header and a frame both end in a checksum.
const CRC_LEN: usize = 4;

/// One thing found in a segment.
#[derive(Debug)]
pub enum Scanned {
    /// A sound commit that begins at this byte.
    Commit(usize, Frame),
    /// Damage; the scan goes on with the next sound commit, if there is one.
    Damage(Damage),
    /// The last commit, cut short by a crash; it begins at this byte.
    Torn(usize),
}

/// Goes through the bytes of one segment.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    segment: u64,
    /// Whether this is the journal's last segment: only there can a commit be torn.
    is_last: bool,
    /// Whether it is a copy, which may have been made while the segment was written.
    is_copy: bool,
    len: u64,
    offset: usize,
    next_seq: u64,
    chain: Chain,
    done: bool,
}

impl<'a> Scan<'a> {
    /// A scan of the segment in `bytes`, whose header is `header`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], header: &SegmentHeader, is_last: bool) -> Self {
        Self {
            bytes,
            segment: header.number,
            is_last,
            is_copy: false,
            len: header.len,
            offset: SEGMENT_HEADER_LEN,
            next_seq: header.first_seq,
            chain: header.chain_before,
            done: false,
        }
    }

    /// The same, of a copy where `is_copy`: its last segment may end wherever the copying met it.
    #[must_use]
    pub const fn of_copy(mut self, is_copy: bool) -> Self {
        self.is_copy = is_copy;
        self
    }

    /// The same, from the commit at `offset` on, which has event `next_seq` and follows on `chain`.
    pub(crate) const fn resumed(
        bytes: &'a [u8],
        header: &SegmentHeader,
        is_last: bool,
        offset: usize,
        next_seq: u64,
        chain: Chain,
    ) -> Self {
        Self { offset, next_seq, chain, ..Self::new(bytes, header, is_last) }
    }

    /// Where the next commit is or will be.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The seq of the next event.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The chain before the next event.
    #[must_use]
    pub const fn next_chain(&self) -> Chain {
        self.chain
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    fn damage(&self, last_seq: u64, what: impl Into<String>) -> Scanned {
        Scanned::Damage(Damage {
            first_seq: self.next_seq,
            last_seq: last_seq.max(self.next_seq),
            segment: self.segment,
            offset: self.offset as u64,
            what: what.into(),
        })
    }

    fn advance(&mut self, frame: Frame) -> Scanned {
        let start = self.offset;
        let header = *frame.header();
        let end = start + header.frame_len();
        self.offset = start + aligned(header.frame_len());
        self.next_seq = header.last_seq() + 1;
        self.chain = header.chain_after;
        // Padding is covered by no checksum; it is zero, or it was touched.
        if self.bytes.get(end..self.offset.min(self.bytes.len())).unwrap_or_default().iter().any(|byte| *byte != 0) {
            self.offset = end;
            self.next_seq = header.first_seq;
            let found = self.damage(header.last_seq(), "the padding after the commit is not zero");
            self.offset = start + aligned(header.frame_len());
            self.next_seq = header.last_seq() + 1;
            return found;
        }
        Scanned::Commit(start, frame)
    }

    /// What it means that no sound commit is at the offset although bytes are left.
    fn broken(&mut self, error: FrameError) -> Scanned {
        let header = FrameHeader::parse(self.rest()).ok().filter(|header| header.first_seq == self.next_seq);
        let next = self.next_sound_commit();
        if self.is_last && self.is_copy && self.is_tear(next.as_ref().map(|(at, _)| *at)) {
            self.done = true;
            return Scanned::Torn(self.offset);
        }
        if let Some((at, frame)) = next {
            let damage = self.damage(frame.header().first_seq.saturating_sub(1), error.to_string());
            self.offset = at;
            self.next_seq = frame.header().first_seq;
            self.chain = frame.header().chain_before;
            return damage;
        }
        self.done = true;
        if self.is_last && self.is_torn(header.as_ref()) {
            return Scanned::Torn(self.offset);
        }
        self.damage(header.map_or(self.next_seq, |header| header.last_seq()), error.to_string())
    }

    /// The next place after the offset with a sound commit of later events.
    fn next_sound_commit(&self) -> Option<(usize, Frame)> {
        let places = (self.offset + COMMIT_ALIGN..self.bytes.len()).step_by(COMMIT_ALIGN);
        places.into_iter().find_map(|at| {
            let bytes = self.bytes.get(at..)?;
            let header = FrameHeader::parse(bytes).ok()?;
            if header.first_seq < self.next_seq { None } else { Some((at, Frame::parse(bytes).ok()?)) }
        })
    }

    /// Whether some sector of the commit at the offset was never written. Without a header, the header's own sectors
    /// decide, since the length is not known.
    fn is_torn(&self, header: Option<&FrameHeader>) -> bool {
        if (self.bytes.len() as u64) < self.len {
            return false;
        }
        // Without a header the length is not known; what the header's last sector still holds of the commit is looked at.
        let len = header.map_or(HEADER_LEN, FrameHeader::frame_len);
        let end = match header {
            Some(header) => self.offset + header.frame_len(),
            None => (self.offset + HEADER_LEN).next_multiple_of(SECTOR_LEN),
        };
        let is_unwritten = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        // The checksum that ends it never arrived. Nothing may be behind a header that is not whole.
        let checksum = self.rest().get(len - CRC_LEN..len).unwrap_or_default();
        let has_no_end =
            is_unwritten(checksum) && (header.is_some() || is_unwritten(self.rest().get(len..).unwrap_or_default()));
        // Of the checksum some bytes may be zero by right: where a sector has nothing else, they do not decide alone.
        let is_unwritten_sector = |sector: &[u8]| is_unwritten(sector) && sector.len() > CRC_LEN;
        let has_half_an_end = header.is_some_and(|header| self.lacks_part_of_checksum(header, end));
        self.holds_a_write() && (has_no_end || has_half_an_end || self.sectors(end).any(is_unwritten_sector))
    }

    /// Whether a part of a commit arrived at the offset or behind it. One set bit in what should be zeros is no write: whatever
    /// part of a commit had arrived would hold more.
    fn holds_a_write(&self) -> bool {
        self.rest().iter().map(|byte| byte.count_ones()).sum::<u32>() > 1
    }

    /// Whether a copy was made of what is before some place earlier than of what is behind it, while commits were written: then
    /// zeros are left before that place. A file is read in multiples of sectors.
    fn is_tear(&self, next: Option<usize>) -> bool {
        let written = || self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = next.unwrap_or_else(written) / SECTOR_LEN * SECTOR_LEN;
        self.holds_a_write()
            && self.sectors(end).any(|sector| sector.len() > CRC_LEN && sector.iter().all(|byte| *byte == 0))
    }

    /// Whether the checksum lies on two sectors, the second of which was never written, and all before it is sound.
    fn lacks_part_of_checksum(&self, header: &FrameHeader, end: usize) -> bool {
        let missing = end % SECTOR_LEN;
        if !(1..CRC_LEN).contains(&missing) {
            return false;
        }
        let commit = self.rest().get(..header.frame_len()).unwrap_or_default();
        let Some((covered, stored)) = commit.split_last_chunk::<CRC_LEN>() else { return false };
        let computed = crc32c::crc32c(covered).to_le_bytes();
        let (there, unwritten) = stored.split_at(CRC_LEN - missing);
        computed.starts_with(there) && unwritten.iter().all(|byte| *byte == 0)
    }

    /// The bytes from the offset to `end`, sector by sector.
    fn sectors(&self, end: usize) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let mut at = self.offset;
        std::iter::from_fn(move || {
            let stop = (at + 1).next_multiple_of(SECTOR_LEN).min(end);
            let sector = bytes.get(at..stop).filter(|sector| !sector.is_empty())?;
            at = stop;
            Some(sector)
        })
    }

    /// The end of the segment, after the last commit: nothing, or zeros up to the length it was made with.
    fn finish(&mut self) -> Option<Scanned> {
        self.done = true;
        let is_short = self.is_last && !self.is_copy && (self.bytes.len() as u64) < self.len;
        is_short.then(|| self.damage(self.next_seq, "the last segment is shorter than it was made"))
    }
}

impl Iterator for Scan<'_> {
    type Item = Scanned;

    fn next(&mut self) -> Option<Scanned> {
        if self.done {
            return None;
        }
        if self.rest().iter().all(|byte| *byte == 0) {
            return self.finish();
        }
        match Frame::parse(self.rest()) {
            Ok(frame) if frame.header().first_seq != self.next_seq => {
                let found = self.damage(frame.header().first_seq.saturating_sub(1), "the numbering has a gap");
                self.next_seq = frame.header().first_seq;
                self.chain = frame.header().chain_before;
                Some(found)
            }
            Ok(frame) if frame.header().chain_before != self.chain => {
                let found = self.damage(frame.header().last_seq(), "the chain is broken");
                self.chain = frame.header().chain_before;
                Some(found)
            }
            Ok(frame) => Some(self.advance(frame)),
            Err(error) => Some(self.broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::frame::FrameBuilder;

    const LEDGER: Uuid = Uuid::nil();

    /// A segment with one commit, which ends one byte into a sector, with this byte.
    fn segment_ending_in(is_wanted: impl Fn(u8) -> bool) -> (Vec<u8>, usize) {
        let chain_before = Chain::genesis(LEDGER);
        let segment = SegmentHeader { ledger: LEDGER, number: 1, first_seq: 1, chain_before, len: 2048 };
        (0_u32..100_000)
            .find_map(|number| {
                let mut event = number.to_string();
                let length = 2 * SECTOR_LEN + 1 - SEGMENT_HEADER_LEN - HEADER_LEN - 2 * CRC_LEN;
                event.extend(std::iter::repeat_n('x', length - event.len()));
                let mut builder = FrameBuilder::new(1, chain_before);
                builder.push(event.as_bytes());
                let mut bytes = [&segment.to_bytes()[..], &builder.finish()].concat();
                let end = bytes.len();
                bytes.resize(2048, 0);
                is_wanted(bytes[end - 1]).then_some((bytes, end))
            })
            .unwrap()
    }

    fn scanned(bytes: &[u8]) -> Vec<Scanned> {
        Scan::new(bytes, &SegmentHeader::parse(bytes).unwrap(), true).collect()
    }

    #[test]
    fn a_checksum_that_rightly_ends_in_zero_does_not_make_damage_a_torn_write() {
        let (mut bytes, end) = segment_ending_in(|last| last == 0);
        assert_eq!(end % SECTOR_LEN, 1);
        assert!(matches!(scanned(&bytes)[..], [Scanned::Commit(..)]));
        bytes[SEGMENT_HEADER_LEN + HEADER_LEN + 20] ^= 1;
        assert!(matches!(scanned(&bytes)[..], [Scanned::Damage(_)]));
    }

    #[test]
    fn a_commit_whose_last_sector_alone_is_missing_is_torn() {
        let (mut bytes, end) = segment_ending_in(|last| last != 0);
        bytes[end - 1] = 0;
        assert!(matches!(scanned(&bytes)[..], [Scanned::Torn(SEGMENT_HEADER_LEN)]));
    }
}
