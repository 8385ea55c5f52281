//! A sealed segment: blocks of events, compressed with zstd, and the footer that is their index.

use std::collections::BTreeMap;

use super::{
    FORMAT_VERSION,
    bytes::{array_at, has_crc, leaf, link, part, u32_at, u64_at, usize_at},
    journal::{Broken, Header},
};

const MAGIC: &[u8] = b"APM2SEAL";
const HEADER_LEN: usize = 96;
const TRAILER_MAGIC: &[u8] = b"APM2SEND";
const TRAILER_LEN: usize = 148;
const BLOCK_MAGIC: &[u8] = b"a2bk";
const BLOCK_HEADER_LEN: usize = 64;
const ERASED_LENGTH: u32 = 0x8000_0020;
const LEAF_LEN: usize = 32;
const SECTION_LEN: usize = 24;
const BLOCK_ENTRY_LEN: usize = 40;
const NAME_END: u8 = 0xff;
/// The most that anything in the file is uncompressed.
const RAW_MAX: usize = 4 * 1024 * 1024;

/// The place of an event in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The bytes of the event.
    Event(Vec<u8>),
    /// The leaf hash of an event that was erased.
    Erased([u8; LEAF_LEN]),
}

/// A process id and an instance.
pub type Stream = ([u8; 16], u32);

/// The contents of a sealed segment, without the way in which they were compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// ID of the ledger.
    pub ledger: [u8; 16],
    /// Number of the segment.
    pub number: u64,
    /// Sequence number of the first event.
    pub first_seq: u64,
    /// Hash chain value before the first event.
    pub chain_before: [u8; 32],
    /// Hash chain value after the last event.
    pub chain_after: [u8; 32],
    /// The events in order.
    pub events: Vec<Slot>,
    /// The table of blocks.
    pub blocks: Vec<BlockEntry>,
    /// The table of streams.
    pub streams: BTreeMap<Stream, StreamEntry>,
    /// The table of names, with the process that has each.
    pub names: Vec<(String, [u8; 16])>,
    /// The table of states: the encoded state of each stream; empty when the section is absent.
    pub states: BTreeMap<Stream, Vec<u8>>,
}

impl Sealed {
    pub(super) const fn header(&self) -> Header {
        let Self { ledger, number, first_seq, chain_before, .. } = *self;
        Header { ledger, number, first_seq, chain_before }
    }
}

/// What the footer says of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Sequence number of the first event.
    pub first_seq: u64,
    /// Earliest wall-clock time of an event, in nanoseconds.
    pub min_wall_ns: i64,
    /// Latest wall-clock time.
    pub max_wall_ns: i64,
    /// A bit for each kind of event.
    pub kinds: u64,
}

/// What the footer says of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Number of its events in the segment.
    pub events: u64,
    /// Version of the last of them.
    pub last_version: u64,
    /// Numbers of the blocks that have one, from 0.
    pub blocks: Vec<usize>,
}

