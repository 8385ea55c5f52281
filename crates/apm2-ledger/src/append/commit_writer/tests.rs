//! Property test: an append continues at the current version of its stream, whichever stream states were dropped from
//! memory and however many events the store has indexed.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::mpsc::Receiver};

use super::*;
use apm2_model::{
    event::{
        NewEvent,
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, StartTrigger},
        timestamp::Timestamp,
    },
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
    state::stream::FollowUp,
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    head::Head,
    journal::storage_backend::StorageBackend,
    lock::Lock,
    options::Options,
    read::{current_states, replay::Origin},
    recovery::{Recovered, recover},
    store::{indexed_frame_builder::IndexedFrameBuilder, indexer::StoreIndexer},
};

const STREAMS: u8 = 12;

/// A small cache, so that stream states are dropped often.
const STREAM_HEADS_MAX: usize = 3;

fn id(place: u8) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([place + 1; 16]), instance: 0 }
}

/// Storage backend without syncs. The test simulates no power failure.
struct Unsynced;

impl StorageBackend for Unsynced {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

/// One append request of a commit.
#[derive(Debug, Clone)]
struct Request {
    place: u8,
    /// Selects one of the events that are valid next.
    choice: u8,
    /// Whether the request names a wrong stream version.
    is_stale: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Serve(Vec<Request>),
    /// The indexing thread processes this number of messages.
    IndexMessages(usize),
    /// The indexing thread processes all messages and writes the partially filled frame.
    IndexAll,
    /// The writer writes a snapshot of the changed streams.
    Snapshot,
    /// The indexing thread ends, so that the writer stops using the store.
    StopIndexer,
    /// The store fails.
    FailStore,
    /// The process is killed, and another process opens the ledger.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = (0..STREAMS, any::<u8>(), prop::bool::weighted(0.1));
    let request = request.prop_map(|(place, choice, is_stale)| Request { place, choice, is_stale });
    let step = prop_oneof![
        30 => vec(request, 1..5).prop_map(Step::Serve),
        6 => (1..20usize).prop_map(Step::IndexMessages),
        4 => Just(Step::IndexAll),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Crash),
    ];
    let end = prop_oneof![Just(Step::StopIndexer), Just(Step::FailStore), Just(Step::IndexAll)];
    (vec(step.clone(), 20..60), end, vec(step, 0..20)).prop_map(|(mut before, end, after)| {
        before.push(end);
        before.extend(after);
        before
    })
}

struct Fixture {
    dir: TempDir,
    writer: CommitWriter,
    shared: Arc<SharedState>,
    indexer: StoreIndexer,
    /// Messages to the indexing thread. `None` after the indexing thread has ended.
    messages: Option<Receiver<IndexerMessage>>,
    expected: Vec<Option<Stream>>,
    seq: u64,
    /// The highest number of streams that were busy at the same time.
    busy_max: usize,
    _lock: Arc<Lock>,
}

impl Fixture {
    fn new() -> Self {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("apm2-heads").permissions(mode).tempdir().unwrap();
        Self::opened(dir, vec![None; usize::from(STREAMS)], 0)
    }

    fn opened(dir: TempDir, expected: Vec<Option<Stream>>, seq: u64) -> Self {
        let options = Options { backend: Arc::new(Unsynced), segment_bytes: 16 * 1024, ..Options::default() };
        let Recovered { lock, journal, store, .. } = recover(dir.path(), &options).unwrap();
        let frame_builder = IndexedFrameBuilder::new(journal.next_seq(), journal.chain()).unwrap();
        let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
        let shared = Arc::new(SharedState::new(Arc::clone(lock.dir()), None, head, store));
        let indexer = StoreIndexer::new(Arc::clone(&shared), journal.ledger(), frame_builder);
        let (sender, messages) = std::sync::mpsc::sync_channel(4096);
        let writer = CommitWriter::new(journal, Arc::clone(&shared), sender, STREAM_HEADS_MAX);
        Self { dir, writer, shared, indexer, messages: Some(messages), expected, seq, busy_max: 0, _lock: lock }
    }

    fn step(self, step: &Step) -> Self {
        let mut fixture = self;
        match step {
            Step::Serve(requests) => fixture.serve(requests),
            Step::IndexMessages(count) => fixture.index_messages(*count),
            Step::IndexAll => {
                fixture.writer.send_commits();
                fixture.index_messages(usize::MAX);
                if let Some(store) = fixture.shared.store() {
                    fixture.indexer.add_rest(&store).unwrap();
                }
            }
            Step::Snapshot => fixture.writer.write_snapshot(),
            Step::StopIndexer => fixture.messages = None,
            Step::FailStore => drop(fixture.shared.take_store()),
            Step::Crash => {
                let Self { dir, expected, seq, writer, shared, indexer, messages, _lock, .. } = fixture;
                drop((writer, shared, indexer, messages, _lock));
                fixture = Self::opened(dir, expected, seq);
            }
        }
        fixture
    }

    fn index_messages(&mut self, count: usize) {
        let (Some(messages), Some(store)) = (&self.messages, self.shared.store()) else { return };
        messages.try_iter().take(count).for_each(|message| self.indexer.index(&store, message).unwrap());
    }

    fn serve(&mut self, requests: &[Request]) {
        let requests = requests.iter().map(|request| {
            let state = &mut self.expected[usize::from(request.place)];
            let version = state.as_ref().map_or(0, |stream| stream.version);
            let new_events = next(request, state.as_ref());
            if request.is_stale {
                return append_request(id(request.place), version + 1, new_events);
            }
            for new_event in &new_events {
                self.seq += 1;
                let version = state.as_ref().map_or(0, |stream| stream.version);
                let event = new_event.clone().numbered(self.seq, version + 1);
                match state {
                    Some(stream) => stream.apply(&event).unwrap(),
                    None => *state = Some(Stream::begin(&event).unwrap()),
                }
            }
            append_request(id(request.place), version, new_events)
        });
        let requests: VecDeque<AppendRequest> = requests.collect();
        drop(self.writer.serve(requests));
    }

