//! Queries of a reader, with the same results from the store and from the journal.

use std::ops::ControlFlow;

use apm2_core::process::{EventKind, ProcessId, ProcessSpec, RedactedSpec, StreamId, id_query::UnclearId};
use apm2_ledger::{
    Cancel, EventQuery, EventsQuestion, FindError, Ledger, Options, Origin, ReadError, ReadLedger, Reader, Source,
    StatesQuestion, StreamAt, record::decode_stream,
};
use chrono::{DateTime, Utc};

use crate::support::{
    all_events, closed_ledger, draft_at, fill, private_dir, registered, sealed_segments, small_segments, stamp, stream,
};

fn both(dir: &std::path::Path, check: impl Fn(&Reader)) {
    let ledger = Ledger::open(dir).unwrap();
    let live = ledger.reader();
    assert_eq!(live.source(), Source::Store);
    check(&live);
    drop(live);
    ledger.close().unwrap();
    let offline = Reader::open(dir).unwrap();
    assert_eq!(offline.source(), Source::Journal);
    check(&offline);
}

#[test]
fn ranges_streams_and_heads_are_the_same_from_store_and_journal() {
    let (dir, events) = closed_ledger();
    both(dir.path(), |reader| {
        let size = events.len() as u64;
        assert_eq!(reader.head().unwrap().size, size);
        for (first, last) in [(1, size), (0, 3), (17, 17), (100, 250), (size, u64::MAX), (size + 1, u64::MAX), (9, 3)] {
            let got: Vec<_> = reader.events(first, last).map(Result::unwrap).collect();
            let want: Vec<_> = events.iter().filter(|event| (first..=last).contains(&event.seq)).cloned().collect();
            assert_eq!(got, want, "{first}..={last}");
        }
        for id in (1..=4).map(stream).chain([StreamId::SYSTEM]) {
            let got: Vec<_> = reader.stream_events(id).map(Result::unwrap).collect();
            assert_eq!(got, events.iter().filter(|event| event.stream == id).cloned().collect::<Vec<_>>());
        }
    });
}

fn at(seconds: i64) -> DateTime<Utc> {
    stamp(seconds).wall()
}

#[test]
fn events_by_time_are_found_whatever_order_the_clock_was_in() {
    let (dir, events) = closed_ledger();
    both(dir.path(), |reader| {
        for (from, to) in [(0, 100), (61, 61), (65, 600), (1790, 5000), (5000, 6000)] {
            let got: Vec<_> = reader.between(at(from), at(to)).unwrap().map(Result::unwrap).collect();
            let within = |time: DateTime<Utc>| at(from) <= time && time <= at(to);
            let want: Vec<_> = events.iter().filter(|event| within(event.stamp.wall())).cloned().collect();
            assert_eq!(got, want, "{from}..={to}");
        }
        let expected = events.iter().filter(|event| event.stamp.wall() <= at(62)).map(|event| event.seq).max().unwrap();
        assert_eq!(reader.seq_at(at(62)).unwrap(), expected);
        assert_eq!(reader.seq_at(at(0) - chrono::Duration::seconds(1)).unwrap(), 0);
    });
}

