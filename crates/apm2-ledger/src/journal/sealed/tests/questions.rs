//! Every question that the footer answers, against the answer from all events.

use std::collections::{BTreeMap, BTreeSet};

use apm2_model::event::{Event, actor::Actor, kind::EventKind, stream_id::StreamId};
use proptest::prelude::*;

use super::sample::{
    self, Choice, FIRST_SEQ, NAMES, builder, bytes_of, chain_before, checked, choices, opened, readable, sealed,
};
use crate::{
    chain::leaf,
    journal::sealed::{
        actor_set::ActorSet, block::Slot, builder::SealedBuilder, error::SealError, kind_set::KindSet,
        reader::SealedSegment, stream_entry::StreamEntry,
    },
};

/// The blocks with an event such as this, found by reading all blocks.
fn blocks_with(segment: &SealedSegment, events: &[Event], is_wanted: impl Fn(&Event) -> bool) -> Vec<usize> {
    let number = |event: &&Event| segment.block_with(event.seq).unwrap().unwrap();
    let found: BTreeSet<usize> = events.iter().filter(|event| is_wanted(event)).map(|event| number(&event)).collect();
    found.into_iter().collect()
}

fn streams_of(segment: &SealedSegment, events: &[Event]) -> BTreeMap<StreamId, StreamEntry> {
    let entry = |stream| {
        let of_stream: Vec<&Event> = events.iter().filter(|event| event.stream == stream).collect();
        StreamEntry {
            stream,
            events: of_stream.len() as u64,
            last_version: of_stream.last().unwrap().version,
            blocks: blocks_with(segment, events, |event| event.stream == stream),
        }
    };
    events.iter().map(|event| (event.stream, entry(event.stream))).collect()
}

fn check_streams(segment: &SealedSegment, events: &[Event]) {
    let streams = streams_of(segment, events);
    assert!(segment.streams(&[], usize::MAX).unwrap().iter().eq(streams.values()));
    assert!(segment.streams(&[], 1).unwrap().iter().eq(streams.values().take(1)));
    for stream in (0..6).map(sample::stream) {
        assert_eq!(segment.stream(stream).unwrap().as_ref(), streams.get(&stream));
        let id = stream.process_id;
        for len in [1, 15, 16] {
            let of_process = streams.values().filter(|entry| entry.stream.process_id == id);
            assert!(segment.streams(&id.as_bytes()[..len], usize::MAX).unwrap().iter().eq(of_process));
        }
    }
    let states = sample::states(streams.keys().copied());
    assert!(segment.states().unwrap().map(Result::unwrap).eq(states.iter().cloned()));
    for stream in (0..6).map(sample::stream) {
        let expected = states.iter().find(|(with_state, _)| *with_state == stream).map(|(_, state)| state);
        assert_eq!(segment.state(stream).unwrap().as_ref(), expected);
    }
}

fn check_names(segment: &SealedSegment, events: &[Event]) {
    for name in NAMES.into_iter().chain(["", "abc"]) {
        let named: BTreeSet<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Registered { spec } | EventKind::SpecChanged { spec } if spec.name == name => Some(spec.id),
                _ => None,
            })
            .collect();
        assert!(segment.named(name).unwrap().into_iter().eq(named), "{name}");
    }
}

