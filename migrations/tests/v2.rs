//! Tests of format version 2, and of the migration from version 1.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::StreamId;
use apm2_ledger::{Ledger, Options, migrate, migration_plan, verify};
use apm2_migrations::{v1, v2};

use crate::{
    frozen, golden, sample,
    v1::{GOLDEN_CHAIN as CHAIN_OF_V1, events_of, hex, opens_and_gives_back_every_event},
};

/// The hash chain value after the last event of the golden ledger.
const GOLDEN_CHAIN: &str = "10da91a2fc573774fa7beea0d24cef064b74124ec0eb3073ae50d9a309094390";

/// The number of bits for the kinds of the events of a block. The bits of the actors follow.
const KINDS_BITS: u32 = 56;

/// The limit of the wait for the sealing thread.
const SEALED_WITHIN: Duration = Duration::from_secs(60);

fn read(ledger: &Path) -> v2::Journal {
    v2::read_journal(&ledger.join("journal")).unwrap()
}

/// The events of a journal, decoded by the frozen reader of records.
fn decoded(journal: &v2::Journal) -> Vec<v1::record::Event> {
    let decode = |slot: &v2::Slot| match slot {
        v2::Slot::Event(bytes) => v1::decode_event(bytes).unwrap(),
        v2::Slot::Erased(_) => unreachable!("an event was erased"),
    };
    journal.events.iter().map(decode).collect()
}

fn expected() -> Vec<v1::record::Event> {
    sample::events().iter().map(frozen::event).collect()
}

#[test]
fn the_golden_ledger_opens_and_gives_back_every_event() {
    opens_and_gives_back_every_event("v2", GOLDEN_CHAIN);
}

#[test]
fn the_golden_ledger_has_plain_and_sealed_segments_and_verifies() {
    let copy = golden::copy_of("v2");
    let numbers = |paths: Vec<std::path::PathBuf>| -> Vec<u64> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(numbers(golden::sealed(copy.path())), [1, 2]);
    assert_eq!(numbers(golden::segments(copy.path())), [2, 3, 4]);
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.events, report.segments), (sample::events().len() as u64, 4));
    // Without the plain file beside a sealed one, as it is some minutes later.
    fs::remove_file(&golden::segments(copy.path())[0]).unwrap();
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.head.chain.to_string().as_str()), (Vec::new(), GOLDEN_CHAIN));
    assert!(migrate(copy.path(), &Options::default(), &mut |_| {}).unwrap().is_none());
}

#[test]
fn the_frozen_reader_agrees_with_the_real_one() {
    let journal = read(&golden::path("v2"));
    assert_eq!((hex(&journal.chain()).as_str(), &journal.sealed[..]), (GOLDEN_CHAIN, &[1, 2][..]));
    assert_eq!(decoded(&journal), expected());
    // It reads the plain files alike, those of version 1 too.
    let plain = golden::copy_of("v2");
    fs::remove_file(&golden::sealed(plain.path())[1]).unwrap();
    assert_eq!(read(plain.path()).chains, journal.chains);
    assert_eq!(hex(&read(&golden::path("v1")).chain()), CHAIN_OF_V1);
}

#[test]
fn the_footer_of_a_sealed_segment_says_what_its_events_say() {
    let (events, mut first) = (sample::events(), 0);
    for path in golden::sealed(&golden::path("v2")) {
        let sealed = v2::read_sealed(&fs::read(path).unwrap()).unwrap();
        let own = &events[first..first + sealed.events.len()];
        first += own.len();
        let mut streams: BTreeMap<v2::Stream, (u64, u64)> = BTreeMap::new();
        for event in own {
            let stream = (*event.stream.process_id.as_bytes(), event.stream.instance);
            let entry = streams.entry(stream).or_default();
            *entry = (entry.0 + 1, event.version);
        }
        let found: BTreeMap<_, _> =
            sealed.streams.iter().map(|(stream, entry)| (*stream, (entry.events, entry.last_version))).collect();
        assert_eq!(found, streams);
        let (min, max) = own
            .iter()
            .map(|event| event.stamp.wall_ns)
            .fold((i64::MAX, i64::MIN), |(min, max), wall_ns| (min.min(wall_ns), max.max(wall_ns)));
        let [block] = sealed.blocks[..] else { panic!("{} blocks", sealed.blocks.len()) };
        assert_eq!((block.first_seq, block.min_wall_ns, block.max_wall_ns), (own[0].seq, min, max));
        let system = (*StreamId::SYSTEM.process_id.as_bytes(), StreamId::SYSTEM.instance);
        assert!(sealed.states.keys().eq(sealed.streams.keys().filter(|stream| **stream != system)));
        for (name, process) in &sealed.names {
            assert!(streams.keys().any(|(id, _)| id == process), "{name}");
        }
    }
}

