//! A plain segment: as in version 1, with the format version 1 or 2.

use super::{
    FORMAT_VERSION,
    bytes::{array_at, has_crc, part, u32_at, u64_at, usize_at},
    journal::{Broken, Header, Journal},
    sealed::Slot,
};

const SEGMENT_MAGIC: &[u8] = b"APM2JRNL";
const SEGMENT_HEADER_LEN: usize = 96;
const FRAME_MAGIC: &[u8] = b"a2fr";
const FRAME_HEADER_LEN: usize = 92;
const LAYOUT_VERSION: u8 = 1;
const ALIGN: usize = 8;

/// Reads segment `number`, and adds its events to the journal.
pub(super) fn read_plain(bytes: &[u8], number: u64, journal: &mut Option<Journal>) -> Result<(), Broken> {
    let broken = |what: &str| Broken(0, what.to_owned());
    let header = bytes.get(..SEGMENT_HEADER_LEN).ok_or_else(|| broken("no header"))?;
    let is_known = (1..=FORMAT_VERSION).contains(&u32_at(header, 8));
    if !header.starts_with(SEGMENT_MAGIC) || !is_known || !has_crc(header, 88) {
        return Err(broken("no header of a plain segment"));
    }
    if u32_at(header, 12) != 0 || u32_at(header, 92) != 0 {
        return Err(broken("the header's zeros"));
    }
    let header = Header {
        ledger: array_at(header, 16),
        number: u64_at(header, 32),
        first_seq: u64_at(header, 40),
        chain_before: array_at(header, 48),
    };
    let journal = Journal::begin(journal, number, &header)?;
    let mut at = SEGMENT_HEADER_LEN;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
        let len = read_frame(rest, journal).map_err(|what| Broken(at, what.to_owned()))?;
        let padded = len.next_multiple_of(ALIGN);
        if part(rest, len, padded.min(rest.len())).iter().any(|byte| *byte != 0) {
            return Err(Broken(at + len, "the padding is not zero".to_owned()));
        }
        at += padded;
    }
    Ok(())
}

/// Reads the frame at the beginning of `bytes`. Returns the length of the frame.
fn read_frame(bytes: &[u8], journal: &mut Journal) -> Result<usize, &'static str> {
    let header = bytes.get(..FRAME_HEADER_LEN).ok_or("no frame header")?;
    if !header.starts_with(FRAME_MAGIC) || part(header, 4, 8) != [LAYOUT_VERSION, 0, 0, 0] || !has_crc(header, 88) {
        return Err("no header of a frame");
    }
    let body_end = FRAME_HEADER_LEN + usize_at(header, 20);
    if !has_crc(bytes, body_end) {
        return Err("the checksum of the frame");
    }
    if u64_at(header, 8) != journal.next_seq() || array_at::<32>(header, 24) != journal.chain() {
        return Err("the frame does not follow on the one before it");
    }
    let mut body = part(bytes, FRAME_HEADER_LEN, body_end);
    for _ in 0..u32_at(header, 16) {
        let (len, rest) = body.split_first_chunk().ok_or("fewer events than counted")?;
        let (event, rest) =
            rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("an event longer than its frame")?;
        journal.push(Slot::Event(event.to_vec()));
        body = rest;
    }
    if !body.is_empty() {
        return Err("more bytes than the events have");
    }
    if array_at::<32>(header, 56) != journal.chain() {
        return Err("the events are not those that the chain was made of");
    }
    Ok(body_end + 4)
}
