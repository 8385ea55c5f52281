//! A reader of the journal that was opened earlier has the answers of the events, whatever a writer did since then.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use apm2_core::process::{Event, EventKind, NewEvent, StreamId};
use apm2_ledger::{
    Direction, EventQuery, EventsQuestion, FindError, KindSet, Ledger, Options, ReadLedger, Reader, StatesQuestion,
    StreamAt, rebuild, retain,
};
use apm2_model::state::stream::Stream;
use tempfile::TempDir;

use crate::support::{
    Random, all_events, copy_dir, draft_at, private_dir, registered, run_commits, sealed_segments, segments,
    small_segments, stamp, states_after, stream, tiny_segments, wait_until,
};

/// Numbers of the processes.
const PROCESSES: u8 = 12;

/// The most readers that are asked after each step.
const READERS_MAX: usize = 4;

/// A ledger that is written while it is read.
struct Written {
    dir: TempDir,
    options: Options,
    ledger: Option<Ledger>,
    /// All events.
    events: Vec<Event>,
    /// The time of the next event, in seconds.
    now: i64,
    /// The streams that are in archives only, and the last event there.
    gone: BTreeSet<StreamId>,
    base: u64,
}

impl Written {
    fn new(options: Options) -> Self {
        let dir = private_dir();
        let ledger = Some(Ledger::open_with(dir.path(), &options).unwrap());
        Self { dir, options, ledger, events: Vec::new(), now: 0, gone: BTreeSet::new(), base: 0 }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn state(&self, id: StreamId) -> Option<Stream> {
        states_after(&self.events, u64::MAX).remove(&id)
    }

    fn append(&mut self, id: StreamId, drafts: Vec<NewEvent>) {
        let version = self.events.iter().filter(|event| event.stream == id).count() as u64;
        self.events.extend(self.ledger.as_ref().unwrap().append(id, version, drafts).unwrap());
    }

    /// Appends some runs of a process that is not unregistered.
    fn run(&mut self, number: u8, runs: u64) {
        let id = stream(number);
        let state = self.state(id);
        if state.as_ref().is_some_and(|state| state.unregistered) {
            return;
        }
        if state.is_none() {
            let event = NewEvent { stamp: stamp(self.now), ..registered(id, &format!("p{number}")) };
            self.append(id, vec![event]);
        }
        let first = state.map_or(1, |state| state.run + 1);
        for run in first..first + runs {
            for commit in run_commits(id, run, self.now, 0) {
                self.append(id, commit);
            }
            self.now += 60;
        }
    }

    fn unregister(&mut self, number: u8) {
        let id = stream(number);
        if let Some(state) = self.state(id).filter(|state| !state.unregistered) {
            self.append(id, vec![draft_at(id, state.run, self.now, EventKind::Unregistered)]);
        }
    }

    /// Closes the ledger, lets `change` work, and opens it again.
    fn closed(&mut self, change: impl FnOnce(&mut Self)) {
        self.ledger.take().unwrap().close().unwrap();
        change(self);
        self.ledger = Some(Ledger::open_with(self.path(), &self.options).unwrap());
        self.read_all();
    }

    fn read_all(&mut self) {
        self.events = all_events(self.ledger.as_ref().unwrap());
    }

    fn retain(&mut self) {
        let before = stamp((self.now - 300).max(0)).wall();
        let Some(done) = retain(self.path(), before, &self.options, &mut |_| {}).unwrap() else { return };
        self.base = done.last_seq;
        self.gone.extend(done.processes.iter().map(|id| StreamId { process_id: *id, instance: 0 }));
    }

    /// One step of the writer.
    fn step(&mut self, random: &mut Random) {
        let number = 1 + u8::try_from(random.below(u64::from(PROCESSES))).unwrap();
        match random.below(16) {
            0..=8 => self.run(number, 1 + random.below(7)),
            9 => self.run(number, 15),
            10 => self.unregister(number),
            11 => self.closed(|_| {}),
            12 => self.closed(|written| drop(rebuild(written.path(), &written.options, &mut |_| {}).unwrap())),
            13 => self.closed(Self::retain),
            _ if self.options.seal => {
                let is_sealed = |path: &Path| path.with_extension("sealed").exists();
                wait_until(|| segments(self.path()).iter().rev().skip(1).all(|path| is_sealed(path)));
                if random.below(2) == 0 {
                    let full = segments(self.path());
                    full.iter().rev().skip(1).for_each(|path| fs::remove_file(path).unwrap());
                }
            }
            _ => self.now -= 3000.min(self.now),
        }
    }
}

fn query(random: &mut Random, events: &[Event]) -> EventQuery {
    let number = 1 + u8::try_from(random.below(u64::from(PROCESSES) + 1)).unwrap();
    let all = EventQuery::default();
    let wall_ns =
        |random: &mut Random| events[usize::try_from(random.below(events.len() as u64)).unwrap()].stamp.wall_ns;
    match random.below(6) {
        0 => all,
        1 | 2 => EventQuery::stream(stream(number)),
        3 => EventQuery { kinds: Some(KindSet::named(["unregistered", "registered"])), ..all },
        4 => EventQuery { run: Some(3), ..EventQuery::stream(stream(number)) },
        _ => {
            let (one, other) = (wall_ns(random), wall_ns(random));
            EventQuery { wall_ns: Some((one.min(other), one.max(other))), ..all }
        }
    }
}

/// The number of an event before the first one, near the end of the ledger or of what the reader had when it was opened, or any.
fn seq(random: &mut Random, size: u64, head: u64) -> u64 {
    match random.below(8) {
        0 => random.below(3),
        1 => u64::MAX,
        2 | 3 => (size + 2).saturating_sub(random.below(6)),
        4 | 5 => head.saturating_add(3).saturating_sub(random.below(6)),
        _ => random.below(size + 1),
    }
}

/// Asks a reader one question of each kind, and compares the answers with those that the events give.
fn check(reader: &Reader, written: &Written, random: &mut Random, what: &str) {
    let events = &written.events;
    let (size, head) = (events.len() as u64, ReadLedger::head(reader).unwrap().end());
    let (from, to) = (seq(random, size, head), seq(random, size, head));
    let query = query(random, events);
    let what = format!("{what}: events {from} to {to}, head {head} of {size}, {query:?}");
    let within = |last: u64| {
        let accepted = |event: &&Event| (from..=to.min(last)).contains(&event.seq) && query.accepts(event);
        events.iter().filter(accepted).cloned().collect::<Vec<_>>()
    };
    let found: Vec<Event> = reader.query(query.clone(), from, to).map(Result::unwrap).collect();
    assert_eq!(found, within(size), "{what}");
    let accepted = |event: &&Event| event.seq <= to && query.accepts(event);
    let mut expected: Vec<Event> = events.iter().rev().filter(accepted).take(3).cloned().collect();
    expected.reverse();
    assert_eq!(reader.last_events(&query, to, 3).unwrap(), expected, "{what}");
    for direction in [Direction::Forwards, Direction::Backwards] {
        let question = EventsQuestion { query: query.clone(), first: from, last: to, direction, max: u64::MAX };
        let mut found = Vec::new();
        ReadLedger::events(reader, &question, &mut |event| {
            found.push(event);
            ControlFlow::Continue(())
        })
        .unwrap();
        if direction == Direction::Backwards {
            found.reverse();
        }
        assert_eq!(found, within(head), "{direction:?}, {what}");
    }
    let at = seq(random, size, head);
    let id = stream(1 + u8::try_from(random.below(u64::from(PROCESSES) + 1)).unwrap());
    assert_eq!(reader.stream_at(id, at).unwrap(), states_after(events, at).remove(&id), "{id:?} at {at}, {what}");
    assert_eq!(reader.stream(id).unwrap(), written.state(id), "{id:?}, {what}");
    let states = |question: StatesQuestion| {
        let mut found = Vec::new();
        reader
            .states(&question, &mut |state| {
                found.push(state);
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    };
    // The same stream may be asked for at several events.
    let together: Vec<StreamAt> = (0..random.below(9))
        .map(|_| {
            let number = 1 + u8::try_from(random.below(u64::from(PROCESSES) + 1)).unwrap();
            StreamAt { id: stream(number), seq: seq(random, size, head) }
        })
        .collect();
    let expected: Vec<Stream> =
        together.iter().filter_map(|at| states_after(events, at.seq.min(head)).remove(&at.id)).collect();
    assert_eq!(states(StatesQuestion::Of(together.clone())), expected, "{together:?}, {what}");
    let upto = at.min(head);
    let mut expected = states_after(events, upto);
    expected.retain(|id, _| upto < written.base || !written.gone.contains(id));
    assert_eq!(states(StatesQuestion::All(at)), expected.into_values().collect::<Vec<_>>(), "after {at}, {what}");
    let is_there = states_after(events, head).contains_key(&id);
    let number = id.process_id.as_bytes()[0];
    for text in [format!("p{number}"), id.process_id.to_string()[..13].to_owned()] {
        let found = match reader.find(&text) {
            Err(FindError::Unclear(_)) => Vec::new(),
            found => found.unwrap(),
        };
        assert_eq!(found, if is_there { vec![id] } else { Vec::new() }, "{text}, {what}");
    }
}

#[test]
fn a_reader_that_was_opened_earlier_has_the_answers_of_the_events_while_the_ledger_is_written() {
    let kinds = [small_segments(), tiny_segments(), sealed_segments(), Options { seal: true, ..tiny_segments() }];
    for (seed, options) in (0_u64..).zip(kinds.iter().cycle().take(4)) {
        let mut random = Random(seed);
        let mut written = Written::new(options.clone());
        written.run(1, 2);
        let mut readers: Vec<(u64, Reader)> = Vec::new();
        for step in 0..18 {
            if random.below(3) == 0 {
                if readers.len() == READERS_MAX {
                    readers.remove(usize::try_from(random.below(READERS_MAX as u64)).unwrap());
                }
                readers.push((step, Reader::open(written.path()).unwrap()));
            }
            written.step(&mut random);
            for (opened, reader) in &readers {
                check(reader, &written, &mut random, &format!("seed {seed}, step {step}, opened at {opened}"));
            }
            check(&Reader::open(written.path()).unwrap(), &written, &mut random, "a reader that is new");
            check(&written.ledger.as_ref().unwrap().reader(), &written, &mut random, "the open ledger");
            let keeping = written.ledger.as_ref().unwrap().reader().keeping_last_segment();
            for commits in 0..3 {
                check(&keeping, &written, &mut random, "the open ledger, with its last segment kept");
                written.run(PROCESSES - commits, 1 + random.below(5));
            }
        }
        written.ledger.take().unwrap().close().unwrap();
    }
}

/// Removes all files of a closed ledger but the journal.
fn leave_journal(dir: &Path) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("journal"))
    {
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

/// Breaks the end of the last segment, as a crash or a disk does, and returns what it was.
fn break_end(dir: &Path, random: &mut Random) -> (PathBuf, Vec<u8>) {
    let path = segments(dir).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let at = used - 1 - usize::try_from(random.below(400)).unwrap();
    let mut broken = sound.clone();
    match random.below(3) {
        0 => broken[at..used].fill(0),
        1 => broken[at] ^= 1 << random.below(8),
        _ => broken[at / 512 * 512..used.min((at / 512 + 1) * 512)].fill(0),
    }
    fs::write(&path, broken).unwrap();
    (path, sound)
}

#[test]
fn a_commit_that_was_not_whole_when_the_reader_was_opened_is_read_once_it_is() {
    let (mut recovered, mut mended) = (0, 0);
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut written = Written::new(small_segments());
        for number in 1..=3 {
            written.run(number, 1 + random.below(9));
        }
        written.ledger.take().unwrap().close().unwrap();
        if random.below(2) == 0 {
            let copy = private_dir();
            copy_dir(written.path(), copy.path());
            written.dir = copy;
        }
        // Without the other files, nothing says that the broken commit was acknowledged.
        if random.below(3) > 0 {
            leave_journal(written.path());
        }
        let (path, sound) = break_end(written.path(), &mut random);
        let reader = Reader::open(written.path()).unwrap();
        let head = reader.head().unwrap().size;
        let found: Vec<Event> = reader.events(1, u64::MAX).map_while(Result::ok).collect();
        assert_eq!((found.as_slice(), found.len() as u64), (&written.events[..found.len()], head), "seed {seed}");
        let what = match Ledger::open_with(written.path(), &written.options) {
            Ok(ledger) => {
                recovered += 1;
                written.ledger = Some(ledger);
                "the end was cut off"
            }
            Err(error) => {
                assert!(error.is_integrity(), "{error}");
                mended += 1;
                fs::write(path, sound).unwrap();
                written.ledger = Some(Ledger::open_with(written.path(), &written.options).unwrap());
                "the end was written again"
            }
        };
        written.read_all();
        for step in 0..4 {
            check(&reader, &written, &mut random, &format!("seed {seed}, step {step}, {what}"));
            written.run(4, 1 + random.below(4));
        }
        written.ledger.take().unwrap().close().unwrap();
    }
    assert!(recovered > 0 && mended > 0, "{recovered} {mended}");
}

#[test]
fn a_ledger_that_is_made_again_in_the_same_directory_is_not_mixed_with_the_one_before() {
    let mut written = Written::new(small_segments());
    written.run(1, 5);
    let reader = Reader::open(written.path()).unwrap();
    written.ledger.take().unwrap().close().unwrap();
    for entry in fs::read_dir(written.path().join("journal")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    leave_journal(written.path());
    written.ledger = Some(Ledger::open_with(written.path(), &written.options).unwrap());
    written.events.clear();
    written.run(2, 7);
    let found: Vec<Event> = reader.events(1, u64::MAX).map(Result::unwrap).collect();
    assert_eq!(found, written.events);
    assert_eq!(reader.stream(stream(1)).unwrap(), None);
    written.ledger.take().unwrap().close().unwrap();
}

#[test]
fn earlier_events_are_read_when_the_last_segment_is_not_a_file() {
    let mut written = Written::new(tiny_segments());
    written.run(1, 60);
    written.ledger.take().unwrap().close().unwrap();
    let earlier = Reader::open(written.path()).unwrap();
    let path = segments(written.path()).pop().unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for reader in [earlier, Reader::open(written.path()).unwrap()] {
        let found: Vec<Event> = reader.events(1, 20).map(Result::unwrap).collect();
        assert_eq!(found, written.events[..20]);
        assert_eq!(reader.last_events(&EventQuery::default(), 20, 3).unwrap(), written.events[17..20]);
        assert!(reader.events(1, u64::MAX).any(|event| event.is_err_and(|error| error.is_integrity())));
    }
}