fn check_times_and_kinds(segment: &SealedSegment, events: &[Event]) {
    let blocks = segment.blocks().unwrap();
    for entry in blocks.entries() {
        let in_block = || events.iter().filter(|event| (entry.first_seq..=entry.last_seq).contains(&event.seq));
        assert_eq!(in_block().map(|event| event.stamp.wall_ns).min(), Some(entry.summary.min_wall_ns));
        assert_eq!(in_block().map(|event| event.stamp.wall_ns).max(), Some(entry.summary.max_wall_ns));
        let actors = in_block().map(|event| ActorSet::from(&event.actor)).fold(ActorSet::default(), ActorSet::union);
        assert_eq!(entry.summary.actors, actors);
    }
    for (from, to) in [(i64::MIN, i64::MAX), (0, 0), (-100, -1), (200, i64::MAX)] {
        // A block between two events of other times is read in vain, and none is left out.
        let found: Vec<usize> = blocks.between(from, to).collect();
        let wanted = blocks_with(segment, events, |event| (from..=to).contains(&event.stamp.wall_ns));
        assert!(wanted.iter().all(|number| found.contains(number)), "{from} to {to}: {found:?}, {wanted:?}");
    }
    for names in [vec!["registered"], vec!["running", "observed"], vec!["tail_cut"], EventKind::NAMES.to_vec()] {
        let wanted = blocks_with(segment, events, |event| names.contains(&event.kind.name()));
        assert!(blocks.with_kinds(KindSet::named(names)).eq(wanted));
    }
}

fn check_all(choices: &[Choice]) {
    let mut events = sample::events(choices);
    for event in &mut events {
        event.actor = match event.seq / 5 % 3 {
            0 => Actor::System,
            1 => Actor::Policy,
            _ => Actor::Operator { uid: 7, user: None, terminal: None },
        };
    }
    let segment = opened(&sealed(&events));
    assert!(segment.has_trailer() && segment.blocks().unwrap().is_indexed());
    let expected: Vec<_> = events.iter().map(|event| (event.seq, bytes_of(event))).collect();
    assert_eq!(readable(&segment), expected);
    let chain = expected.iter().fold(chain_before(), |chain, (seq, bytes)| chain.link(*seq, bytes));
    assert_eq!(segment.chain_after().unwrap(), chain);
    assert_eq!(checked(&segment), (events.clone(), Vec::new(), Vec::new(), Some(chain)));
    for (seq, bytes) in &expected {
        let block = segment.block(segment.block_with(*seq).unwrap().unwrap()).unwrap().unwrap();
        assert_eq!(block.slot(*seq), Some(Slot::Event(bytes)));
    }
    for seq in [0, FIRST_SEQ - 1, FIRST_SEQ + events.len() as u64, u64::MAX] {
        assert_eq!(segment.block_with(seq).unwrap(), None);
    }
    check_streams(&segment, &events);
    check_names(&segment, &events);
    check_times_and_kinds(&segment, &events);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_question_has_the_answer_of_the_events(choices in choices()) {
        check_all(&choices);
    }
}

#[test]
fn tables_of_many_pages_have_the_answers_of_the_events() {
    let events: Vec<Event> = (0..2000u32)
        .map(|number| {
            let mut event = sample::events(&[(0, u8::from(number % 3 > 0) * 2, 0, 0)]).remove(0);
            let mut id = [9; 16];
            id[..4].copy_from_slice(&(number / 2).wrapping_mul(2_654_435_761).to_be_bytes());
            event.stream.process_id = apm2_model::spec::id::ProcessId::from_bytes(id);
            event.seq = FIRST_SEQ + u64::from(number);
            event
        })
        .collect();
    let segment = opened(&sealed(&events));
    let streams = streams_of(&segment, &events);
    assert_eq!(checked(&segment).2, Vec::<String>::new());
    for (stream, entry) in &streams {
        assert_eq!(segment.stream(*stream).unwrap().as_ref(), Some(entry));
        let other = StreamId { instance: 1, ..*stream };
        assert_eq!((segment.stream(other).unwrap(), segment.state(other).unwrap()), (None, None));
    }
    for (stream, state) in sample::states(streams.keys().copied()) {
        assert_eq!(segment.state(stream).unwrap(), Some(state));
    }
    for first in 0..=255u8 {
        let expected = streams.values().filter(|entry| entry.stream.process_id.as_bytes()[0] == first);
        assert!(segment.streams(&[first], usize::MAX).unwrap().iter().eq(expected));
    }
}

