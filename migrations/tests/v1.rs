//! Tests of format version 1.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use apm2_core::process::Event;
use apm2_ledger::{
    Ledger, OpenError, Reader,
    journal::segment::FORMAT_VERSION,
    record::{decode_event, encode_event},
    verify,
};
use apm2_migrations::v1;

use crate::{frozen, golden, sample};

/// The hash chain value after the last event of the golden ledger.
pub(crate) const GOLDEN_CHAIN: &str = "a86d0f60956be6e29776ff9a83e604e2dffe7cd6a560bc2b594c18f8e9699c70";

/// A format version that this program does not know.
const NEWER: u32 = FORMAT_VERSION + 1;

/// Number of event kinds in version 1.
const KINDS: usize = 28;

pub(crate) fn events_of(reader: &Reader) -> Vec<Event> {
    reader.events(1, u64::MAX).map(Result::unwrap).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |index: usize| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Path and content of every file below `dir`.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn the_golden_ledger_opens_and_gives_back_every_event() {
    opens_and_gives_back_every_event("v1", GOLDEN_CHAIN);
}

/// Opens the golden ledger `name`, whose hash chain ends in `chain`, and compares its events.
pub(crate) fn opens_and_gives_back_every_event(name: &str, chain: &str) {
    let copy = golden::copy_of(name);
    let expected = sample::events();

    let journal = Reader::open(copy.path()).unwrap();
    let head = journal.head().unwrap();
    assert_eq!((head.size, head.chain.to_string().as_str()), (expected.len() as u64, chain));
    assert_eq!(events_of(&journal), expected);

    let ledger = Ledger::open(copy.path()).unwrap();
    let events = events_of(&ledger.reader());
    let (given_back, added) = events.split_at(expected.len());
    assert_eq!(given_back, expected);
    // The golden files do not contain the store. Opening the ledger rebuilds the store and records this, and nothing
    // else.
    let added: Vec<&str> = added.iter().map(|event| event.kind.name()).collect();
    assert_eq!(added, ["store_rebuilt"]);
}

#[test]
fn the_golden_ledger_verifies() {
    let copy = golden::copy_of("v1");
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.events, sample::events().len() as u64);
    assert!(report.segments > 1, "the history goes over into a second segment");
}

#[test]
fn the_frozen_reader_agrees_with_the_real_one() {
    let journal = v1::read_journal(&golden::path("v1").join("journal")).unwrap();
    assert_eq!(hex(&journal.chain), GOLDEN_CHAIN);
    let expected: Vec<v1::record::Event> = sample::events().iter().map(frozen::event).collect();
    assert_eq!(journal.events, expected);
}

#[test]
fn what_is_appended_to_the_golden_ledger_is_version_1_too() {
    let copy = golden::copy_of("v1");
    let ledger = Ledger::open(copy.path()).unwrap();
    let events = events_of(&ledger.reader());
    let chain = ledger.reader().head().unwrap().chain;
    ledger.close().unwrap();
    let journal = v1::read_journal(&copy.path().join("journal")).unwrap();
    assert_eq!(journal.chain, chain.0);
    assert_eq!(journal.events, events.iter().map(frozen::event).collect::<Vec<_>>());
}

#[test]
fn the_bytes_of_every_kind_are_what_they_were() {
    let text = fs::read_to_string(golden::path("v1-events.txt")).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let events = sample::events();
    assert_eq!(lines.len(), events.len());
    for ((kind, golden), event) in lines.iter().zip(&events) {
        assert_eq!(*kind, event.kind.name(), "event {}", event.seq);
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).unwrap();
        assert_eq!(hex(&bytes), *golden, "event {}, {kind}", event.seq);
        assert_eq!(decode_event(event.seq, &unhex(golden)).unwrap(), *event, "event {}", event.seq);
        assert_eq!(v1::decode_event(&unhex(golden)).unwrap(), frozen::event(event), "event {}", event.seq);
    }
    let kinds: BTreeSet<&str> = lines.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.len(), KINDS, "each kind is there: {kinds:?}");
}

#[test]
fn a_newer_ledger_is_refused_and_left_as_it_was() {
    let copy = golden::copy_of("v1");
    for path in golden::segments(copy.path()) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&NEWER.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
    let before = contents(&copy.path().join("journal"));

    let refused =
        |error: Option<OpenError>| matches!(error, Some(OpenError::Newer { found: NEWER, known: FORMAT_VERSION, .. }));
    assert!(refused(Ledger::open(copy.path()).err()));
    assert!(refused(Reader::open(copy.path()).err()));
    assert!(refused(verify(copy.path(), &mut |_| {}).err()));

    assert_eq!(contents(&copy.path().join("journal")), before);
    assert!(!copy.path().join("sled").exists());
}

#[test]
fn the_frozen_reader_refuses_what_version_1_never_wrote() {
    let copy = golden::copy_of("v1");
    let journal = copy.path().join("journal");
    let segment = &golden::segments(copy.path())[0];
    let sound = fs::read(segment).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..=end).step_by(13) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(segment, damaged).unwrap();
        assert!(v1::read_journal(&journal).is_err(), "byte {at}");
    }
}
