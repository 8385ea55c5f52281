//! The fixed parts of an archive.
//!
//! ```text
//! header
//!   0  magic "APM2ARCH"     8
//!   8  format version       4   1
//!  12  zero                 4
//!  16  ledger id           16
//!  32  first segment        8   its number
//!  40  last segment         8
//!  48  first seq            8
//!  56  last seq             8
//!  64  chain before        32   the hash chain value before the first event
//!  96  chain after         32   the hash chain value after the last event
//! 128  CRC-32C of 0..128    4
//! 132  zero                 4
//!
//! trailer
//!   0  magic "APM2AEND"     8
//!   8  format version       4   1
//!  12  zero                 4
//!  16  streams              8   their number in the table of states
//!  24  gone                 8   those of them that are gone
//!  32  system version       8   the number of events of the supervisor's own stream up to the last event
//!  40  tables               8   where the pages of the first table begin
//!  48  three sections      24 each, as in the trailer of a sealed segment: states, names, parts
//! 120  CRC-32C of 0..120    4
//! ```

use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::sealed::{
        fields::{Fields, checked, push_crc},
        trailer::SectionPlace,
    },
};

/// Bytes before the first segment.
pub(crate) const ARCHIVE_HEADER_LEN: usize = 136;

/// Bytes of the trailer.
pub(crate) const ARCHIVE_TRAILER_LEN: usize = 124;

pub(crate) const ARCHIVE_VERSION: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"APM2ARCH";
const TRAILER_MAGIC: [u8; 8] = *b"APM2AEND";

/// Bytes of the header that the checksum covers, with the checksum.
const HEADER_CRC_END: usize = 132;

/// Bytes of one part in the directory.
const PART_LEN: usize = 32;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    #[error("{0} is damaged")]
    Damaged(&'static str),
    #[error("archive version {0}, newer than this program knows")]
    Newer(u32),
}

/// What an archive contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveHeader {
    pub(crate) ledger: Uuid,
    pub(crate) first_number: u64,
    pub(crate) last_number: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) chain_before: Chain,
    pub(crate) chain_after: Chain,
}

impl ArchiveHeader {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ARCHIVE_HEADER_LEN);
        bytes.extend_from_slice(&HEADER_MAGIC);
        bytes.extend_from_slice(&ARCHIVE_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.ledger.as_bytes());
        for number in [self.first_number, self.last_number, self.first_seq, self.last_seq] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.chain_before.0);
        bytes.extend_from_slice(&self.chain_after.0);
        push_crc(&mut bytes, 0);
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    /// The header in these [`ARCHIVE_HEADER_LEN`] bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let damaged = || FormError::Damaged("the header");
        let (covered, rest) = bytes.split_at_checked(HEADER_CRC_END).ok_or_else(damaged)?;
        let mut fields = Fields(checked(covered).filter(|_| rest == [0; 4]).ok_or_else(damaged)?);
        check_beginning(&mut fields, HEADER_MAGIC, damaged)?;
        let mut parse = || {
            Some(Self {
                ledger: Uuid::from_bytes(fields.array()?),
                first_number: fields.u64()?,
                last_number: fields.u64()?,
                first_seq: fields.u64()?,
                last_seq: fields.u64()?,
                chain_before: Chain(fields.array()?),
                chain_after: Chain(fields.array()?),
            })
        };
        parse().filter(Self::is_plausible).ok_or_else(damaged)
    }

    const fn is_plausible(&self) -> bool {
        self.first_number > 0
            && self.first_number <= self.last_number
            && self.first_seq > 0
            && self.first_seq <= self.last_seq
            && self.last_seq < u64::MAX
    }
}

/// Reads the magic, the version and the zero after it.
fn check_beginning(fields: &mut Fields<'_>, magic: [u8; 8], damaged: impl Fn() -> FormError) -> Result<(), FormError> {
    if fields.array() != Some(magic) {
        return Err(damaged());
    }
    match (fields.u32(), fields.u32()) {
        (Some(ARCHIVE_VERSION), Some(0)) => Ok(()),
        (Some(version), _) if version > ARCHIVE_VERSION => Err(FormError::Newer(version)),
        _ => Err(damaged()),
    }
}

/// The end of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveTrailer {
    pub(crate) streams: u64,
    pub(crate) gone: u64,
    pub(crate) system_version: u64,
    /// Where the pages of the first table begin, in bytes from the beginning of the file.
    pub(crate) tables: u64,
    pub(crate) states: SectionPlace,
    pub(crate) names: SectionPlace,
    pub(crate) parts: SectionPlace,
}