#[test]
fn a_segment_without_states_has_all_but_them() {
    let events = sample::events(&[(0, 0, 0, 0), (2, 2, 0, 0)]);
    let segment = opened(&builder(&events).finish().unwrap());
    assert!(!segment.has_states().unwrap());
    assert_eq!(segment.state(sample::stream(0)).unwrap(), None);
    assert_eq!(segment.states().unwrap().count(), 0);
    assert_eq!(checked(&segment).2, Vec::<String>::new());
}

#[test]
fn erased_slots_keep_the_chain() {
    let events = sample::events(&[(0, 0, 0, 5), (0, 2, 0, 9), (2, 1, 1, 7), (2, 2, 0, 3)]);
    let whole = builder(&events);
    let chain = whole.chain_after();
    let mut erased = SealedBuilder::new(sample::LEDGER, 3, FIRST_SEQ, chain_before()).unwrap();
    for event in &events {
        let bytes = bytes_of(event);
        if event.seq == FIRST_SEQ + 1 || event.seq == FIRST_SEQ + 2 {
            erased.push_erased(leaf(event.seq, &bytes)).unwrap();
        } else {
            erased.push(event, &bytes).unwrap();
        }
    }
    assert_eq!(erased.chain_after(), chain);
    let segment = opened(&erased.finish().unwrap());
    let left = vec![events[0].clone(), events[3].clone()];
    assert_eq!(checked(&segment), (left, vec![FIRST_SEQ + 1, FIRST_SEQ + 2], Vec::new(), Some(chain)));
    assert_eq!(segment.block(0).unwrap().unwrap().chain_after(), chain);
    let block = segment.block(0).unwrap().unwrap();
    assert_eq!(block.slot(FIRST_SEQ + 1), Some(Slot::Erased(leaf(FIRST_SEQ + 1, &bytes_of(&events[1])))));
    // The name was that of an erased event.
    assert_eq!(segment.named("ab").unwrap(), []);
    let summary = segment.blocks().unwrap().entries()[0].summary;
    assert_eq!((summary.min_wall_ns, summary.max_wall_ns), (3, 5));
}

#[test]
fn a_block_of_erased_events_alone_is_of_no_time_and_no_kind() {
    let mut builder = SealedBuilder::new(sample::LEDGER, 3, FIRST_SEQ, chain_before()).unwrap();
    builder.push_erased([7; 32]).unwrap();
    let chain = builder.chain_after();
    let segment = opened(&builder.finish().unwrap());
    assert_eq!(checked(&segment), (Vec::new(), vec![FIRST_SEQ], Vec::new(), Some(chain)));
    let blocks = segment.blocks().unwrap();
    assert_eq!(blocks.between(i64::MIN, i64::MAX).count() + blocks.with_kinds(KindSet::ALL).count(), 0);
    assert_eq!(segment.block_with(FIRST_SEQ).unwrap(), Some(0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let events = sample::events(&[(0, 0, 0, 0), (2, 2, 0, 0)]);
    let mut builder = builder(&events[..1]);
    assert!(matches!(builder.push(&events[0], b"x"), Err(SealError::Seq { expected: 1001, found: 1000 })));
    let large = vec![1; crate::limits::RECORD_BYTES_MAX + 1];
    assert!(matches!(builder.push(&events[1], &large), Err(SealError::TooLarge(_))));
    let empty = SealedBuilder::new(sample::LEDGER, 1, 1, chain_before()).unwrap();
    assert!(matches!(empty.finish(), Err(SealError::Empty)));
    let with_states = |streams: &[u8]| {
        let states = streams.iter().map(|number| (sample::stream(*number), Vec::new())).collect::<Vec<_>>();
        sample::builder(&events).finish_with_states(states)
    };
    assert!(with_states(&[0, 2]).is_ok());
    for wrong in [&[2, 0][..], &[0, 0], &[1]] {
        assert!(matches!(with_states(wrong), Err(SealError::State(_))), "{wrong:?}");
    }
}
