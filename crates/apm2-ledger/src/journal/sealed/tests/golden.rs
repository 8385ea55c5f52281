//! Sealed segments of format 2 as they were written, which every later version must read: by the first version, and by the first
//! one that recorded the classes of actors.

use super::sample::{self, checked, opened, readable, sealed};
use crate::journal::sealed::{actor_set::ActorSet, block_table::BlockSummary, reader::SealedSegment};

/// The bytes of the files, in hexadecimal.
const GOLDEN: &str = include_str!("golden-v2.hex");
const GOLDEN_WITH_ACTORS: &str = include_str!("golden-v2-actors.hex");

fn golden() -> Vec<u8> {
    bytes(GOLDEN)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn golden_events() -> Vec<apm2_model::event::Event> {
    sample::events(&[
        (0, 0, 0, 5),
        (1, 0, 1, -7),
        (0, 2, 0, 9),
        (2, 1, 1, 7),
        (3, 3, 0, i64::MAX),
        (2, 4, 50, 11),
        (0, 5, 66_000, 12),
        (4, 2, 0, i64::MIN),
    ])
}

/// Everything in the file but for how it was compressed.
fn contents(segment: &SealedSegment) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{:?}\n{:?}\n", segment.header(), segment.chain_after().unwrap());
    for (number, entry) in segment.blocks().unwrap().entries().iter().enumerate() {
        let header = *segment.block(number).unwrap().unwrap().header();
        let (summary, chain) = (BlockSummary { actors: ActorSet::ALL, ..entry.summary }, header.chain_before);
        writeln!(text, "{} {} {} {summary:?} {chain}", header.first_seq, header.count, header.raw_len).unwrap();
    }
    writeln!(text, "{:?}", segment.streams(&[], usize::MAX).unwrap()).unwrap();
    writeln!(text, "{:?}", segment.names().unwrap().map(Result::unwrap).collect::<Vec<_>>()).unwrap();
    writeln!(text, "{:?}", segment.states().unwrap().map(Result::unwrap).collect::<Vec<_>>()).unwrap();
    text
}

#[test]
fn the_golden_segment_is_read_and_is_written_alike() {
    let (golden, events) = (opened(&golden()), golden_events());
    let (found, erased, wrong, chain) = checked(&golden);
    assert_eq!((found, erased, wrong), (events.clone(), Vec::new(), Vec::new()));
    assert_eq!(chain.unwrap().to_string(), "21e29b7783f25baaa5366dc1238e6cc5c2456607d3030a4b7df9fa32a095b4c6");
    // A later version of zstd may compress otherwise.
    let written = opened(&sealed(&events));
    assert_eq!(contents(&golden), contents(&written));
    assert_eq!(readable(&golden), readable(&written));
    // The first version did not record the actors.
    let actors = |segment: &SealedSegment| {
        segment.blocks().unwrap().entries().iter().map(|entry| entry.summary.actors).collect::<Vec<_>>()
    };
    assert!(actors(&golden).iter().all(|actors| *actors == ActorSet::ALL));
    let with_actors = opened(&bytes(GOLDEN_WITH_ACTORS));
    assert_eq!((contents(&with_actors), actors(&with_actors)), (contents(&written), actors(&written)));
    assert!(actors(&written).iter().all(|actors| *actors == ActorSet(16)));
}
