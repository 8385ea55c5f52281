//! Whatever heads were dropped, and however far the store has come, an append goes on where its stream stands.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::mpsc::Receiver};

use super::*;
use apm2_model::{
    event::{
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::StartTrigger,
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

/// Few, so that heads are dropped all the time.
const STREAM_HEADS_MAX: usize = 3;

fn id(place: u8) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([place + 1; 16]), instance: 0 }
}

/// Writes, and syncs nothing: nothing is cut off here.
struct Unsynced;

impl StorageBackend for Unsynced {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

/// One request of a commit.
#[derive(Debug, Clone)]
struct Ask {
    place: u8,
    /// Which of the events that may come next.
    choice: u8,
    /// Whether it is asked for by one who does not know how the stream stands.
    is_stale: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Serve(Vec<Ask>),
    /// So many feeds reach the indexing thread.
    IndexerMessage(usize),
    /// It adds the frame that is not full.
    Rest,
    /// So many events have come that the folds are kept.
    Keep,
    /// The writer gives the store up.
    GiveUp,
    /// The store fails.
    Fail,
    /// The process is killed, and another one opens the ledger.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = (0..STREAMS, any::<u8>(), prop::bool::weighted(0.1));
    let ask = ask.prop_map(|(place, choice, is_stale)| Ask { place, choice, is_stale });
    let step = prop_oneof![
        30 => vec(ask, 1..5).prop_map(Step::Serve),
        6 => (1..20usize).prop_map(Step::IndexerMessage),
        4 => Just(Step::Rest),
        2 => Just(Step::Keep),
        1 => Just(Step::Crash),
    ];
    let end = prop_oneof![Just(Step::GiveUp), Just(Step::Fail), Just(Step::Rest)];
    (vec(step.clone(), 20..60), end, vec(step, 0..20)).prop_map(|(mut before, end, after)| {
        before.push(end);
        before.extend(after);
        before
    })
}

struct Scene {
    dir: TempDir,
    writer: CommitWriter,
    shared: Arc<SharedState>,
    indexer: StoreIndexer,
    /// `None` once the indexing thread is gone.
    fed: Option<Receiver<IndexerMessage>>,
    models: Vec<Option<Stream>>,
    seq: u64,
    /// Streams that something was going on in at the same time, at most.
    most_busy: usize,
    _lock: Arc<Lock>,
}

impl Scene {
    fn new() -> Self {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("apm2-heads").permissions(mode).tempdir().unwrap();
        Self::opened(dir, vec![None; usize::from(STREAMS)], 0)
    }

    fn opened(dir: TempDir, models: Vec<Option<Stream>>, seq: u64) -> Self {
        let options = Options { backend: Arc::new(Unsynced), segment_bytes: 16 * 1024, ..Options::default() };
        let Recovered { lock, journal, store, .. } = recover(dir.path(), &options).unwrap();
        let frame_builder = IndexedFrameBuilder::new(journal.next_seq(), journal.chain());
        let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
        let shared = Arc::new(SharedState::new(Arc::clone(lock.dir()), head, store));
        let indexer = StoreIndexer::new(Arc::clone(&shared), journal.ledger(), frame_builder);
        let (messages, fed) = std::sync::mpsc::sync_channel(4096);
        let writer = CommitWriter::new(journal, Arc::clone(&shared), messages, STREAM_HEADS_MAX);
        Self { dir, writer, shared, indexer, fed: Some(fed), models, seq, most_busy: 0, _lock: lock }
    }

    fn step(self, step: &Step) -> Self {
        let mut scene = self;
        match step {
            Step::Serve(asks) => scene.serve(asks),
            Step::IndexerMessage(count) => scene.feed(*count),
            Step::Rest => {
                scene.feed(usize::MAX);
                if let Some(store) = scene.shared.store() {
                    scene.indexer.add_rest(&store).unwrap();
                }
            }
            Step::Keep => scene.writer.write_snapshot(),
            Step::GiveUp => scene.fed = None,
            Step::Fail => drop(scene.shared.take_store()),
            Step::Crash => {
                let Self { dir, models, seq, writer, shared, indexer, fed, _lock, .. } = scene;
                drop((writer, shared, indexer, fed, _lock));
                scene = Self::opened(dir, models, seq);
            }
        }
        scene
    }

    fn feed(&mut self, count: usize) {
        let (Some(fed), Some(store)) = (&self.fed, self.shared.store()) else { return };
        self.indexer.index(&store, fed.try_iter().take(count)).unwrap();
    }

