//! The end of a sealed segment: where the sections of the footer are.
//!
//! ```text
//!   0  magic "APM2SEND"     8
//!   8  format version       4   2
//!  12  zero                 4
//!  16  four sections       24 each, in this order: blocks, streams, names, states
//!         0  offset           8   in the file; of a table that of its directory, whose pages are before it
//!         8  stored length    4   less than the raw length with zstd, the same without
//!        12  raw length       4
//!        16  CRC-32C          4   of the stored bytes
//!        20  zero             4
//! 112  chain after         32   the chain after the last event
//! 144  CRC-32C of 0..144    4
//! ```
//!
//! The section of states may be absent: all zero. The others follow each other from the last block to the trailer, without
//! gaps.

use crate::{
    chain::Chain,
    journal::sealed::{
        error::{SealError, Section},
        fields::{Fields, checked, push_crc},
        header::{SEALED_HEADER_LEN, SEALED_VERSION},
        packing::{Packer, unpack},
    },
    limits::SECTION_BYTES_MAX,
};

/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 148;

const MAGIC: [u8; 8] = *b"APM2SEND";

/// Where one section is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SectionPlace {
    /// In bytes from the beginning of the file. 0 when the section is absent.
    pub(crate) offset: u64,
    pub(crate) stored_len: u32,
    raw_len: u32,
    crc: u32,
}

impl SectionPlace {
    /// Where it ends, in bytes from the beginning of the file.
    pub(crate) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.stored_len as u64)
    }

    /// The place of a section that was written to a part of a file that begins at byte `start`.
    pub(crate) const fn moved_by(self, start: u64) -> Self {
        Self { offset: self.offset.saturating_add(start), ..self }
    }

    pub(crate) fn is_absent(&self) -> bool {
        *self == Self::default()
    }

    /// The section with these stored bytes; `None` when they are damaged.
    pub(crate) fn unpack(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if crc32c::crc32c(stored) == self.crc { unpack(stored, self.raw_len as usize) } else { None }
    }

    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let place =
            Self { offset: fields.u64()?, stored_len: fields.u32()?, raw_len: fields.u32()?, crc: fields.u32()? };
        (fields.u32()? == 0).then_some(place)
    }

    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        for number in [self.stored_len, self.raw_len, self.crc, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Whether the lengths are those of a section.
    pub(crate) const fn has_valid_lengths(&self) -> bool {
        self.stored_len <= self.raw_len && self.raw_len as usize <= SECTION_BYTES_MAX
    }
}

/// Appends a section to the file `out`.
pub(crate) fn write_section(
    section: Section,
    raw: &[u8],
    packer: &mut Packer,
    out: &mut Vec<u8>,
) -> Result<SectionPlace, SealError> {
    let len_of = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|len| *len as usize <= SECTION_BYTES_MAX);
    let raw_len = len_of(raw).ok_or(SealError::SectionTooLarge(section))?;
    let stored = packer.pack(raw)?;
    let stored_len = len_of(&stored).ok_or(SealError::SectionTooLarge(section))?;
    let place = SectionPlace { offset: out.len() as u64, stored_len, raw_len, crc: crc32c::crc32c(&stored) };
    out.extend_from_slice(&stored);
    Ok(place)
}

/// The trailer, with its checksum right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// In the order of [`Section::ALL`].
    pub(crate) sections: [SectionPlace; Section::ALL.len()],
    /// The chain after the last event.
    pub(crate) chain_after: Chain,
}

impl Trailer {
    /// The trailer that `bytes` are, at `offset` in the file; `None` when they are none, or when the sections cannot be where
    /// it says.
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Option<Self> {
        let mut fields = Fields(checked(bytes)?);
        if fields.array()? != MAGIC || fields.u32()? != SEALED_VERSION || fields.u32()? != 0 {
            return None;
        }
        let mut sections = [SectionPlace::default(); Section::ALL.len()];
        for place in &mut sections {
            *place = SectionPlace::parse(&mut fields)?;
        }
        let trailer = Self { sections, chain_after: Chain(fields.array()?) };
        (fields.0.is_empty() && trailer.is_plausible(offset)).then_some(trailer)
    }

    fn is_plausible(&self, trailer_offset: u64) -> bool {
        let mut end = SEALED_HEADER_LEN as u64;
        for (section, place) in Section::ALL.into_iter().zip(&self.sections) {
            if section == Section::States && place.is_absent() {
                continue;
            }
            if place.offset < end || !place.has_valid_lengths() {
                return false;
            }
            end = place.end();
        }
        end == trailer_offset
    }

    /// The place of this section.
    pub(crate) fn place(&self, section: Section) -> SectionPlace {
        let mut places = Section::ALL.into_iter().zip(self.sections);
        places.find(|(known, _)| *known == section).map(|(_, place)| place).unwrap_or_default()
    }

    /// Where the pages of this section begin: where the section before it ends.
    pub(crate) fn start(&self, section: Section) -> u64 {
        let before = Section::ALL.into_iter().zip(self.sections).take_while(|(known, _)| *known != section);
        before.last().map_or(SEALED_HEADER_LEN as u64, |(_, place)| place.end())
    }

    /// Its bytes.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&SEALED_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for place in &self.sections {
            place.push(out);
        }
        out.extend_from_slice(&self.chain_after.0);
        push_crc(out, start);
    }
}