    /// Checks that each cached stream state equals the replayed events, and that the streams in `read_again` are read
    /// with the same state.
    fn check(&mut self, read_again: impl Iterator<Item = u8>) {
        assert_eq!(self.shared.head().size, self.seq);
        let expected = |state: &Option<Stream>| match state {
            Some(stream) => StreamHead::Process(Arc::new(stream.clone())),
            None => StreamHead::EventCount(0),
        };
        for (place, state) in (0..).zip(&self.expected) {
            if let Some(held) = self.writer.stream_heads.take(id(place)) {
                assert_eq!(held, expected(state), "held");
                self.writer.stream_heads.put_back(id(place), held);
            }
        }
        for place in read_again {
            assert_eq!(self.writer.load_head(id(place)).unwrap(), expected(&self.expected[usize::from(place)]), "read");
        }
    }

    /// Checks that the number of cached stream states is bounded by [`STREAM_HEADS_MAX`] and the number of busy
    /// streams.
    fn check_count(&mut self) {
        let is_busy = |stream: &&Stream| stream.is_open() || matches!(stream.follow_up, FollowUp::Restart { .. });
        let busy = self.expected.iter().flatten().filter(is_busy).count();
        self.busy_max = self.busy_max.max(busy);
        let (held, most) = (self.writer.stream_heads.len(), STREAM_HEADS_MAX.max(2 * self.busy_max));
        assert!(held <= most, "{held} are held, at most {most} should be");
    }

    /// Checks that the snapshots and a full replay both give the expected stream states.
    fn check_states(&self) {
        let mut each = Vec::new();
        current_states::each(&self.writer.history, |stream| {
            each.push(stream);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let expected: Vec<Stream> = self.expected.iter().flatten().cloned().collect();
        assert_eq!(each, expected);
        for origin in [Origin::Snapshot, Origin::Genesis] {
            let replayed = self.writer.history.replay(u64::MAX, origin).unwrap();
            assert_eq!(replayed.streams.into_values().collect::<Vec<_>>(), expected, "{origin:?}");
        }
    }
}

/// A request whose caller does not wait for the answer.
fn append_request(stream: StreamId, version: u64, new_events: Vec<NewEvent>) -> AppendRequest {
    let events = EncodedAppend::new(new_events, version).unwrap();
    AppendRequest { stream, events: RequestedEvents::Encoded { version, events }, caller: Caller::absent() }
}

/// Events that are valid next in the stream.
fn next(request: &Request, stream: Option<&Stream>) -> Vec<NewEvent> {
    let stamp = Timestamp { wall_ns: 1_700_000_000_000_000_000, boot_ns: 1, boot_id: Uuid::from_u128(7) };
    let run = stream.map_or(0, |stream| stream.run);
    let new_event = |run, kind| {
        let (stream, actor) = (id(request.place), Actor::System);
        NewEvent { stream, run, actor, reason: None, cause: None, stamp, kind }
    };
    let trigger = StartTrigger::Start;
    let spec = || {
        // Some specifications are long, so that frames contain different numbers of events.
        let spec =
            ProcessSpec::builder().id(id(request.place).process_id).name(format!("p{}", request.place)).command("true");
        RedactedSpec::new(&spec.args(["x".repeat(usize::from(request.choice) * 8)]).build())
    };
    let Some(stream) = stream else {
        let registered = new_event(0, EventKind::Registered { spec: spec() });
        let requested = new_event(1, EventKind::StartRequested { trigger });
        return if request.choice.is_multiple_of(2) { vec![registered] } else { vec![registered, requested] };
    };
    if stream.unregistered {
        return vec![new_event(run, EventKind::SpecChanged { spec: spec() })];
    }
    if stream.intent.is_some() {
        let (boot_id, pid_namespace) = (Uuid::from_u128(7), None);
        let identity = Some(ProcessIdentity { boot_id, pid: 4242, start_ticks: 99, pid_namespace });
        return vec![new_event(run, EventKind::Starting { identity, trigger }), new_event(run, EventKind::Running)];
    }
    if stream.is_open() {
        let exit = |code| Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed };
        let crashed = EventKind::Crashed { cause: RunEnd::Exit(exit(1)) };
        return match request.choice % 4 {
            0 => vec![new_event(run, EventKind::Sampled { cpu_centipercent: 1, memory_bytes: 2, processes: Some(1) })],
            1 => vec![new_event(run, EventKind::Stopped { exit: exit(0) })],
            2 => vec![new_event(run, crashed)],
            _ => {
                vec![new_event(run, crashed), new_event(run, EventKind::RestartScheduled { attempt: 1, delay_ms: 10 })]
            }
        };
    }
    match request.choice % 4 {
        0 | 1 => vec![new_event(run + 1, EventKind::StartRequested { trigger })],
        2 => vec![new_event(run, EventKind::BudgetReset)],
        _ => vec![new_event(run, EventKind::Unregistered)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_head_that_was_dropped_is_the_same_when_it_is_read_again(steps in steps()) {
        let mut fixture = Fixture::new();
        for (step, number) in steps.iter().zip(0..) {
            fixture = fixture.step(step);
            fixture.check((0..STREAMS).filter(|place| place % 4 == number % 4));
            fixture.check_count();
            if number % 5 == 0 {
                fixture.check_states();
            }
        }
        fixture.check(0..STREAMS);
        fixture.check_states();
        fixture.writer.write_snapshot();
        fixture = fixture.step(&Step::IndexAll);
        fixture.check_states();
    }
}
