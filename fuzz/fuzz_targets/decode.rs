//! Decodes arbitrary bytes as a segment, a frame or an event.
//!
//! No decoder may panic, loop for ever, or allocate more than a limit. An event that is decoded must decode to the same
//! event again after it was encoded, and the frozen decoder of format 1 must accept exactly the same bytes. The first
//! input byte selects the decoder; in some modes the magic numbers and checksums of the input are corrected first, so
//! that the fuzzer gets past these checks.

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

/// Limit of allocated memory in bytes. The input is at most 4 KiB. For a list with an unchecked length, serde allocates
/// up to 1 MiB, at each of up to three nesting levels.
const ALLOCATED_BYTES_MAX: usize = 8 << 20;

const SEGMENT_HEADER_LEN: usize = 96;
const CRC_AT: usize = 88;
const ALIGN: usize = 8;
const SEGMENT_BEGIN: &[u8] = b"APM2JRNL\x01\0\0\0\0\0\0\0";
const FRAME_BEGIN: &[u8] = b"a2fr\x01\0\0\0";
/// The highest number of findings at one position of a segment: a gap in the sequence numbers, a broken hash chain, and
/// the commit itself.
const FINDINGS_PER_PLACE: usize = 3;

/// An allocation above the limit fails, which aborts the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, ALLOCATED_BYTES_MAX);

fuzz_target!(
    init: {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Resolving the lines of a backtrace needs more memory than the limit.
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
                    assert!(
                        !is_whole || (header.first_seq, header.chain_before) == (next_seq, chain),
                        "undetected gap"
                    );
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
        assert!(frozen.is_err(), "the frozen decoder accepts a record that the current one refuses: {frozen:?}");
        return;
    };
    // The frozen decoder accepts version 1 records only. Version 2 and 3 records contain only what version 1 cannot
    // represent.
    assert_eq!(frozen.is_ok(), bytes.first() == Some(&1), "{frozen:?}, of {event:?}");
    let mut again = Vec::new();
    match encode_event(&event, &mut again) {
        // A record with a long run of zero bytes can be decoded but not encoded.
        Err(RecordError::Zeros) => return,
        written => written.expect("a decoded event can be encoded"),
    }
    assert_eq!(decode_event(1, &again).expect("an encoded event can be decoded"), event);
}

/// Corrects the magic numbers and checksums of the segment header and of all frames.
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

/// Corrects the magic number and the checksums of the frame at offset `at`. Returns the end offset of the frame.
fn repair_frame(bytes: &mut [u8], at: usize) -> Option<usize> {
    let length = bytes.get(at + 20..)?.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)?;
    put(bytes, at, FRAME_BEGIN)?;
    put_crc(bytes, at, at + CRC_AT)?;
    put_crc(bytes, at, at + HEADER_LEN + length)?;
    Some(at + HEADER_LEN + length + TRAILER_LEN)
}

/// Writes the checksum of the bytes from `from` to `to` at offset `to`, if it fits.
fn put_crc(bytes: &mut [u8], from: usize, to: usize) -> Option<()> {
    let crc = crc32c::crc32c(bytes.get(from..to)?);
    put(bytes, to, &crc.to_le_bytes())
}

/// Copies `part` to offset `at`, if it fits.
fn put(bytes: &mut [u8], at: usize, part: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + part.len())?.copy_from_slice(part);
    Some(())
}
