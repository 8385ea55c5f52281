//! Arbitrary bytes as a sealed segment, and sound ones that are damaged.
//!
//! Nothing may panic, or allocate beyond a limit. A file in which the check finds nothing wrong gives the same events and the
//! same answers when it is written again. A sound file has no damage; after any change of it no event is read that was not
//! written; one flipped bit is always found, and in the footer it hides no event.

#![no_main]

use std::{alloc::System, cell::OnceCell, fs::File, os::unix::fs::FileExt as _};

use apm2_core::process::{Event, ProcessId, StreamId};
use apm2_fuzz::script::Step;
use apm2_ledger::{
    Chain,
    journal::{
        catalog::reader::Catalog,
        sealed::{builder::SealedBuilder, check::Checked, error::SealedError, reader::SealedSegment},
    },
    record::encode_event,
};
use arbitrary::Arbitrary;
use cap::Cap;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

/// All that may be held at a time: a section of 4 MiB before compression, its entries, and the events of the script.
const ALLOCATED_BYTES_MAX: usize = 64 << 20;

const EVENTS_MAX: usize = 200;
const FIRST_SEQ: u64 = 5;
const LEDGER: Uuid = Uuid::from_u128(3);

const HEADER_LEN: usize = 96;
const HEADER_CRC_AT: usize = 88;
const BLOCK_HEADER_LEN: usize = 64;
const BLOCK_CRC_AT: usize = 60;
const TRAILER_LEN: usize = 148;
const TRAILER_CRC_AT: usize = 144;
const CATALOG_HEADER_LEN: usize = 892;

/// An allocation over the limit fails, which ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, ALLOCATED_BYTES_MAX);

/// What is read as a file.
#[derive(Debug, Arbitrary)]
enum Input {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes with magic numbers and checksums put right.
    Repaired(Vec<u8>),
    /// A catalog with a sound header of these places of its tables, and these bytes after it.
    Catalog { places: [Place; 2], tables: Vec<u8> },
    /// A damaged file with the events of a script.
    Damaged { damage: Damage, with_states: bool, steps: Vec<(u8, Step)> },
}

/// Where the directory of a table is.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Place {
    offset: u16,
    stored_len: u16,
    raw_len: u32,
}

/// What happens to a sound file.
#[derive(Debug, Arbitrary)]
enum Damage {
    /// One bit is flipped.
    Flip(Flip),
    /// Some bits are flipped.
    Flips([Flip; 3]),
    /// Some bits are flipped, and the checksums of headers, blocks, sections and trailer put right.
    Repaired([Flip; 2]),
    /// Some bytes at the end are lost.
    Cut(u16),
}

/// Which bit is flipped, counted from the beginning of a part of the file.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Flip {
    part: Part,
    at: u16,
    bit: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Part {
    Header,
    Blocks,
    Footer,
    Trailer,
}

fuzz_target!(
    init: {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // To find the lines of a backtrace takes more than that.
            ALLOCATOR.set_limit(usize::MAX).ok();
            report(panic);
        }));
    },
    |input: Input| {
        match input {
            Input::Bytes(bytes) => any_file(&bytes),
            Input::Repaired(bytes) => any_file(&repaired(bytes)),
            Input::Catalog { places, tables } => any_catalog(&catalog(places, &tables)),
            Input::Damaged { damage, with_states, steps } => {
                let events = events(&steps);
                if let Some(bytes) = sealed(&events, with_states) {
                    damaged_file(&events, &bytes, &damage);
                }
            }
        }
    }
);

/// A file with these bytes.
fn file_of(bytes: &[u8]) -> File {
    thread_local! {
        static SCRATCH: OnceCell<File> = const { OnceCell::new() };
    }
    SCRATCH.with(|scratch| {
        let file = scratch.get_or_init(|| tempfile::tempfile().expect("a temporary file"));
        file.set_len(0).expect("an empty file");
        file.write_all_at(bytes, 0).expect("a written file");
        file.try_clone().expect("another descriptor")
    })
}

/// Opens a file with these bytes.
fn opened(bytes: &[u8]) -> Result<SealedSegment, SealedError> {
    SealedSegment::from_file(file_of(bytes))
}