/// Reads a sealed segment. Checks every checksum, every length, the hash chain, and the order of all tables.
///
/// # Errors
/// When the bytes are not what version 2 writes.
pub fn read_sealed(bytes: &[u8]) -> Result<Sealed, Broken> {
    let header = bytes.get(..HEADER_LEN).ok_or_else(|| broken(0, "no header"))?;
    let is_known = header.starts_with(MAGIC) && u32_at(header, 8) == FORMAT_VERSION && u32_at(header, 12) == 0;
    if !is_known || !has_crc(header, 88) || u32_at(header, 92) != 0 {
        return Err(broken(0, "no header of a sealed segment"));
    }
    let trailer_at = bytes.len().saturating_sub(TRAILER_LEN).max(HEADER_LEN);
    let trailer = part(bytes, trailer_at, bytes.len());
    let is_known =
        trailer.starts_with(TRAILER_MAGIC) && u32_at(trailer, 8) == FORMAT_VERSION && u32_at(trailer, 12) == 0;
    if !is_known || trailer.len() != TRAILER_LEN || !has_crc(trailer, 144) {
        return Err(broken(trailer_at, "no trailer"));
    }
    let mut sealed = Sealed {
        ledger: array_at(header, 16),
        number: u64_at(header, 32),
        first_seq: u64_at(header, 40),
        chain_before: array_at(header, 48),
        chain_after: array_at(trailer, 112),
        events: Vec::new(),
        blocks: Vec::new(),
        streams: BTreeMap::new(),
        names: Vec::new(),
        states: BTreeMap::new(),
    };
    let blocks_end = usize::try_from(u64_at(trailer, 16)).unwrap_or(usize::MAX);
    let offsets = read_blocks(bytes, blocks_end, &mut sealed)?;
    if sealed.events.len() as u64 != u64_at(header, 80) || sealed.events.is_empty() {
        return Err(broken(80, "not as many events as counted"));
    }
    let [blocks, streams, names, states] =
        [0, 1, 2, 3].map(|at| part(trailer, 16 + at * SECTION_LEN, 40 + at * SECTION_LEN));
    let (raw, end) = section(bytes, blocks)?;
    read_block_table(&raw, &offsets, &mut sealed).ok_or_else(|| broken(blocks_end, "the table of blocks"))?;
    let (found, end) = table(bytes, streams, end)?;
    for (key, value) in found {
        let entry = stream_of(&key).zip(stream_entry(&value, offsets.len()));
        let (stream, entry) = entry.ok_or_else(|| broken(end, "a stream"))?;
        sealed.streams.insert(stream, entry);
    }
    let (found, end) = table(bytes, names, end)?;
    for (key, value) in found {
        let name = name_of(&key).filter(|_| value.is_empty()).ok_or_else(|| broken(end, "a name"))?;
        sealed.names.push(name);
    }
    let mut end = end;
    if states.iter().any(|byte| *byte != 0) {
        let found;
        (found, end) = table(bytes, states, end)?;
        for (key, value) in found {
            sealed.states.insert(stream_of(&key).ok_or_else(|| broken(end, "a state"))?, value);
        }
    }
    if end == trailer_at { Ok(sealed) } else { Err(broken(end, "bytes between the sections and the trailer")) }
}

fn broken(at: usize, what: &str) -> Broken {
    Broken(at, what.to_owned())
}

/// Reads the blocks up to byte `end`. Returns where each begins, and its first event.
fn read_blocks(bytes: &[u8], end: usize, sealed: &mut Sealed) -> Result<Vec<(u64, u64)>, Broken> {
    let (mut at, mut offsets, mut chain) = (HEADER_LEN, Vec::new(), sealed.chain_before);
    while at < end {
        let seq = sealed.first_seq + sealed.events.len() as u64;
        let header = bytes.get(at..at + BLOCK_HEADER_LEN).ok_or_else(|| broken(at, "no header of a block"))?;
        if !header.starts_with(BLOCK_MAGIC) || !has_crc(header, 60) || u64_at(header, 8) != seq {
            return Err(broken(at, "no header of the next block"));
        }
        if array_at::<32>(header, 28) != chain {
            return Err(broken(at, "the chain before the block"));
        }
        let (raw_len, stored_len) = (usize_at(header, 20), usize_at(header, 24));
        let codec = u8::from(stored_len < raw_len);
        if part(header, 4, 8) != [1, codec, 0, 0] {
            return Err(broken(at, "the codec of the block"));
        }
        let stored_at = at + BLOCK_HEADER_LEN;
        let stored = bytes.get(stored_at..stored_at + stored_len + 4).filter(|stored| has_crc(stored, stored_len));
        let raw = stored.and_then(|stored| unpack(part(stored, 0, stored_len), raw_len));
        let raw = raw.ok_or_else(|| broken(at, "the contents of the block"))?;
        let slots = slots(&raw, u32_at(header, 16)).ok_or_else(|| broken(at, "the events of the block"))?;
        for (slot, seq) in slots.into_iter().zip(seq..) {
            chain = match &slot {
                Slot::Event(event) => link(chain, leaf(seq, event)),
                Slot::Erased(leaf) => link(chain, *leaf),
            };
            sealed.events.push(slot);
        }
        offsets.push((at as u64, seq));
        at = stored_at + stored_len + 4;
    }
    let is_whole = at == end && chain == sealed.chain_after;
    if is_whole { Ok(offsets) } else { Err(broken(at, "the blocks do not end where the footer begins")) }
}

fn slots(mut raw: &[u8], count: u32) -> Option<Vec<Slot>> {
    let mut slots = Vec::new();
    for _ in 0..count {
        let (length, rest) = raw.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let len = if length == ERASED_LENGTH { LEAF_LEN } else { length as usize };
        let (bytes, rest) = rest.split_at_checked(len)?;
        slots.push(if length == ERASED_LENGTH {
            Slot::Erased(array_at(bytes, 0))
        } else {
            Slot::Event(bytes.to_vec())
        });
        raw = rest;
    }
    (raw.is_empty() && !slots.is_empty()).then_some(slots)
}

