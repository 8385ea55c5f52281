//! Flipped bits and cut files.

use apm2_model::event::Event;
use proptest::{collection::vec, prelude::*};

use super::sample::{Scratch, bytes_of, checked, choices, events, opened, readable, sealed, stream};
use crate::journal::sealed::{error::SealedError, reader::SealedSegment};

/// Where the footer begins.
fn footer_of(segment: &SealedSegment) -> usize {
    let last = *segment.blocks().unwrap().entries().last().unwrap();
    usize::try_from(last.offset).unwrap() + last.len
}

/// Asks everything. What comes of it is an answer or an error.
fn ask(segment: &SealedSegment) {
    drop(segment.block_with(segment.header().first_seq));
    drop(segment.stream(stream(0)));
    drop(segment.streams(&[1], 10));
    drop(segment.named("a"));
    drop(segment.state(stream(0)));
    drop(segment.states().map(Iterator::count));
}

/// Flips a bit of the file: it is found, and no other event than the right ones is read. A flip in the footer leaves all events.
fn check_flip(scratch: &Scratch, bytes: &[u8], footer: usize, bit: usize, events: &[Event]) {
    scratch.put(bit / 8, bytes[bit / 8] ^ 1 << (bit % 8));
    match scratch.open() {
        Err(error) => assert!(bit / 8 < 96 && matches!(error, SealedError::Header), "bit {bit}: {error}"),
        Ok(segment) => {
            let (found, _, wrong, _) = checked(&segment);
            assert!(!wrong.is_empty(), "bit {bit} of {} is not noticed", bytes.len());
            let is_whole = found == events;
            assert!(is_whole || bit / 8 < footer, "bit {bit} of the footer hides events: {wrong:?}");
            assert!(is_whole || found.iter().all(|event| events.contains(event)), "bit {bit} changes an event");
            ask(&segment);
        }
    }
    scratch.put(bit / 8, bytes[bit / 8]);
}