/// A catalog of 16 segments with one event each, whose tables are said to be at `places`.
fn catalog(places: [Place; 2], tables: &[u8]) -> Vec<u8> {
    let mut bytes = [&b"APM2CATL"[..], &2_u32.to_le_bytes(), &1_u32.to_le_bytes(), LEDGER.as_bytes()].concat();
    bytes.extend_from_slice(&1_u64.to_le_bytes());
    for seq in 1..=16_u64 {
        for number in [seq, seq, 0, 0, 0, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 32]);
    for Place { offset, stored_len, raw_len } in places {
        let stored = tables.get(usize::from(offset)..).and_then(|rest| rest.get(..usize::from(stored_len)));
        bytes.extend_from_slice(&(CATALOG_HEADER_LEN as u64 + u64::from(offset)).to_le_bytes());
        for number in [u32::from(stored_len), raw_len, stored.map_or(0, crc32c::crc32c), 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    assert_eq!(bytes.len(), CATALOG_HEADER_LEN);
    [&bytes, tables].concat()
}

/// Asks everything: it is answered or refused.
fn any_catalog(bytes: &[u8]) {
    let Ok(catalog) = Catalog::from_file(file_of(bytes)) else { return };
    let id = StreamId { process_id: ProcessId::from_bytes([1; 16]), instance: 0 };
    drop((catalog.with_stream(id), catalog.with_id_prefix(&[1]), catalog.with_name("a")));
}

/// The events, whether something else was found, whether something was wrong, and the chain.
fn checked(segment: &SealedSegment) -> (Vec<Event>, bool, bool, Option<Chain>) {
    let (mut events, mut is_more, mut is_wrong) = (Vec::new(), false, false);
    let chain = segment.check(&mut |found| match found {
        Checked::Event(event) => events.push(event.clone()),
        Checked::Erased { .. } | Checked::Undecodable { .. } => is_more = true,
        Checked::Damage(_) => is_wrong = true,
    });
    (events, is_more, is_wrong, chain.expect("the file can be read"))
}

fn any_file(bytes: &[u8]) {
    let Ok(segment) = opened(bytes) else { return };
    ask(&segment);
    let (events, is_more, is_wrong, chain) = checked(&segment);
    if is_more || is_wrong {
        return;
    }
    let header = *segment.header();
    assert_eq!(events.len() as u64, header.count);
    let mut builder = SealedBuilder::new(header.ledger, header.number, header.first_seq, header.chain_before)
        .expect("memory for the compression");
    for event in &events {
        let mut bytes = Vec::new();
        // Read, if it was ever written, but not written.
        let Ok(()) = encode_event(event, &mut bytes) else { return };
        builder.push(event, &bytes).expect("what was read can be written");
    }
    if Some(builder.chain_after()) != chain {
        // Some event has other bytes than those that are written.
        return;
    }
    let streams: Vec<_> = segment.streams(&[], usize::MAX).expect("a sound index");
    let again = opened(&builder.finish().expect("what was read can be written")).expect("what was written can be read");
    assert_eq!(again.header(), &header);
    let written: Vec<_> = again.streams(&[], usize::MAX).expect("a sound index");
    let facts = |entry: &apm2_ledger::journal::sealed::stream_entry::StreamEntry| {
        (entry.stream, entry.events, entry.last_version)
    };
    assert!(streams.iter().map(facts).eq(written.iter().map(facts)));
}

/// Asks everything: it is answered or refused.
fn ask(segment: &SealedSegment) {
    let header = segment.header();
    let blocks = segment.blocks().expect("the file can be read");
    for (number, entry) in blocks.entries().iter().enumerate() {
        assert_eq!(blocks.with_seq(entry.first_seq), Some(number));
        assert_eq!(blocks.with_seq(entry.last_seq), Some(number));
        let Ok(Some(block)) = segment.block(number) else { continue };
        let seqs = block.iter().map(|(seq, _)| seq);
        assert!(seqs.eq(entry.first_seq..=entry.last_seq), "every event has its number");
    }
    for seq in [header.first_seq, header.last_seq()] {
        let is_found = segment.block_with(seq).map(|found| found.is_some());
        assert!(is_found.unwrap_or(true), "event {seq} is neither found nor missing");
    }
    for number in 0..2 {
        drop(segment.stream(stream(number)));
        drop(segment.state(stream(number)));
    }
    drop(segment.streams(&[1], 10));
    drop(segment.named("p"));
    drop(segment.states().map(Iterator::count));
}

fn stream(number: u8) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([1 + number % 4; 16]), instance: u32::from(number / 128) }
}

fn events(steps: &[(u8, Step)]) -> Vec<Event> {
    let draft = |(seq, (number, step)): (u64, &(u8, Step))| {
        step.draft(stream(*number), 1, u64::from(step.seconds)).numbered(seq, seq * 2)
    };
    (FIRST_SEQ..).zip(steps.iter().take(EVENTS_MAX)).map(draft).collect()
}

/// The file of these events; `None` when one of them cannot be recorded, or there are none.
fn sealed(events: &[Event], with_states: bool) -> Option<Vec<u8>> {
    let mut builder = SealedBuilder::new(LEDGER, 1, FIRST_SEQ, Chain::genesis(LEDGER)).ok()?;
    for event in events {
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).ok()?;
        builder.push(event, &bytes).expect("the next event");
    }
    let states: Vec<_> = builder.streams().map(|stream| (stream, stream.process_id.as_bytes().to_vec())).collect();
    if with_states { builder.finish_with_states(states).ok() } else { builder.finish().ok() }
}

