//! Arbitrary bytes as segment, frame and event.
//!
//! Nothing may panic, go on for ever, or allocate beyond a limit. Whatever is accepted as an event must be written back
//! as bytes that are read as the same event, and the frozen reader of format 1 must accept exactly the same bytes. The
//! first byte chooses how the others are taken; some ways put magic numbers and checksums right, to get behind them.

#![no_main]

use std::alloc::System;

use apm2_ledger::{
    frame::{Frame, FrameHeader, HEADER_LEN, TRAILER_LEN},
    journal::{
        scan::{Scan, Scanned},
        segment::SegmentHeader,
    },
    record::{RecordError, decode_event, encode_event},
};
use apm2_migrations::v1;
use cap::Cap;
use libfuzzer_sys::fuzz_target;

/// All that the decoders may hold at a time: what they are given is 4 KiB, and serde makes room for a list of unproven
/// length up to 1 MiB at each of the three levels at which lists are nested.
const ALLOCATED_BYTES_MAX: usize = 8 << 20;

const SEGMENT_HEADER_LEN: usize = 96;
const CRC_AT: usize = 88;
const ALIGN: usize = 8;
const SEGMENT_BEGIN: &[u8] = b"APM2JRNL\x01\0\0\0\0\0\0\0";
const FRAME_BEGIN: &[u8] = b"a2fr\x01\0\0\0";
/// Findings that one commit's place can give rise to: a gap, a break of the chain, and itself.
const FINDINGS_PER_PLACE: usize = 3;

/// An allocation over the limit fails, which ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, ALLOCATED_BYTES_MAX);

fuzz_target!(
    init: {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // To find the lines of a backtrace takes more than that.
            ALLOCATOR.set_limit(usize::MAX).ok();
            report(panic);
        }));
    },
    |data: &[u8]| {
        let Some((way, data)) = data.split_first() else { return };
        match way % 6 {
            0 => segment(data),
            1 => segment(&repaired_segment(data)),
            2 => frame(data),
            3 => frame(&repaired_frame(data)),
            4 => event(data),
            _ => event(&[&[1], data].concat()),
        }
    }
);

fn segment(bytes: &[u8]) {
    let Ok(header) = SegmentHeader::parse(bytes) else { return };
    assert_eq!(header.to_bytes()[..], bytes[..SEGMENT_HEADER_LEN]);
    for is_last in [true, false] {
        let (mut end, mut next_seq, mut chain) = (SEGMENT_HEADER_LEN, header.first_seq, header.chain_before);
        let mut is_whole = true;
        for (found, count) in Scan::new(bytes, &header, is_last).zip(1..) {
            assert!(count <= FINDINGS_PER_PLACE * (bytes.len() / ALIGN + 1), "the scan does not end");
            match found {
                Scanned::Commit(at, frame) => {
                    assert!(at >= end, "commits do not overlap");
                    let header = *frame.header();
                    assert!(!is_whole || (header.first_seq, header.chain_before) == (next_seq, chain), "unnoticed gap");
                    (end, next_seq, chain) = (at + header.frame_len(), header.last_seq() + 1, header.chain_after);
                    frame.iter(&bytes[at..]).for_each(|(_, bytes)| event(bytes));
                }
                Scanned::Damage(damage) => {
                    assert!(damage.first_seq <= damage.last_seq, "{damage}");
                    is_whole = false;
                }
                Scanned::Torn(at) => assert!(is_last && at >= end, "only the last commit can be torn"),
            }
        }
    }
}

fn frame(bytes: &[u8]) {
    let Ok(frame) = Frame::parse(bytes) else { return };
    let header = *frame.header();
    assert_eq!(FrameHeader::parse(bytes), Ok(header));
    assert_eq!(frame.events().len(), header.count as usize);
    let seqs = frame.iter(bytes).map(|(seq, _)| seq);
    assert!(seqs.eq(header.first_seq..=header.last_seq()), "every event has its number");
    frame.iter(bytes).for_each(|(_, bytes)| event(bytes));
}

fn event(bytes: &[u8]) {
    let frozen = v1::decode_event(bytes);
    let Ok(event) = decode_event(1, bytes) else {
        assert!(frozen.is_err(), "the frozen reader accepts what is refused: {frozen:?}");
        return;
    };
    // Version 2 holds what the frozen reader of version 1 has no word for, and nothing else.
    assert_eq!(frozen.is_ok(), bytes.first() == Some(&1), "{frozen:?}, of {event:?}");
    let mut again = Vec::new();
    match encode_event(&event, &mut again) {
        // Read, if it was ever written, but not written.
        Err(RecordError::Zeros) => return,
        written => written.expect("what was read can be written"),
    }
    assert_eq!(decode_event(1, &again).expect("what was written can be read"), event);
}

/// The bytes with the beginnings and the checksums of the segment's header and of its frames put right.
fn repaired_segment(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    put(&mut bytes, 0, SEGMENT_BEGIN);
    put_crc(&mut bytes, 0, CRC_AT);
    let mut at = SEGMENT_HEADER_LEN;
    while let Some(end) = repair_frame(&mut bytes, at) {
        at = end.next_multiple_of(ALIGN);
    }
    bytes
}

fn repaired_frame(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    repair_frame(&mut bytes, 0);
    bytes
}

/// Puts the beginning and the checksums of the frame at `at` right, and returns where it ends.
fn repair_frame(bytes: &mut [u8], at: usize) -> Option<usize> {
    let length = bytes.get(at + 20..)?.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)?;
    put(bytes, at, FRAME_BEGIN)?;
    put_crc(bytes, at, at + CRC_AT)?;
    put_crc(bytes, at, at + HEADER_LEN + length)?;
    Some(at + HEADER_LEN + length + TRAILER_LEN)
}

/// Puts the checksum of the bytes from `from` to `to` after them, if there is room.
fn put_crc(bytes: &mut [u8], from: usize, to: usize) -> Option<()> {
    let crc = crc32c::crc32c(bytes.get(from..to)?);
    put(bytes, to, &crc.to_le_bytes())
}

/// Puts `part` at `at`, if there is room.
fn put(bytes: &mut [u8], at: usize, part: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + part.len())?.copy_from_slice(part);
    Some(())
}