#[test]
fn every_flipped_bit_of_a_small_file_is_found() {
    let events = events(&[(0, 0, 0, 5), (0, 2, 0, 9), (2, 1, 1, 7), (3, 3, 0, 3)]);
    let bytes = sealed(&events);
    let (scratch, footer) = (Scratch::new(&bytes), footer_of(&opened(&bytes)));
    for bit in 0..bytes.len() * 8 {
        check_flip(&scratch, &bytes, footer, bit, &events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn random_flipped_bits_are_found(choices in choices(), bits in vec(any::<prop::sample::Index>(), 10)) {
        let events = events(&choices);
        let bytes = sealed(&events);
        let (scratch, footer) = (Scratch::new(&bytes), footer_of(&opened(&bytes)));
        for bit in bits {
            check_flip(&scratch, &bytes, footer, bit.index(bytes.len() * 8), &events);
            // The footer is small beside the blocks.
            let in_footer = footer * 8 + bit.index((bytes.len() - footer) * 8);
            check_flip(&scratch, &bytes, footer, in_footer, &events);
        }
    }
}

#[test]
fn every_cut_is_found_and_whole_blocks_are_read() {
    let events = events(&[(0, 0, 0, 5), (0, 4, 66_000, 9), (2, 4, 300, 7), (3, 3, 0, 3)]);
    let bytes = sealed(&events);
    let whole = opened(&bytes);
    let ends: Vec<usize> = whole
        .blocks()
        .unwrap()
        .entries()
        .iter()
        .map(|entry| usize::try_from(entry.offset).unwrap() + entry.len)
        .collect();
    let headers: Vec<usize> = [96].iter().chain(&ends[..ends.len() - 1]).map(|start| start + 64).collect();
    let last_seqs: Vec<u64> = whole.blocks().unwrap().entries().iter().map(|entry| entry.last_seq).collect();
    let scratch = Scratch::new(&bytes);
    // Within a large block all places are alike.
    let is_edge = |len: &usize| len.is_multiple_of(997) || ends.iter().any(|end| end.abs_diff(*len) < 100);
    for len in (0..bytes.len()).rev().filter(|len| *len < 1000 || *len > bytes.len() - 1500 || is_edge(len)) {
        scratch.truncate(len);
        let Ok(segment) = scratch.open() else {
            assert!(len < 96, "length {len}");
            continue;
        };
        assert!(len >= 96 && !segment.has_trailer(), "length {len}");
        let wrong = checked(&segment).2;
        let is_missing = wrong.iter().any(|wrong| wrong.contains("no block from byte"));
        assert_eq!(is_missing, headers.iter().any(|end| len < *end), "length {len}: {wrong:?}");
        assert!(wrong[0].contains("trailer"), "length {len}: {wrong:?}");
        let blocks = ends.iter().filter(|end| **end <= len).count();
        let last_seq = blocks.checked_sub(1).map_or(0, |last| last_seqs[last]);
        let expected = events.iter().filter(|event| event.seq <= last_seq).map(|event| (event.seq, bytes_of(event)));
        assert!(readable(&segment).into_iter().eq(expected), "length {len}");
        ask(&segment);
    }
}

#[test]
fn without_a_trailer_missing_blocks_are_an_error() {
    let events = events(&[(0, 0, 0, 5), (0, 4, 66_000, 9), (2, 4, 300, 7)]);
    let bytes = sealed(&events);
    let second = opened(&bytes).blocks().unwrap().entries()[1];
    let scratch = Scratch::new(&bytes[..usize::try_from(second.offset).unwrap() + 10]);
    let segment = scratch.open().unwrap();
    assert_eq!(segment.block_with(1000).unwrap(), Some(0));
    let missing = segment.block_with(1001).unwrap_err();
    assert!(matches!(missing, SealedError::Missing { first_seq: 1001, last_seq: 1002, .. }), "{missing}");
    assert!(matches!(segment.stream(stream(0)), Err(SealedError::Trailer)));
    assert!(matches!(segment.chain_after(), Err(SealedError::Trailer)));
}

#[test]
fn a_newer_version_is_recognized() {
    let mut bytes = sealed(&events(&[(0, 0, 0, 5)]));
    bytes[8] = 3;
    assert!(matches!(Scratch::new(&bytes).open(), Err(SealedError::Header)), "its checksum is wrong");
    let crc = crc32c::crc32c(&bytes[..88]);
    bytes[88..92].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(Scratch::new(&bytes).open(), Err(SealedError::Newer(3))));
}

/// A header and blocks that are sound by themselves and do not follow on each other.
#[test]
fn a_broken_chain_is_found() {
    let events = events(&[(0, 0, 0, 5), (0, 4, 66_000, 9), (2, 4, 300, 7)]);
    let bytes = sealed(&events);
    let trailer = bytes.len() - 148;
    let second = usize::try_from(opened(&bytes).blocks().unwrap().entries()[1].offset).unwrap();
    // The header's chain, that of the second block, and that of the trailer, each with the checksum after it.
    for (start, chain, crc, seq) in [(0, 48, 88, 1000), (second, 28, 60, 1001), (trailer, 112, 144, 1003)] {
        let mut forged = bytes.clone();
        forged[start + chain] ^= 1;
        let sum = crc32c::crc32c(&forged[start..start + crc]);
        forged[start + crc..start + crc + 4].copy_from_slice(&sum.to_le_bytes());
        let (found, _, wrong, _) = checked(&opened(&forged));
        assert_eq!(found, events);
        assert!(wrong.contains(&format!("the hash chain breaks before event {seq}")), "{seq}: {wrong:?}");
    }
}

#[test]
fn a_gap_before_a_section_is_found() {
    let bytes = sealed(&events(&[(0, 0, 0, 5), (2, 4, 300, 7)]));
    let trailer = bytes.len() - 148;
    let place = |section: usize| trailer + 16 + 24 * section;
    let offset = |section: usize| u64::from_le_bytes(bytes[place(section)..][..8].try_into().unwrap());
    for gap_before in 0..4 {
        let mut forged = bytes.clone();
        for section in gap_before..4 {
            forged[place(section)..][..8].copy_from_slice(&(offset(section) + 8).to_le_bytes());
        }
        let sum = crc32c::crc32c(&forged[trailer..trailer + 144]);
        forged[trailer + 144..].copy_from_slice(&sum.to_le_bytes());
        let at = usize::try_from(offset(gap_before)).unwrap();
        forged.splice(at..at, [0; 8]);
        let segment = opened(&forged);
        assert!(segment.has_trailer());
        assert!(!checked(&segment).2.is_empty(), "section {gap_before}");
    }
}

#[test]
fn a_state_of_a_stream_that_is_not_in_the_segment_is_found() {
    let (own, other) = (events(&[(0, 2, 0, 5)]), events(&[(1, 2, 0, 5)]));
    let mut builder = super::sample::builder(&[]);
    builder.push(&other[0], &bytes_of(&own[0])).unwrap();
    let bytes = builder.finish_with_states([(other[0].stream, vec![1])]).unwrap();
    let wrong = checked(&opened(&bytes)).2;
    assert!(wrong.iter().any(|wrong| wrong.contains("index of states")), "{wrong:?}");
}

/// Blocks and footers that are sound by themselves and do not belong together.
#[test]
fn a_footer_of_other_events_is_found() {
    let own = events(&[(0, 0, 0, 5), (0, 2, 0, 9), (2, 1, 1, 7)]);
    for (choices, expected) in [
        (&[(0, 0, 0, 5), (0, 2, 0, 8), (2, 1, 1, 7)], "index of blocks"),
        (&[(0, 0, 0, 5), (1, 2, 0, 9), (2, 1, 1, 7)], "index of streams"),
        (&[(0, 0, 0, 5), (0, 2, 0, 9), (2, 1, 0, 7)], "index of names"),
    ] {
        let other = events(choices);
        let mut builder = super::sample::builder(&[]);
        for (own, other) in own.iter().zip(&other) {
            builder.push(other, &bytes_of(own)).unwrap();
        }
        let wrong = checked(&opened(&builder.finish().unwrap())).2;
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "{expected}: {wrong:?}");
    }
}
