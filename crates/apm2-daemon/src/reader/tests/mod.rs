//! One test suite for every way to read a ledger: the store and memory of the process that has it open, the journal, and the
//! socket of a daemon.

mod ledger;
mod server;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::ControlFlow,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use apm2_ledger::{
    Direction, EventQuery, EventsQuestion, KindSet, LedgerHead, ReadLedger, Reader, Source, StatesQuestion, StreamAt,
};
use apm2_model::{
    event::{Event, actor::ActorFilter, end_filter::EndFilter, stream_id::StreamId},
    id_query::{Candidate, resolve},
    state::stream::Stream,
};
use proptest::prelude::*;

use crate::{
    client::{Client, Received},
    protocol::ClientRequest,
    question::SentQuestion,
    reader::{
        DaemonReader,
        tests::{
            ledger::{RandomLedger, STREAMS, steps, stream},
            server::Server,
        },
    },
};

/// Timeout of a question. It is long, because many tests run at the same time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Number of clients that do not take their answers. There are more than worker threads.
const SLOW_CLIENTS: usize = 8;

/// The answers that the events of a ledger give.
struct Expected<'a>(&'a [Event]);

impl Expected<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn events(&self, question: &EventsQuestion) -> Vec<&Event> {
        let is_in_range = |event: &&Event| (question.first..=question.last).contains(&event.seq);
        let mut found: Vec<_> =
            self.0.iter().filter(is_in_range).filter(|event| question.query.accepts(event)).collect();
        if question.direction == Direction::Backwards {
            found.reverse();
        }
        found.truncate(usize::try_from(question.max).unwrap_or(usize::MAX));
        found
    }

    fn states(&self, upto: u64) -> BTreeMap<StreamId, Stream> {
        let mut states: BTreeMap<StreamId, Stream> = BTreeMap::new();
        for event in self.0.iter().filter(|event| event.seq <= upto && !event.stream.is_system()) {
            match states.get_mut(&event.stream) {
                Some(state) => state.apply(event).unwrap(),
                None => drop(states.insert(event.stream, Stream::begin(event).unwrap())),
            }
        }
        states
    }

    fn find(&self, text: &str) -> Result<Vec<StreamId>, String> {
        let states = self.states(u64::MAX);
        let candidates: Vec<_> = states.values().map(Candidate::from).collect();
        let meant = resolve(text, &candidates).map_err(|unclear| format!("{unclear:?}"))?;
        Ok(states.into_keys().filter(|id| meant.includes(*id)).collect())
    }
}

/// The random part of the questions.
#[derive(Debug, Clone)]
struct Chosen {
    streams: Vec<u8>,
    kinds: Option<u64>,
    wall: Option<(usize, usize)>,
    seqs: (u64, u64),
    max: u64,
    actors: Vec<ActorFilter>,
    run: Option<u64>,
    ends: Vec<EndFilter>,
}

/// Filters of which some accept events of the random ledgers, and some none.
const ACTORS: [&str; 7] = ["operator", "uid:1000", "ann", "nobody", "policy", "system", "recovery"];
const ENDS: [&str; 6] = ["ok", "failed", "7", "SIGKILL", "unknown", "not-started"];

fn chosen() -> impl Strategy<Value = Chosen> {
    let wall = prop::option::of((0..1000_usize, 0..1000_usize));
    let max = prop_oneof![0..30_u64, Just(u64::MAX)];
    let actors = prop::collection::vec(prop::sample::select(&ACTORS[..]).prop_map(ActorFilter::from), 0..3);
    let ends = prop::collection::vec(prop::sample::select(&ENDS[..]).prop_map(|end| end.parse().unwrap()), 0..2);
    let who = (actors, prop::option::weighted(0.2, 0..4_u64), ends);
    let streams = prop::collection::vec(0..STREAMS, 0..3);
    let seqs = (0..1000_u64, 0..1000_u64);
    (streams, prop::option::of(any::<u64>()), wall, seqs, max, who).prop_map(
        |(streams, kinds, wall, seqs, max, (actors, run, ends))| Chosen {
            streams,
            kinds,
            wall,
            seqs,
            max,
            actors,
            run,
            ends,
        },
    )
}

