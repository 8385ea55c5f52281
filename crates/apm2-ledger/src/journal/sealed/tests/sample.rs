//! Events for sealed segments, and the files that they make.

use std::{fs::File, os::unix::fs::FileExt as _};

use apm2_model::{
    event::{Event, NewEvent, actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Timestamp},
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::sealed::{block::Slot, builder::SealedBuilder, check::Checked, error::SealedError, reader::SealedSegment},
    record::encode_event,
};

pub(super) const LEDGER: Uuid = Uuid::from_u128(0x5eed);

pub(super) const FIRST_SEQ: u64 = 1000;

pub(super) const NAMES: [&str; 3] = ["a", "ab", "b"];

pub(super) fn stream(number: u8) -> StreamId {
    let process = [[1; 16], [1; 16], [2; 16], [0; 16], [255; 16]][usize::from(number) % 5];
    StreamId { process_id: ProcessId::from_bytes(process), instance: u32::from(number % 2) }
}

pub(super) fn chain_before() -> Chain {
    Chain::genesis(LEDGER)
}

/// What proptest chooses of an event: stream, kind, length of its text, wall-clock time.
pub(super) type Choice = (u8, u8, usize, i64);

/// Mostly short events; some fill a block with few others, and some have a block of their own.
pub(super) fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let len = prop_oneof![20 => 0usize..200, 3 => 10_000usize..40_000, 1 => 64_000usize..200_000];
    vec((0u8..6, 0u8..6, len, prop_oneof![-100i64..100, any::<i64>()]), 1..60)
}

/// The events numbered from [`FIRST_SEQ`], each in its stream.
pub(super) fn events(choices: &[Choice]) -> Vec<Event> {
    let mut versions = std::collections::BTreeMap::new();
    let numbered = |(at, (stream_number, kind, len, wall_ns)): (u64, &Choice)| {
        let stream = stream(*stream_number);
        let stamp = Timestamp { wall_ns: *wall_ns, boot_ns: at, boot_id: Uuid::from_u128(7) };
        let kind = event_kind(stream.process_id, *kind, *len);
        let draft = NewEvent { stream, run: 1, actor: Actor::System, reason: None, cause: None, stamp, kind };
        let version = versions.entry(stream).and_modify(|version| *version += 1).or_insert(1);
        draft.numbered(FIRST_SEQ + at, *version)
    };
    (0..).zip(choices).map(numbered).collect()
}

fn event_kind(id: ProcessId, kind: u8, len: usize) -> EventKind {
    let spec = |name: &str| RedactedSpec::new(&ProcessSpec::builder().id(id).name(name).command("true").build());
    match kind {
        0 => EventKind::Registered { spec: spec(NAMES[len % 2]) },
        1 => EventKind::SpecChanged { spec: spec(NAMES[len % 3]) },
        2 => EventKind::Running,
        3 => EventKind::BudgetReset,
        4 => EventKind::Observed { adapter: "test".to_owned(), detail: noise(len) },
        _ => EventKind::Observed { adapter: "test".to_owned(), detail: "x".repeat(len) },
    }
}

/// Text that does not compress to nothing.
fn noise(len: usize) -> String {
    let mut state = u32::try_from(len).unwrap() | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..len).map(|_| next()).collect()
}

pub(super) fn bytes_of(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(event, &mut bytes).unwrap();
    bytes
}

pub(super) fn builder(events: &[Event]) -> SealedBuilder {
    let mut builder = SealedBuilder::new(LEDGER, 3, FIRST_SEQ, chain_before()).unwrap();
    events.iter().for_each(|event| builder.push(event, &bytes_of(event)).unwrap());
    builder
}

/// A state for each stream but those of the nil process: bytes that no other stream has.
pub(super) fn states(streams: impl Iterator<Item = StreamId>) -> Vec<(StreamId, Vec<u8>)> {
    let with_state = streams.filter(|stream| !stream.is_system());
    with_state.map(|stream| (stream, format!("{stream:?}").repeat(100).into_bytes())).collect()
}

pub(super) fn sealed(events: &[Event]) -> Vec<u8> {
    let builder = builder(events);
    let states = states(builder.streams());
    builder.finish_with_states(states).unwrap()
}

/// A file that can be changed and opened again and again.
pub(super) struct Scratch(File);

impl Scratch {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        Self(file)
    }

    pub(super) fn put(&self, at: usize, byte: u8) {
        self.0.write_all_at(&[byte], at as u64).unwrap();
    }

    pub(super) fn truncate(&self, len: usize) {
        self.0.set_len(len as u64).unwrap();
    }

    pub(super) fn open(&self) -> Result<SealedSegment, SealedError> {
        SealedSegment::from_file(self.0.try_clone().unwrap())
    }
}

pub(super) fn opened(bytes: &[u8]) -> SealedSegment {
    Scratch::new(bytes).open().unwrap()
}

/// What a check reports: events, seqs of erased events, everything else in words; and the chain.
pub(super) fn checked(segment: &SealedSegment) -> (Vec<Event>, Vec<u64>, Vec<String>, Option<Chain>) {
    let (mut events, mut erased, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let chain = segment.check(&mut |found| match found {
        Checked::Event(event) => events.push(event.clone()),
        Checked::Erased { seq, .. } => erased.push(seq),
        Checked::Undecodable { seq, error } => wrong.push(format!("{seq}: {error}")),
        Checked::Damage(error) => wrong.push(error.to_string()),
    });
    (events, erased, wrong, chain.unwrap())
}

/// The bytes of all events, read block by block. A damaged block is left out.
pub(super) fn readable(segment: &SealedSegment) -> Vec<(u64, Vec<u8>)> {
    let blocks = 0..segment.blocks().unwrap().entries().len();
    let blocks: Vec<_> = blocks.filter_map(|number| segment.block(number).ok().flatten()).collect();
    let event = |(seq, slot)| if let Slot::Event(bytes) = slot { Some((seq, <[u8]>::to_vec(bytes))) } else { None };
    blocks.iter().flat_map(|block| block.iter().filter_map(event)).collect()
}