#[test]
fn a_sealed_segment_of_known_events_is_what_it_was() {
    let copy = golden::copy_of("v2");
    let golden = golden::sealed(copy.path()).pop().unwrap();
    let before = v2::read_sealed(&fs::read(&golden).unwrap()).unwrap();
    fs::remove_file(&golden).unwrap();
    // The plain file is sealed again.
    let ledger = Ledger::open(copy.path()).unwrap();
    let began = Instant::now();
    while !golden.exists() {
        assert!(began.elapsed() < SEALED_WITHIN);
        thread::sleep(Duration::from_millis(5));
    }
    ledger.close().unwrap();
    // All but how it was compressed, which a later version of zstd may do otherwise, the actors of each block, which the
    // first versions did not record, and in the states the version of the secret filter and what concerns agents, which those of version 6 did not have.
    let mut written = v2::read_sealed(&fs::read(&golden).unwrap()).unwrap();
    for (block, before) in written.blocks.iter_mut().zip(&before.blocks) {
        assert_eq!((block.kinds >> KINDS_BITS != 0, before.kinds >> KINDS_BITS), (true, 0));
        block.kinds &= (1 << KINDS_BITS) - 1;
    }
    for (state, before) in written.states.values_mut().zip(before.states.values()) {
        assert_eq!((state[0], before[0]), (9, 6));
        state.splice(..3, [6]);
        // No stop by a policy for agents, no settings of an agent, and no state of one.
        assert_eq!(state.split_off(state.len() - 3), [0, 0, 0]);
    }
    assert_eq!(written, before);
}

#[test]
fn the_golden_ledger_of_version_1_is_migrated_with_its_events_and_its_chain() {
    let copy = golden::copy_of("v1");
    let plan = migration_plan(copy.path()).unwrap();
    assert_eq!((plan.format, plan.to_seal), (1, 2));
    let done = migrate(copy.path(), &Options::default(), &mut |_| {}).unwrap().unwrap();
    assert_eq!((done.sealed, done.removed), (2, 2));
    assert_eq!((golden::segments(copy.path()).len(), golden::sealed(copy.path()).len()), (1, 2));
    let journal = read(copy.path());
    // The store was built, which the recovery records. The chain up to there is the golden one.
    assert_eq!(hex(&journal.chains[expected().len()]), CHAIN_OF_V1);
    let events = decoded(&journal);
    assert_eq!(events[..expected().len()], expected());
    assert_eq!(events.len(), expected().len() + 1);
    assert_eq!(done.head.chain.0, journal.chain());
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(v1::read_journal(&copy.path().join("journal")).is_err(), "it is of version 2");
    assert!(migrate(copy.path(), &Options::default(), &mut |_| {}).unwrap().is_none());
    let ledger = Ledger::open(copy.path()).unwrap();
    assert_eq!(events_of(&ledger.reader())[..expected().len()], sample::events());
}

#[test]
fn the_frozen_reader_refuses_what_version_2_never_wrote() {
    let copy = golden::copy_of("v2");
    for path in golden::sealed(copy.path()) {
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(v2::read_sealed(&damaged).is_err(), "byte {at}");
        }
        for len in (0..sound.len()).step_by(7) {
            assert!(v2::read_sealed(&sound[..len]).is_err(), "{len} bytes");
        }
    }
    let segment = golden::segments(copy.path()).remove(1);
    let sound = fs::read(&segment).unwrap();
    for at in (0..sound.len()).step_by(13) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&segment, damaged).unwrap();
        assert!(v2::read_journal(&copy.path().join("journal")).is_err(), "byte {at}");
    }
}