impl Chosen {
    /// The question with a direction, and a range that depends on the size of the ledger.
    fn question(&self, events: &[Event], direction: Direction) -> EventsQuestion {
        let size = events.len() as u64;
        let wall_of = |at: usize| events[at % events.len()].stamp.wall_ns;
        let wall_ns = self.wall.map(|(from, to)| (wall_of(from).min(wall_of(to)), wall_of(from).max(wall_of(to))));
        let streams = self.streams.iter().map(|number| stream(*number)).collect();
        let query = EventQuery {
            streams,
            kinds: self.kinds.map(KindSet),
            wall_ns,
            actors: self.actors.clone(),
            run: self.run,
            ends: self.ends.clone(),
        };
        // Half of the ranges have no end.
        let last = if self.seqs.1.is_multiple_of(2) { u64::MAX } else { self.seqs.1 % (size + 3) };
        EventsQuestion { query, first: self.seqs.0 % (size + 2), last, direction, max: self.max }
    }
}

/// Asks one way all questions, and compares the answers with those that the events give.
fn check<L: ReadLedger<Error: Debug>>(way: &L, events: &[Event], chosen: &[Chosen]) {
    let (expected, size) = (Expected(events), events.len() as u64);
    assert_eq!(way.head().unwrap(), LedgerHead { size, is_whole: true });
    check_events(way, &expected, chosen);
    check_states(way, &expected);
    for number in 0..STREAMS {
        let id = stream(number).process_id.to_string();
        let names = [format!("p{number}"), format!("p{number}-1"), id[..4].to_owned(), id[..13].to_owned(), id];
        for text in names.iter().map(String::as_str).chain(["nothing-has-this-name", "", "p", "abab", "cdcd0"]) {
            let found = way.find(text).unwrap();
            assert_eq!(found.streams.map_err(|unclear| format!("{unclear:?}")), expected.find(text), "{text:?}");
            assert_eq!(found.size, size);
        }
    }
    for event in events.iter().step_by(events.len() / 7 + 1) {
        let wall = event.stamp.wall();
        let last = size / 2;
        for last in [last, u64::MAX] {
            let at = events.iter().rev().find(|event| event.seq <= last && event.stamp.wall() <= wall);
            assert_eq!(way.seq_at(wall, last).unwrap(), at.map_or(0, |event| event.seq));
        }
    }
}

fn check_events<L: ReadLedger<Error: Debug>>(way: &L, expected: &Expected<'_>, chosen: &[Chosen]) {
    let size = expected.size();
    let mut questions = vec![EventsQuestion::all(EventQuery::default(), (0, u64::MAX))];
    for number in 0..=STREAMS {
        let query = EventQuery::stream(if number == STREAMS { StreamId::SYSTEM } else { stream(number) });
        questions.push(EventsQuestion::last(query.clone(), (1, u64::MAX), 3));
        questions.push(EventsQuestion::last(query.clone(), (1, size / 2), 3));
        questions.push(EventsQuestion::all(query, (size / 3, u64::MAX)));
    }
    for chosen in chosen {
        questions.push(chosen.question(expected.0, Direction::Forwards));
        questions.push(chosen.question(expected.0, Direction::Backwards));
    }
    for question in questions {
        let mut found = Vec::new();
        let head = way.events(&question, &mut |event| {
            found.push(event);
            ControlFlow::Continue(())
        });
        assert_eq!(head.unwrap(), Some(size));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected.events(&question), "{question:?}");
        let mut first = None;
        let head = way.events(&question, &mut |event| {
            assert!(first.replace(event).is_none(), "it goes on after `Break`");
            ControlFlow::Break(())
        });
        assert_eq!((head.unwrap(), first.as_ref()), (if found.is_empty() { Some(size) } else { None }, found.first()));
    }
}

fn check_states<L: ReadLedger<Error: Debug>>(way: &L, expected: &Expected<'_>) {
    let size = expected.size();
    let seqs = (0..=size).step_by(usize::try_from(size / 6 + 1).unwrap()).chain([size, size + 1, u64::MAX]);
    for seq in seqs {
        let states = expected.states(seq);
        let mut found = Vec::new();
        let head = way.states(&StatesQuestion::All(seq), &mut |state| {
            found.push(state);
            ControlFlow::Continue(())
        });
        assert_eq!((head.unwrap(), &found), (Some(size), &states.values().cloned().collect::<Vec<_>>()), "at {seq}");
        for since in [0, seq / 2, seq, u64::MAX] {
            let is_active = |state: &&Stream| state.last_seq >= since || !state.handle.state.has_exited();
            let active: Vec<_> = states.values().filter(is_active).cloned().collect();
            let mut found = Vec::new();
            let head = way.states(&StatesQuestion::Active { since, upto: seq }, &mut |state| {
                found.push(state);
                ControlFlow::Continue(())
            });
            assert_eq!((head.unwrap(), found), (Some(size), active), "at {seq} since {since}");
        }
        let of: Vec<_> = (0..STREAMS).map(|number| StreamAt { id: stream(number), seq }).collect();
        let some: Vec<_> = of.iter().filter_map(|at| states.get(&at.id).cloned()).collect();
        let mut found = Vec::new();
        let head = way.states(&StatesQuestion::Of(of), &mut |state| {
            found.push(state);
            ControlFlow::Continue(())
        });
        assert_eq!((head.unwrap(), found), (Some(size), some), "at {seq}");
    }
}