fn damaged_file(events: &[Event], sound: &[u8], damage: &Damage) {
    let segment = opened(sound).expect("what was written can be read");
    ask(&segment);
    assert_eq!(checked(&segment), (events.to_vec(), false, false, segment.chain_after().ok()));
    let last = segment.blocks().expect("the file can be read").entries().last().copied();
    let footer = last.map_or(0, |last| usize::try_from(last.offset).unwrap_or(0) + last.len);

    let flipped = |flips: &[Flip]| {
        let mut bytes = sound.to_vec();
        for flip in flips {
            let starts = [0, HEADER_LEN, footer, sound.len() - TRAILER_LEN, sound.len()];
            let (start, end) = (starts[flip.part as usize], starts[flip.part as usize + 1]);
            bytes[start + usize::from(flip.at) % (end - start)] ^= 1 << (flip.bit % 8);
        }
        bytes
    };
    match damage {
        Damage::Repaired(flips) => any_file(&repaired(flipped(flips))),
        Damage::Flips(flips) => drop(is_noticed(&flipped(flips), sound)),
        Damage::Cut(len) => {
            let len = sound.len() - usize::from(*len) % (sound.len() + 1);
            drop(is_noticed(&sound[..len], sound));
        }
        Damage::Flip(flip) => {
            let found = is_noticed(&flipped(&[*flip]), sound);
            assert_eq!(found.is_none(), flip.part == Part::Header, "what is refused is a damaged header");
            let found = found.unwrap_or_default();
            assert!(found.iter().all(|event| events.contains(event)), "an event that was not written");
            let is_in_index = matches!(flip.part, Part::Footer | Part::Trailer);
            assert!(!is_in_index || found == events, "a bit of the footer hides events");
        }
    }
}

/// The events of a damaged file; `None` when it cannot be opened. The damage is noticed.
fn is_noticed(bytes: &[u8], sound: &[u8]) -> Option<Vec<Event>> {
    let segment = opened(bytes).ok()?;
    ask(&segment);
    let (events, _, is_wrong, _) = checked(&segment);
    assert!(is_wrong || bytes == sound, "damage is not noticed");
    Some(events)
}

/// The bytes with the magic numbers and checksums of header, blocks, sections and trailer put right.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    put(&mut bytes, 0, b"APM2SEAL\x02\0\0\0\0\0\0\0");
    put_crc(&mut bytes, 0, HEADER_CRC_AT);
    let mut at = HEADER_LEN;
    while let Some(end) = repair_block(&mut bytes, at) {
        at = end;
    }
    if let Some(trailer) = bytes.len().checked_sub(TRAILER_LEN) {
        put(&mut bytes, trailer, b"APM2SEND\x02\0\0\0\0\0\0\0");
        for section in 0..4 {
            repair_section(&mut bytes, trailer + 16 + 24 * section);
        }
        put_crc(&mut bytes, trailer, trailer + TRAILER_CRC_AT);
    }
    bytes
}

/// Puts the beginning and the checksums of the block at `at` right, and returns where it ends.
fn repair_block(bytes: &mut [u8], at: usize) -> Option<usize> {
    let raw_len = u32_at(bytes, at + 20)?;
    let stored_len = u32_at(bytes, at + 24)?;
    put(bytes, at, b"a2bk\x01")?;
    put(bytes, at + 5, &[u8::from(stored_len < raw_len), 0, 0])?;
    put_crc(bytes, at, at + BLOCK_CRC_AT)?;
    let end = at + BLOCK_HEADER_LEN + stored_len as usize;
    put_crc(bytes, at + BLOCK_HEADER_LEN, end)?;
    Some(end + 4)
}

/// Puts the checksum of the section right whose place is at `at`.
fn repair_section(bytes: &mut [u8], at: usize) -> Option<()> {
    let offset = usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()?;
    let end = offset.checked_add(u32_at(bytes, at + 8)? as usize)?;
    let crc = crc32c::crc32c(bytes.get(offset..end)?);
    put(bytes, at + 16, &crc.to_le_bytes())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

/// Puts the checksum of the bytes from `from` to `to` after them, if there is room.
fn put_crc(bytes: &mut [u8], from: usize, to: usize) -> Option<()> {
    let crc = crc32c::crc32c(bytes.get(from..to)?);
    put(bytes, to, &crc.to_le_bytes())
}

/// Puts `part` at `at`, if there is room.
fn put(bytes: &mut [u8], at: usize, part: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(part.len())?)?.copy_from_slice(part);
    Some(())
}
