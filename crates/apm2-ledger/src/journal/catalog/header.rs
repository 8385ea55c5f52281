//! The beginning of a catalog.
//!
//! ```text
//!   0  magic "APM2CATL"     8
//!   8  format version       4   2
//!  12  level                4   of the group, from 1
//!  16  ledger id           16
//!  32  first segment        8   its number
//!  40  16 members          48 each: first seq 8, last seq 8, earliest and latest wall-clock time 8 + 8 in ns, kinds 7,
//!                               actors 1, whether it has states 8 (1 or 0)
//! 808  chain after         32   the hash chain value after the last event of the last member
//! 840  two sections        24 each, as in the trailer of a sealed segment: streams, names
//! 888  CRC-32C of 0..888    4
//! 892  the pages and the directory of the table of streams, then those of the table of names
//! ```
//!
//! All integers are little-endian. The keys of the tables are those of sealed segments. The values are bit sets of 16 bits: the
//! first member is the lowest bit, and a set bit means that the member has events of the stream, or a process that got the
//! name.

use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::{
        catalog::group::Group,
        sealed::{
            block_table::BlockSummary,
            error::SealedError,
            fields::{Fields, checked, push_crc},
            reader::SealedSegment,
            trailer::SectionPlace,
        },
    },
    limits::CATALOG_MEMBERS,
};

/// Bytes before the tables.
pub(crate) const CATALOG_HEADER_LEN: usize = 892;

const MAGIC: [u8; 8] = *b"APM2CATL";
const VERSION: u32 = 2;

/// Its catalogs have no hash chain value, and are made again.
const VERSION_WITHOUT_CHAIN: u32 = 1;

/// What a catalog says about one of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) summary: BlockSummary,
    /// Whether each stream with events in the member has its state at the end of a segment of the member.
    pub(crate) has_states: bool,
}

/// The header of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CatalogHeader {
    pub(crate) group: Group,
    pub(crate) ledger: Uuid,
    pub(crate) members: [Member; CATALOG_MEMBERS],
    /// The hash chain value after the last event of the last member. It depends on all events of the members.
    pub(crate) chain_after: Chain,
    /// The directory of the table of streams.
    pub(crate) streams: SectionPlace,
    /// The directory of the table of names.
    pub(crate) names: SectionPlace,
}

impl CatalogHeader {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CATALOG_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.group.level.to_le_bytes());
        bytes.extend_from_slice(self.ledger.as_bytes());
        bytes.extend_from_slice(&self.group.first.to_le_bytes());
        for member in &self.members {
            bytes.extend_from_slice(&member.first_seq.to_le_bytes());
            bytes.extend_from_slice(&member.last_seq.to_le_bytes());
            bytes.extend_from_slice(&member.summary.min_wall_ns.to_le_bytes());
            bytes.extend_from_slice(&member.summary.max_wall_ns.to_le_bytes());
            bytes.extend_from_slice(&member.summary.classes());
            bytes.extend_from_slice(&u64::from(member.has_states).to_le_bytes());
        }
        bytes.extend_from_slice(&self.chain_after.0);
        self.streams.push(&mut bytes);
        self.names.push(&mut bytes);
        push_crc(&mut bytes, 0);
        bytes
    }

    /// The header in these [`CATALOG_HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// When there is none, or one of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SealedError> {
        // The header of the older version is shorter, so its checksum is elsewhere.
        if bytes.starts_with(&[MAGIC.as_slice(), &VERSION_WITHOUT_CHAIN.to_le_bytes()].concat()) {
            return Err(SealedError::Older(VERSION_WITHOUT_CHAIN));
        }
        let mut fields = Fields(checked(bytes).ok_or(SealedError::Header)?);
        let magic = fields.array().ok_or(SealedError::Header)?;
        match fields.u32() {
            Some(VERSION) if magic == MAGIC => {}
            Some(version) if magic == MAGIC && version > VERSION => return Err(SealedError::Newer(version)),
            _ => return Err(SealedError::Header),
        }
        Self::parse_fields(fields).ok_or(SealedError::Header)
    }

    fn parse_fields(mut fields: Fields<'_>) -> Option<Self> {
        let level = fields.u32()?;
        let ledger = Uuid::from_bytes(fields.array()?);
        let group = Group { level, first: fields.u64()? };
        let mut members = [Member { first_seq: 0, last_seq: 0, summary: BlockSummary::EMPTY, has_states: false }; _];
        for member in &mut members {
            let (first_seq, last_seq) = (fields.u64()?, fields.u64()?);
            let summary = BlockSummary::parse((fields.i64()?, fields.i64()?), fields.u64()?);
            let has_states = match fields.u64()? {
                0 => false,
                1 => true,
                _ => return None,
            };
            *member = Member { first_seq, last_seq, summary, has_states };
        }
        let header = Self {
            group,
            ledger,
            members,
            chain_after: Chain(fields.array()?),
            streams: SectionPlace::parse(&mut fields)?,
            names: SectionPlace::parse(&mut fields)?,
        };
        (fields.0.is_empty() && header.is_plausible()).then_some(header)
    }

    /// Whether the segment is the last one of the group that the catalog was made from.
    pub(crate) fn ends_with(&self, segment: &SealedSegment) -> bool {
        let header = segment.header();
        let last_seq = self.members.last().map_or(0, |member| member.last_seq);
        (header.ledger, header.number, header.last_seq()) == (self.ledger, self.group.last(), last_seq)
            && segment.chain_after().is_ok_and(|chain| chain == self.chain_after)
    }

    fn is_plausible(&self) -> bool {
        let is_group = self.group.is_catalogued() && self.group.first > 0;
        let is_aligned = || Group::containing(self.group.level, self.group.first) == self.group;
        let follow_each_other = self.members.windows(2).all(|pair| {
            matches!(pair, [one, next] if one.first_seq <= one.last_seq && one.last_seq.checked_add(1) == Some(next.first_seq))
        });
        let (streams, names) = (&self.streams, &self.names);
        is_group
            && is_aligned()
            && follow_each_other
            && streams.has_valid_lengths()
            && names.has_valid_lengths()
            && streams.offset >= CATALOG_HEADER_LEN as u64
            && names.offset >= streams.end()
    }
}