impl ArchiveTrailer {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ARCHIVE_TRAILER_LEN);
        bytes.extend_from_slice(&TRAILER_MAGIC);
        bytes.extend_from_slice(&ARCHIVE_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.streams, self.gone, self.system_version, self.tables] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for place in [self.states, self.names, self.parts] {
            place.push(&mut bytes);
        }
        push_crc(&mut bytes, 0);
        bytes
    }

    /// The trailer that `bytes` are, at `offset` in the file.
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Result<Self, FormError> {
        let damaged = || FormError::Damaged("the trailer");
        let mut fields = Fields(checked(bytes).ok_or_else(damaged)?);
        check_beginning(&mut fields, TRAILER_MAGIC, damaged)?;
        let mut parse = || {
            Some(Self {
                streams: fields.u64()?,
                gone: fields.u64()?,
                system_version: fields.u64()?,
                tables: fields.u64()?,
                states: SectionPlace::parse(&mut fields)?,
                names: SectionPlace::parse(&mut fields)?,
                parts: SectionPlace::parse(&mut fields)?,
            })
        };
        parse().filter(|trailer| trailer.is_plausible(offset)).ok_or_else(damaged)
    }

    fn is_plausible(&self, trailer_offset: u64) -> bool {
        let Self { tables, states, names, parts, .. } = self;
        *tables >= ARCHIVE_HEADER_LEN as u64
            && [states, names, parts].iter().all(|place| place.has_valid_lengths())
            && states.offset >= *tables
            && names.offset >= states.end()
            && parts.offset == names.end()
            && parts.end() == trailer_offset
    }
}

/// A sealed segment or a catalog in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// 0 for a segment, else the level of the catalog.
    pub(crate) level: u32,
    /// The CRC-32C of all its bytes.
    pub(crate) crc: u32,
    /// The number of its first segment.
    pub(crate) first: u64,
    /// Where it begins, in bytes from the beginning of the archive.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
}

impl Part {
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.level.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        for number in [self.first, self.offset, self.len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let (level, crc) = (fields.u32()?, fields.u32()?);
        Some(Self { level, crc, first: fields.u64()?, offset: fields.u64()?, len: fields.u64()? })
    }

    /// The parts in the directory `raw`: the segments of the archive without gaps, then the catalogs, up to `end`.
    pub(crate) fn parse_all(raw: &[u8], header: &ArchiveHeader, end: u64) -> Option<Vec<Self>> {
        let mut parts: Vec<Self> = Vec::with_capacity(raw.len() / PART_LEN);
        let (mut fields, mut offset, mut number) = (Fields(raw), ARCHIVE_HEADER_LEN as u64, header.first_number);
        while !fields.0.is_empty() {
            let part = Self::parse(&mut fields)?;
            let is_segment = part.level == 0 && part.first == number && part.first <= header.last_number;
            let is_catalog = part.level > 0 && number > header.last_number && part.first >= header.first_number;
            if part.offset != offset || !(is_segment || is_catalog) {
                return None;
            }
            number += u64::from(is_segment);
            offset = offset.checked_add(part.len)?;
            parts.push(part);
        }
        (offset == end && number.checked_sub(1) == Some(header.last_number)).then_some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of version 1, which every later version must read.
    const GOLDEN: &str = include_str!("golden-v1.hex");

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header() -> ArchiveHeader {
        ArchiveHeader {
            ledger: Uuid::from_u128(7),
            first_number: 3,
            last_number: 5,
            first_seq: 100,
            last_seq: 999,
            chain_before: Chain([1; 32]),
            chain_after: Chain([2; 32]),
        }
    }

    #[test]
    fn headers_trailers_and_parts_are_written_as_before_and_read_back() {
        assert_eq!(ArchiveHeader::parse(&header().to_bytes()).unwrap(), header());
        let place = SectionPlace::default();
        let (states, names, parts) = (place.moved_by(136), place.moved_by(140), place.moved_by(140));
        let trailer = ArchiveTrailer { streams: 9, gone: 8, system_version: 7, tables: 136, states, names, parts };
        assert_eq!(ArchiveTrailer::parse(&trailer.to_bytes(), 140).unwrap(), trailer);
        let part = |first, level, offset| Part { level, crc: 0xaabb_ccdd, first, offset, len: 10 };
        let mut directory = Vec::new();
        part(3, 0, 136).push(&mut directory);
        let written = [hex(&header().to_bytes()), hex(&trailer.to_bytes()), hex(&directory)];
        assert_eq!(written.join("\n"), GOLDEN.trim());
        let all = [part(3, 0, 136), part(4, 0, 146), part(5, 0, 156), part(3, 1, 166)];
        all.iter().skip(1).for_each(|part| part.push(&mut directory));
        assert_eq!(Part::parse_all(&directory, &header(), 176).unwrap(), all);
        for wrong in [175, 177] {
            assert_eq!(Part::parse_all(&directory, &header(), wrong), None);
        }
        assert_eq!(Part::parse_all(&directory[..64], &header(), 156), None, "a segment is missing");
    }

    #[test]
    fn a_changed_bit_is_damage_and_a_newer_version_is_not() {
        let sound = header().to_bytes();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            assert!(matches!(ArchiveHeader::parse(&bytes), Err(FormError::Damaged(_))), "{at}");
        }
        let mut newer = sound[..HEADER_CRC_END - 4].to_vec();
        newer[8] = 2;
        push_crc(&mut newer, 0);
        newer.extend_from_slice(&[0; 4]);
        assert!(matches!(ArchiveHeader::parse(&newer), Err(FormError::Newer(2))));
    }
}
