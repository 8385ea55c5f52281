//! Name and header of a segment, which is one file of the journal.
//!
//! ```text
//!  0  magic "APM2JRNL"     8
//!  8  format version       4   1 or 2
//! 12  zero                 4
//! 16  ledger id           16
//! 32  segment number       8   from 1; all integers are little-endian
//! 40  first seq            8
//! 48  chain before        32
//! 80  length              8   of the file in bytes, when it was created
//! 88  CRC-32C of 0..88     4
//! 92  zero                 4
//! 96  commits, each at a multiple of 8 bytes; zero bytes between and after the commits
//! ```

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chain::Chain;

/// Length of the segment header in bytes. The first commit follows it.
pub(crate) const SEGMENT_HEADER_LEN: usize = 96;

/// Alignment of commits in bytes.
pub(crate) const COMMIT_ALIGN: usize = 8;

/// Format version of the journal, which is also the format version of the ledger.
pub const FORMAT_VERSION: u32 = 2;

/// File name of the prepared next segment. The file never contains acknowledged events.
pub(crate) const AHEAD: &str = "ahead";

const MAGIC: [u8; 8] = *b"APM2JRNL";

const CRC_AT: usize = 88;

/// Ends the name of the file of a plain segment.
pub(crate) const SEGMENT_SUFFIX: &str = "seg";

/// The header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format version of the ledger when the segment was created: 1 or [`FORMAT_VERSION`].
    pub version: u32,
    /// ID of the ledger that the segment belongs to.
    pub ledger: Uuid,
    /// Number of the segment. The first segment has number 1.
    pub number: u64,
    /// Sequence number of the first event in the segment.
    pub first_seq: u64,
    /// Hash chain value before the first event in the segment.
    pub chain_before: Chain,
    /// Length of the file when it was created, in bytes.
    pub len: u64,
}

/// Error from parsing a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The bytes are too short, have no segment magic, or do not match their checksum.
    #[error("no segment header")]
    Header,
    /// The segment was written by a newer version of this program.
    #[error("journal format {0}, newer than this program knows")]
    Newer(u32),
}

impl SegmentHeader {
    /// Encodes the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..32].copy_from_slice(self.ledger.as_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.chain_before.0);
        bytes[80..88].copy_from_slice(&self.len.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Parses the header at the beginning of `bytes`.
    ///
    /// The checksum is compared before the format version, so that a corrupt version field is not reported as a newer
    /// format.
    ///
    /// # Errors
    /// When the bytes are no valid header, or the header of a newer format.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let header = bytes.first_chunk::<SEGMENT_HEADER_LEN>().ok_or(SegmentError::Header)?;
        let crc = u32::from_le_bytes(array(header, CRC_AT));
        let covered = header.get(..CRC_AT).unwrap_or_default();
        let rest_is_zero = array::<4>(header, CRC_AT + 4) == [0; 4];
        if !header.starts_with(&MAGIC) || crc32c::crc32c(covered) != crc || !rest_is_zero {
            return Err(SegmentError::Header);
        }
        let version = match u32::from_le_bytes(array(header, 8)) {
            version @ 1..=FORMAT_VERSION if array::<4>(header, 12) == [0; 4] => version,
            version if version > FORMAT_VERSION => return Err(SegmentError::Newer(version)),
            _ => return Err(SegmentError::Header),
        };
        Ok(Self {
            version,
            ledger: Uuid::from_bytes(array(header, 16)),
            number: u64::from_le_bytes(array(header, 32)),
            first_seq: u64::from_le_bytes(array(header, 40)),
            chain_before: Chain(array(header, 48)),
            len: u64::from_le_bytes(array(header, 80)),
        })
    }
}

#[expect(clippy::indexing_slicing, reason = "the offsets are constants within the header")]
fn array<const N: usize>(header: &[u8; SEGMENT_HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// The path of segment `number` in the directory `journal`.
pub(crate) fn segment_path(journal: &Path, number: u64) -> PathBuf {
    journal.join(segment_name(number))
}

fn segment_name(number: u64) -> String {
    format!("{number:010}.{SEGMENT_SUFFIX}")
}

/// Rounds `len` up to the next position at which a commit may begin.
pub(crate) const fn aligned(len: usize) -> usize {
    len.next_multiple_of(COMMIT_ALIGN)
}