/// Asks every way.
fn check_all(random: &RandomLedger, chosen: &[Chosen]) {
    let store = random.ledger.reader();
    assert_eq!(store.source(), Source::Store);
    check(&store, &random.events, chosen);
    let journal = Reader::open(random.dir.path()).unwrap();
    assert_eq!(journal.source(), Source::Journal);
    check(&journal, &random.events, chosen);
    let server = Server::start(&random.ledger);
    let daemon = reader_of(random);
    check(&daemon, &random.events, chosen);
    drop(server);
}

fn connect(random: &RandomLedger) -> Client {
    Client::connect(random.dir.path()).unwrap().unwrap()
}

fn reader_of(random: &RandomLedger) -> DaemonReader {
    DaemonReader::new(connect(random), random.dir.path(), TIMEOUT)
}

#[test]
fn the_last_events_and_the_state_of_a_stream_are_read_without_the_segments_before_them() {
    let random = RandomLedger::sealed();
    random.damage_older_segments();
    let server = Server::start(&random.ledger);
    let journal = Reader::open(random.dir.path()).unwrap();
    let query = EventQuery::stream(stream(2));
    let is_read = |way: &dyn ReadLedger<Error = apm2_ledger::ReadError>, question: &EventsQuestion| {
        let mut found = Vec::new();
        way.events(question, &mut |event| {
            found.push(event);
            ControlFlow::Continue(())
        })
        .map(|_| found)
    };
    let expected = Expected(&random.events);
    let last = EventsQuestion::last(query.clone(), (1, u64::MAX), 3);
    let first = expected.events(&last).last().unwrap().seq;
    for way in [&journal, &random.ledger.reader()] {
        assert_eq!(is_read(way, &last).unwrap().iter().collect::<Vec<_>>(), expected.events(&last));
        let before = StatesQuestion::Of(vec![StreamAt { id: stream(2), seq: first - 1 }]);
        let mut found = Vec::new();
        way.states(&before, &mut |state| {
            found.push(state);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found, [expected.states(first - 1).remove(&stream(2)).unwrap()]);
    }
    // The damage would have been found.
    let all = EventsQuestion::all(EventQuery { kinds: Some(KindSet::ALL), ..query }, (1, u64::MAX));
    assert!(is_read(&journal, &all).is_err());
    assert!(is_read(&random.ledger.reader(), &all).is_err());
    let mut failed = reader_of(&random).events(&all, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    failed.truncate("events".len());
    assert_eq!(failed, "events", "the failure of the daemon is that of the journal");
    drop(server);
}

#[test]
fn clients_that_take_nothing_hold_up_no_other_and_their_readings_end_when_they_leave() {
    let random = RandomLedger::long();
    let server = Server::start(&random.ledger);
    let question = SentQuestion::from(&EventsQuestion::all(EventQuery::default(), (1, u64::MAX)));
    let mut slow: Vec<Client> = (0..SLOW_CLIENTS).map(|_| connect(&random)).collect();
    for client in &mut slow {
        client.ask(ClientRequest::Read { question: question.clone() }, None, None).unwrap();
        assert!(matches!(client.receive().unwrap(), Received::Bytes(_)));
    }
    let clients = || server.state.clients.load(Ordering::Acquire);
    let daemon = reader_of(&random);
    for _ in 0..3 {
        assert_eq!(daemon.head().unwrap().size, random.events.len() as u64);
        let last = EventsQuestion::last(EventQuery::default(), (1, u64::MAX), 1);
        let mut seq = 0;
        daemon
            .events(&last, &mut |event| {
                seq = event.seq;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seq, random.events.len() as u64);
    }
    assert!(clients() >= SLOW_CLIENTS, "the slow clients have their whole answers, so this test shows nothing");
    drop(slow);
    let began = Instant::now();
    while clients() > 0 {
        assert!(began.elapsed() < TIMEOUT, "{} clients are still served", clients());
        std::thread::sleep(Duration::from_millis(5));
    }
    // The end of the server waits for the threads that read.
    drop(server);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_way_to_read_a_ledger_gives_the_same_answers(
        sealed in steps(),
        plain in steps(),
        is_rebuilt in any::<bool>(),
        chosen in prop::collection::vec(chosen(), 12),
    ) {
        check_all(&RandomLedger::new(&sealed, &plain, is_rebuilt), &chosen);
    }
}