fn unpack(stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    if stored.len() == raw_len {
        return Some(stored.to_vec());
    }
    let raw = zstd::bulk::decompress(stored, raw_len.min(RAW_MAX)).ok()?;
    (raw.len() == raw_len && stored.len() < raw_len).then_some(raw)
}

/// The contents of a section, and where it ends. `place` is its part of the trailer.
fn section(bytes: &[u8], place: &[u8]) -> Result<(Vec<u8>, usize), Broken> {
    let at = usize::try_from(u64_at(place, 0)).unwrap_or(usize::MAX);
    let end = at.saturating_add(usize_at(place, 8));
    let stored =
        bytes.get(at..end).filter(|stored| crc32c::crc32c(stored) == u32_at(place, 16) && u32_at(place, 20) == 0);
    let raw = stored.and_then(|stored| unpack(stored, usize_at(place, 12)));
    raw.map(|raw| (raw, end)).ok_or_else(|| broken(at, "a section of the footer"))
}

fn read_block_table(raw: &[u8], offsets: &[(u64, u64)], sealed: &mut Sealed) -> Option<()> {
    if raw.len() != offsets.len() * BLOCK_ENTRY_LEN {
        return None;
    }
    for (entry, (offset, first_seq)) in raw.chunks(BLOCK_ENTRY_LEN).zip(offsets) {
        if (u64_at(entry, 0), u64_at(entry, 8)) != (*offset, *first_seq) {
            return None;
        }
        let [min_wall_ns, max_wall_ns] = [16, 24].map(|at| i64::from_le_bytes(array_at(entry, at)));
        let (first_seq, kinds) = (*first_seq, u64_at(entry, 32));
        sealed.blocks.push(BlockEntry { first_seq, min_wall_ns, max_wall_ns, kinds });
    }
    Some(())
}

/// The keys and values of a table.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads a table whose pages begin at byte `start`. Returns its entries, and where its directory ends.
fn table(bytes: &[u8], place: &[u8], start: usize) -> Result<(Entries, usize), Broken> {
    let (directory, end) = section(bytes, place)?;
    let wrong = || broken(start, "a table of the footer");
    let (mut entries, mut at, mut rest) = (Entries::new(), start, directory.as_slice());
    while !rest.is_empty() {
        let (stored_len, raw_len, crc) = (usize_at(rest, 0), usize_at(rest, 4), u32_at(rest, 8));
        let first_key;
        (first_key, rest) = prefixed(rest.get(12..).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let stored = bytes.get(at..at + stored_len).filter(|stored| crc32c::crc32c(stored) == crc).ok_or_else(wrong)?;
        let page = unpack(stored, raw_len).ok_or_else(wrong)?;
        let (mut page, mut expected) = (page.as_slice(), Some(first_key));
        while !page.is_empty() {
            let (key, value);
            (key, page) = prefixed(page).ok_or_else(wrong)?;
            (value, page) = prefixed(page).ok_or_else(wrong)?;
            let follows = entries.last().is_none_or(|(before, _)| before.as_slice() < key);
            if !follows || expected.take().is_some_and(|expected| expected != key) {
                return Err(wrong());
            }
            entries.push((key.to_vec(), value.to_vec()));
        }
        at += stored_len;
    }
    if at as u64 == u64_at(place, 0) { Ok((entries, end)) } else { Err(wrong()) }
}

/// Splits bytes with their length before them from the rest.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

fn stream_of(key: &[u8]) -> Option<Stream> {
    (key.len() == 20).then(|| (array_at(key, 0), u32::from_be_bytes(array_at(key, 16))))
}

fn stream_entry(value: &[u8], block_count: usize) -> Option<StreamEntry> {
    let bits = value.get(16..).filter(|bits| bits.len() == block_count.div_ceil(8))?;
    let is_set = |block: &usize| bits.get(block / 8).is_some_and(|byte| byte >> (block % 8) & 1 == 1);
    let blocks: Vec<usize> = (0..bits.len() * 8).filter(is_set).collect();
    let fits = blocks.last().is_some_and(|last| *last < block_count);
    fits.then(|| StreamEntry { events: u64_at(value, 0), last_version: u64_at(value, 8), blocks })
}

fn name_of(key: &[u8]) -> Option<(String, [u8; 16])> {
    let (name, process) = key.split_last_chunk()?;
    let name = name.strip_suffix(&[NAME_END])?;
    Some((String::from_utf8(name.to_vec()).ok()?, *process))
}
