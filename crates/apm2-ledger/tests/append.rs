//! Which appends a ledger accepts and refuses, and what it guarantees for them.

use std::{sync::Arc, thread};

use apm2_core::process::{EventKind, StreamId};
use apm2_ledger::{
    AppendError, Ledger, OpenError, Options,
    limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX},
};

use crate::support::{all_events, draft_at, fill, private_dir, registered, run_commits, small_segments, stream};

#[test]
fn what_was_appended_is_numbered_without_gaps_and_readable_at_once() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let mut expected = fill(&ledger, stream(1), 3);
    expected.extend(fill(&ledger, stream(2), 2));
    let events = all_events(&ledger);
    assert_eq!(events, expected);
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    ledger.close().unwrap();
    let again = Ledger::open(dir.path()).unwrap();
    assert_eq!(all_events(&again), expected);
}

#[test]
fn a_wrong_version_is_a_conflict_and_writes_nothing() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let id = stream(1);
    ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
    for wrong in [0, 2, u64::MAX] {
        let error = ledger.append(id, wrong, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]).unwrap_err();
        assert!(matches!(error, AppendError::Conflict { actual: 1, expected, .. } if expected == wrong), "{error}");
    }
    assert_eq!(ledger.reader().head().unwrap().size, 1);
}

#[test]
fn law_3_an_illegal_event_is_refused_and_takes_the_whole_append_with_it() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let id = stream(1);
    ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
    let mut drafts = run_commits(id, 1, 1, 0)[0].clone();
    drafts.push(draft_at(id, 1, 2, EventKind::Running));
    assert!(matches!(ledger.append(id, 1, drafts), Err(AppendError::Illegal { kind: "running", .. })));
    // Invariant INV-0008 must hold after every commit, so a `starting` event without a process cannot be the last event
    // of a commit.
    let [requested, mut starting, _] = run_commits(id, 1, 1, 0);
    ledger.append(id, 1, requested).unwrap();
    starting.truncate(1);
    if let EventKind::Starting { identity, .. } = &mut starting[0].kind {
        *identity = None;
    }
    assert!(matches!(ledger.append(id, 2, starting), Err(AppendError::Invariant("INV-0008"))));
    assert_eq!(ledger.reader().head().unwrap().size, 2);
}

#[test]
fn an_append_of_too_many_bytes_is_refused_and_poisons_nothing() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let started = |bytes: usize| {
        draft_at(StreamId::SYSTEM, 0, 1, EventKind::SupervisorStarted { pid: 1, version: "x".repeat(bytes) })
    };
    let half = APPEND_BYTES_MAX / 2;
    let refused = ledger.append(StreamId::SYSTEM, 0, vec![started(half), started(half)]);
    assert!(matches!(refused, Err(AppendError::Shape("too many bytes"))), "{refused:?}");
    ledger.append(StreamId::SYSTEM, 0, vec![started(half), started(half / 2)]).unwrap();
}

#[test]
fn an_append_has_a_shape() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let (a, b) = (stream(1), stream(2));
    let shape = |drafts| matches!(ledger.append(a, 0, drafts), Err(AppendError::Shape(_)));
    assert!(shape(vec![]));
    assert!(shape(vec![registered(a, "a"), registered(b, "b")]));
    assert!(shape(vec![draft_at(a, 0, 0, EventKind::SupervisorStopped)]));
    assert!(shape(vec![registered(a, "a"); APPEND_EVENTS_MAX + 1]));
    let in_system = draft_at(StreamId::SYSTEM, 0, 0, EventKind::BudgetReset);
    assert!(matches!(ledger.append(StreamId::SYSTEM, 0, vec![in_system]), Err(AppendError::Shape(_))));
}

#[test]
fn an_event_over_the_limit_is_refused_and_the_next_is_not() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let id = stream(1);
    let mut large = registered(id, "p");
    large.reason = Some("x".repeat(300 * 1024));
    assert!(matches!(ledger.append(id, 0, vec![large.clone()]), Err(AppendError::Record(_))));
    // The largest event that can be recorded. It is larger than a whole segment in this test.
    large.reason = Some("x".repeat(250 * 1024));
    ledger.append(id, 0, vec![large]).unwrap();
    assert_eq!(all_events(&ledger).len(), 1);
}

#[test]
fn concurrent_appends_to_many_streams_and_to_one_all_arrive_once() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let shared = stream(200);
    ledger.append(shared, 0, vec![registered(shared, "shared")]).unwrap();
    thread::scope(|scope| {
        for number in 1..=16 {
            let ledger = &ledger;
            scope.spawn(move || {
                fill(ledger, stream(number), 10);
                let mut done = 0;
                while done < 5 {
                    let version = ledger.reader().stream(shared).unwrap().unwrap().version;
                    match ledger.append(shared, version, vec![draft_at(shared, 0, 1, EventKind::BudgetReset)]) {
                        Ok(_) => done += 1,
                        Err(AppendError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let events = all_events(&ledger);
    assert_eq!(events.len(), 1 + 16 * (1 + 10 * 4) + 16 * 5);
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(ledger.reader().stream(shared).unwrap().unwrap().version, 1 + 16 * 5);
}

#[test]
fn one_owner_at_a_time_and_a_closed_ledger_says_so() {
    let dir = private_dir();
    let ledger = Ledger::open(dir.path()).unwrap();
    let second = Ledger::open_with(dir.path(), &small_segments());
    assert!(matches!(second.err(), Some(OpenError::Locked { owner: Some(pid), .. }) if pid == std::process::id()));
    let clone = ledger.clone();
    ledger.close().unwrap();
    assert!(matches!(clone.append_system(EventKind::SupervisorStopped), Err(AppendError::Closed)));
    Ledger::open_with(
        dir.path(),
        &Options { backend: Arc::new(apm2_ledger::journal::storage_backend::Disk), ..small_segments() },
    )
    .unwrap();
}