#[test]
fn replay_from_a_snapshot_and_from_nothing_is_the_same_at_every_point() {
    let (dir, events) = closed_ledger();
    both(dir.path(), |reader| {
        for upto in [0, 1, 50, 200, events.len() as u64, u64::MAX] {
            let genesis = reader.replay(upto, Origin::Genesis).unwrap();
            let snapshot = reader.replay(upto, Origin::Snapshot).unwrap();
            assert_eq!(genesis.streams, snapshot.streams, "up to {upto}");
            assert_eq!(genesis.seq, snapshot.seq);
            assert!(genesis.streams.values().all(|stream| stream.broken_invariant().is_none()));
        }
        let whole = reader.replay(u64::MAX, Origin::Genesis).unwrap().streams;
        let mut visited = Vec::new();
        reader
            .each_stream(|stream| {
                visited.push(stream);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(visited, whole.values().cloned().collect::<Vec<_>>());
        let mut first = None;
        reader
            .each_stream(|stream| {
                assert!(first.replace(stream).is_none(), "it goes on after it was told to break off");
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(first, visited.into_iter().next());
        for (id, folded) in whole {
            assert_eq!(reader.stream(id).unwrap(), Some(folded));
        }
    });
    let ledger = Ledger::open(dir.path()).unwrap();
    let kept = ledger.reader().replay(u64::MAX, Origin::Snapshot).unwrap();
    assert_eq!(kept.events, 0, "a closed ledger keeps its folds");
}

#[test]
fn the_records_of_states_are_those_of_the_states_that_are_read() {
    let (dir, events) = closed_ledger();
    both(dir.path(), |reader| {
        for upto in [0, 1, 50, 200, events.len() as u64, u64::MAX] {
            let (mut states, mut records) = (Vec::new(), Vec::new());
            let question = StatesQuestion::All(upto);
            ReadLedger::states(reader, &question, &mut |state| {
                states.push(state);
                ControlFlow::Continue(())
            })
            .unwrap();
            reader
                .encoded_states(&question, &mut |record| {
                    records.push(decode_stream(&record).unwrap());
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(records, states, "up to {upto}");
            assert_eq!(states, reader.replay(upto, Origin::Genesis).unwrap().streams.into_values().collect::<Vec<_>>());
        }
    });
}

#[test]
fn processes_are_found_by_id_prefix_name_and_instance() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&ledger, stream(0xab), 1);
    fill(&ledger, stream(0xac), 1);
    let reader = ledger.reader();
    let check = |reader: &Reader| {
        let found = |text: &str| reader.find(text).unwrap();
        assert_eq!(found("p171"), [stream(0xab)]);
        assert_eq!(found("p171-0"), [stream(0xab)]);
        assert_eq!(found("abab"), [stream(0xab)]);
        assert_eq!(found("ABABABA"), [stream(0xab)]);
        assert_eq!(found(&stream(0xac).process_id.to_string()), [stream(0xac)]);
        for missing in ["p999", "ab", "dead", "", "p171-1"] {
            assert!(matches!(reader.find(missing), Err(FindError::Unclear(UnclearId::Unknown(_)))), "{missing}");
        }
    };
    check(&reader);
    let twin = StreamId {
        process_id: apm2_core::process::ProcessId::from_bytes([
            0xab, 0xab, 0xab, 0xab, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        ]),
        instance: 0,
    };
    ledger.append(twin, 0, vec![registered(twin, "twin")]).unwrap();
    assert!(
        matches!(reader.find("abab"), Err(FindError::Unclear(UnclearId::Ambiguous { candidates, .. })) if candidates.len() == 2)
    );
    assert_eq!(reader.find("abababab01").unwrap(), [twin]);
    ledger.close().unwrap();
    both(dir.path(), |reader| assert_eq!(reader.find("p171").unwrap(), [stream(0xab)]));
}

#[test]
fn a_reader_without_the_lock_sees_what_a_live_writer_has_acknowledged() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    for number in 1..=20 {
        fill(&ledger, stream(number), 3);
        let beside = Reader::open(dir.path()).unwrap();
        assert_eq!(beside.source(), Source::Journal);
        let events: Vec<_> = beside.events(1, u64::MAX).map(Result::unwrap).collect();
        assert_eq!(events, all_events(&ledger));
    }
    let id = stream(1);
    ledger.append(id, 13, vec![draft_at(id, 3, 999, apm2_core::process::EventKind::BudgetReset)]).unwrap();
}

#[test]
fn a_reader_that_was_opened_earlier_reads_the_events_that_were_appended_since() {
    for options in [Options::default(), small_segments(), sealed_segments()] {
        let dir = private_dir();
        let ledger = Ledger::open_with(dir.path(), &options).unwrap();
        fill(&ledger, stream(1), 3);
        let earlier = Reader::open(dir.path()).unwrap();
        for number in 2..=9 {
            fill(&ledger, stream(number), u64::from(number) * 3);
            let want = all_events(&ledger);
            let size = want.len() as u64;
            for first in [1, 2, size / 2, size - 1, size, size + 1] {
                let got: Vec<_> = earlier.events(first.max(1), u64::MAX).map(Result::unwrap).collect();
                assert_eq!(
                    got,
                    want.get(usize::try_from(first.max(1)).unwrap() - 1..).unwrap_or_default(),
                    "from {first} of {size}"
                );
            }
            for id in (1..=number).map(stream) {
                let of_stream: Vec<_> = want.iter().filter(|event| event.stream == id).cloned().collect();
                let got: Vec<_> = earlier.stream_events(id).map(Result::unwrap).collect();
                assert_eq!(got, of_stream);
                let last = earlier.last_events(&EventQuery::stream(id), u64::MAX, 2).unwrap();
                assert_eq!(last, of_stream[of_stream.len() - 2..]);
                assert_eq!(earlier.stream(id).unwrap(), ledger.reader().stream(id).unwrap());
                for event in of_stream.iter().step_by(37) {
                    let state = earlier.stream_at(id, event.seq).unwrap();
                    assert_eq!(state, ledger.reader().stream_at(id, event.seq).unwrap());
                }
            }
        }
        ledger.close().unwrap();
    }
}

#[test]
fn a_cancelled_reader_reads_no_further() {
    let (dir, events) = closed_ledger();
    let size = events.len() as u64;
    both(dir.path(), |reader| {
        let cancel = Cancel::default();
        let reader = reader.clone().cancelled_by(cancel.clone());
        let ask = |question: EventsQuestion| {
            let mut read = 0;
            let visit = &mut |_| {
                read += 1;
                cancel.set();
                ControlFlow::Continue(())
            };
            (ReadLedger::events(&reader, &question, visit), read)
        };
        let (answer, read) = ask(EventsQuestion::all(EventQuery::default(), (1, size)));
        assert!(matches!(answer, Err(ReadError::Cancelled)), "{answer:?}");
        assert!(read < size, "{read} events");
        let (answer, read) = ask(EventsQuestion::last(EventQuery::default(), (1, size), size));
        assert!(matches!(answer, Err(ReadError::Cancelled)), "{answer:?}");
        assert_eq!(read, 0);
        for question in [StatesQuestion::All(size / 2), StatesQuestion::Of(vec![StreamAt { id: stream(1), seq: size }])]
        {
            let answer = reader.states(&question, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(answer, Err(ReadError::Cancelled)), "{question:?}: {answer:?}");
        }
    });
}

#[test]
fn a_process_is_found_by_a_new_name_with_all_its_instances_before_the_name_is_indexed() {
    let dir = private_dir();
    let ids = [0, 1].map(|instance| StreamId { process_id: ProcessId::from_bytes([7; 16]), instance });
    let spec = |name: &str| {
        let spec = ProcessSpec::builder().id(ids[0].process_id).name(name).command("c").instances(2).build();
        RedactedSpec::new(&spec)
    };
    let ledger = Ledger::open(dir.path()).unwrap();
    for id in ids {
        ledger.append(id, 0, vec![draft_at(id, 0, 1, EventKind::Registered { spec: spec("before") })]).unwrap();
    }
    ledger.close().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    ledger.append(ids[1], 1, vec![draft_at(ids[1], 0, 2, EventKind::SpecChanged { spec: spec("after") })]).unwrap();
    for reader in [ledger.reader(), Reader::open(dir.path()).unwrap()] {
        assert_eq!(reader.find("after").unwrap(), ids, "{:?}", reader.source());
    }
    ledger.close().unwrap();
}