    fn serve(&mut self, asks: &[Ask]) {
        let requests = asks.iter().map(|ask| {
            let model = &mut self.models[usize::from(ask.place)];
            let version = model.as_ref().map_or(0, |stream| stream.version);
            let new_events = next(ask, model.as_ref());
            if ask.is_stale {
                return AppendRequest::unheard(id(ask.place), Some(version + 1), new_events);
            }
            for new_event in &new_events {
                self.seq += 1;
                let version = model.as_ref().map_or(0, |stream| stream.version);
                let event = new_event.clone().numbered(self.seq, version + 1);
                match model {
                    Some(stream) => stream.apply(&event).unwrap(),
                    None => *model = Some(Stream::begin(&event).unwrap()),
                }
            }
            AppendRequest::unheard(id(ask.place), Some(version), new_events)
        });
        let requests: VecDeque<AppendRequest> = requests.collect();
        self.writer.serve(requests);
    }

    /// Every head that is held is what its events make of it, and so is each that is read again.
    fn check(&mut self, read_again: impl Iterator<Item = u8>) {
        assert_eq!(self.shared.head().size, self.seq);
        let expected = |model: &Option<Stream>| match model {
            Some(stream) => StreamHead::Process(Arc::new(stream.clone())),
            None => StreamHead::Counted(0),
        };
        for (place, model) in (0..).zip(&self.models) {
            if let Some(held) = self.writer.stream_heads.take(id(place)) {
                assert_eq!(held, expected(model), "held");
                self.writer.stream_heads.put_back(id(place), held);
            }
        }
        for place in read_again {
            assert_eq!(self.writer.load_head(id(place)).unwrap(), expected(&self.models[usize::from(place)]), "read");
        }
    }

    /// The heads that are held are bounded by those that something is going on in.
    fn check_count(&mut self) {
        let is_busy = |stream: &&Stream| stream.is_open() || matches!(stream.follow_up, FollowUp::Restart { .. });
        let busy = self.models.iter().flatten().filter(is_busy).count();
        self.most_busy = self.most_busy.max(busy);
        let (held, most) = (self.writer.stream_heads.len(), STREAM_HEADS_MAX.max(2 * self.most_busy));
        assert!(held <= most, "{held} are held, at most {most} should be");
    }

    /// The folds of all streams, from what is kept and from the events, are the same.
    fn check_folds(&self) {
        let mut each = Vec::new();
        current_states::each(&self.writer.history, |stream| {
            each.push(stream);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let models: Vec<Stream> = self.models.iter().flatten().cloned().collect();
        assert_eq!(each, models);
        for origin in [Origin::Snapshot, Origin::Genesis] {
            let replayed = self.writer.history.replay(u64::MAX, origin).unwrap();
            assert_eq!(replayed.streams.into_values().collect::<Vec<_>>(), models, "{origin:?}");
        }
    }
}

/// Events that may come next in a stream.
fn next(ask: &Ask, stream: Option<&Stream>) -> Vec<NewEvent> {
    let stamp = Timestamp { wall_ns: 1_700_000_000_000_000_000, boot_ns: 1, boot_id: Uuid::from_u128(7) };
    let run = stream.map_or(0, |stream| stream.run);
    let new_event = |run, kind| {
        let (stream, actor) = (id(ask.place), Actor::System);
        NewEvent { stream, run, actor, reason: None, cause: None, stamp, kind }
    };
    let trigger = StartTrigger::Start;
    let spec = || {
        // Some specifications are long, so that frames hold different numbers of events.
        let spec = ProcessSpec::builder().id(id(ask.place).process_id).name(format!("p{}", ask.place)).command("true");
        RedactedSpec::new(&spec.args(["x".repeat(usize::from(ask.choice) * 8)]).build())
    };
    let Some(stream) = stream else {
        let registered = new_event(0, EventKind::Registered { spec: spec() });
        let requested = new_event(1, EventKind::StartRequested { trigger });
        return if ask.choice.is_multiple_of(2) { vec![registered] } else { vec![registered, requested] };
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
        return match ask.choice % 4 {
            0 => vec![new_event(run, EventKind::Sampled { cpu_centipercent: 1, memory_bytes: 2, processes: Some(1) })],
            1 => vec![new_event(run, EventKind::Stopped { exit: exit(0) })],
            2 => vec![new_event(run, crashed)],
            _ => {
                vec![new_event(run, crashed), new_event(run, EventKind::RestartScheduled { attempt: 1, delay_ms: 10 })]
            }
        };
    }
    match ask.choice % 4 {
        0 | 1 => vec![new_event(run + 1, EventKind::StartRequested { trigger })],
        2 => vec![new_event(run, EventKind::BudgetReset)],
        _ => vec![new_event(run, EventKind::Unregistered)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_head_that_was_dropped_is_the_same_when_it_is_read_again(steps in steps()) {
        let mut scene = Scene::new();
        for (step, number) in steps.iter().zip(0..) {
            scene = scene.step(step);
            scene.check((0..STREAMS).filter(|place| place % 4 == number % 4));
            scene.check_count();
            if number % 5 == 0 {
                scene.check_folds();
            }
        }
        scene.check(0..STREAMS);
        scene.check_folds();
        scene.writer.write_snapshot();
        scene = scene.step(&Step::Rest);
        scene.check_folds();
    }
}
