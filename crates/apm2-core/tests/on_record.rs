//! Processes that are no longer supervised: a name that is supervised again continues the stream that is loaded from the record.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use apm2_core::{
    process::{
        Event, EventStore, NewEvent, ProcessError, ProcessId, ProcessSpec, Recorded, Recorder, Requester, Stream,
        StreamId,
    },
    supervisor::{Applied, Boot, LaunchSpec, Services, Supervisor, UnreadableLaunch, Unrecovered},
};

use crate::support::{Log, MemoryLaunches, PATIENCE, begin, in_time, sh, until};

/// An event store of many streams whose loading can be blocked or made to fail.
#[derive(Clone, Default)]
struct Record {
    streams: Arc<Mutex<HashMap<StreamId, Vec<Event>>>>,
    is_refused: Arc<AtomicBool>,
    is_held: Arc<AtomicBool>,
    loads: Arc<AtomicUsize>,
}

impl EventStore for Record {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }

    fn each_stream(&self, _visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        Ok(())
    }
}

impl Recorder for Record {
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
        let version = stream.map_or(0, |stream| stream.version);
        let mut streams = self.streams.lock().unwrap();
        let events = streams.entry(drafts[0].stream).or_default();
        assert_eq!(version, u64::try_from(events.len()).unwrap(), "the expected version is that of the stream");
        let numbered = drafts.into_iter().zip(version + 1..).map(|(draft, version)| draft.numbered(version, version));
        let recorded: Vec<Event> = numbered.collect();
        let recorded = Recorded::fold(stream, recorded)?;
        events.extend(recorded.events.iter().cloned());
        Ok(recorded)
    }

    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>> {
        self.loads.fetch_add(1, Ordering::AcqRel);
        let began = Instant::now();
        while self.is_held.load(Ordering::Acquire) && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        if self.is_refused.load(Ordering::Acquire) {
            return Err(io::Error::other("it cannot be read"));
        }
        Ok(self.replay(stream))
    }
}

impl Record {
    fn replay(&self, id: StreamId) -> Option<Stream> {
        let streams = self.streams.lock().unwrap();
        let (first, rest) = streams.get(&id)?.split_first()?;
        let mut stream = Stream::begin(first).unwrap();
        rest.iter().for_each(|event| stream.apply(event).unwrap());
        Some(stream)
    }

    fn unrecovered(&self, launches: &Arc<MemoryLaunches>) -> Unrecovered {
        let store = Arc::new(self.clone());
        Unrecovered::new(Services { store, launches: launches.clone(), ..Log::default().services(Vec::new()) })
    }

    fn supervisor(&self, launches: &Arc<MemoryLaunches>) -> Supervisor {
        self.unrecovered(launches).without_past()
    }

    /// A supervisor that has run `spec` once and no longer supervises it.
    async fn after_a_run(&self, spec: &ProcessSpec) -> Supervisor {
        let supervisor = self.supervisor(&Arc::default());
        run_once(&supervisor, spec).await;
        in_time(supervisor.remove(spec.id, None, &Requester::default())).await.unwrap();
        supervisor
    }
}

fn first(process_id: ProcessId) -> StreamId {
    StreamId { process_id, instance: 0 }
}

async fn run_once(supervisor: &Supervisor, spec: &ProcessSpec) -> Stream {
    let id = in_time(supervisor.launch(LaunchSpec::new(spec.clone()), &Requester::default())).await.unwrap();
    in_time(supervisor.wait(id)).await.unwrap()
}

/// The same specification with another process id, as sent by a client that does not know the first id.
fn again(spec: &ProcessSpec) -> ProcessSpec {
    ProcessSpec { id: ProcessId::new(), ..spec.clone() }
}

#[tokio::test]
async fn a_name_that_comes_back_goes_on_with_its_record() {
    let (record, spec) = (Record::default(), sh("exit 0"));
    let supervisor = record.after_a_run(&spec).await;
    let last = run_once(&supervisor, &again(&spec)).await;
    assert_eq!((last.id, last.run), (first(spec.id), 2));
    assert_eq!(Some(last), record.replay(first(spec.id)), "law 1");
    assert_eq!(record.loads.load(Ordering::Acquire), 1, "once");
}

#[tokio::test]
async fn an_instance_that_comes_back_goes_on_with_its_record() {
    let (record, spec, by) = (Record::default(), sh("exit 0"), Requester::default());
    let supervisor = record.supervisor(&Arc::default());
    let ran = |instance| StreamId { instance, ..first(spec.id) };
    in_time(supervisor.apply(LaunchSpec::new(ProcessSpec { instances: 3, ..spec.clone() }), &by)).await.unwrap();
    for instances in [1, 3] {
        in_time(supervisor.scale(spec.id, instances, &by)).await.unwrap();
    }
    for instance in 0..3 {
        in_time(supervisor.start(ran(instance), &by)).await.unwrap();
        let last = in_time(supervisor.wait(ran(instance))).await.unwrap();
        assert_eq!(Some(last), record.replay(ran(instance)), "law 1");
    }
    assert_eq!(record.loads.load(Ordering::Acquire), 2, "those that were away");
}

#[tokio::test]
async fn a_name_whose_record_cannot_be_read_is_not_begun_anew_and_comes_back_later() {
    let (record, spec, by) = (Record::default(), sh("exit 0"), Requester::default());
    let supervisor = record.after_a_run(&spec).await;
    let before = record.replay(first(spec.id));
    record.is_refused.store(true, Ordering::Release);
    let refused = in_time(supervisor.apply(LaunchSpec::new(again(&spec)), &by)).await;
    assert!(matches!(refused, Err(ProcessError::Io(_))), "{refused:?}");
    assert!(supervisor.launches().is_empty());
    assert_eq!(record.streams.lock().unwrap().len(), 1, "nothing is begun");
    assert_eq!(record.replay(first(spec.id)), before);
    record.is_refused.store(false, Ordering::Release);
    assert_eq!(run_once(&supervisor, &again(&spec)).await.run, 2);
}

#[tokio::test]
async fn a_record_that_ends_before_what_was_recorded_is_not_gone_on_with() {
    let (record, spec, by) = (Record::default(), sh("exit 0"), Requester::default());
    let supervisor = record.after_a_run(&spec).await;
    record.streams.lock().unwrap().get_mut(&first(spec.id)).unwrap().pop();
    let refused = in_time(supervisor.apply(LaunchSpec::new(again(&spec)), &by)).await;
    let is_meant = |error: &io::Error| error.to_string().contains("ends before event");
    assert!(matches!(&refused, Err(ProcessError::Io(error)) if is_meant(error)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_dropped_while_the_record_is_read_forgets_nothing() {
    let (record, spec, by) = (Record::default(), sh("exit 0"), Requester::default());
    let supervisor = record.after_a_run(&spec).await;
    record.is_held.store(true, Ordering::Release);
    begin(supervisor.apply(LaunchSpec::new(again(&spec)), &by)).await;
    until("it is being loaded", || record.loads.load(Ordering::Acquire) == 1).await;
    record.is_held.store(false, Ordering::Release);
    let last = run_once(&supervisor, &again(&spec)).await;
    assert_eq!((last.id, last.run), (first(spec.id), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_names_at_once_do_not_go_on_with_the_same_record() {
    let (record, spec, by) = (Record::default(), sh("exit 0"), Requester::default());
    let supervisor = record.after_a_run(&spec).await;
    record.is_held.store(true, Ordering::Release);
    let (ours, back, asked) = (supervisor.clone(), LaunchSpec::new(again(&spec)), by.clone());
    let back = tokio::spawn(async move { ours.apply(back, &asked).await });
    until("it is being loaded", || record.loads.load(Ordering::Acquire) == 1).await;
    // This specification has the process id that is recorded for the name of the other specification.
    let other = LaunchSpec::new(ProcessSpec { name: "other".to_owned(), ..spec.clone() });
    assert_eq!(in_time(supervisor.apply(other, &by)).await.unwrap(), Applied::Created);
    record.is_held.store(false, Ordering::Release);
    assert_eq!(in_time(back).await.unwrap().unwrap(), Applied::Created);
    assert_eq!(supervisor.find_process(&spec.name).unwrap(), spec.id);
    assert_ne!(supervisor.find_process("other").unwrap(), spec.id);
}

#[tokio::test]
async fn what_is_launched_and_cannot_be_read_is_left_to_the_next_supervisor() {
    let (record, spec) = (Record::default(), sh("exit 0"));
    let launched = LaunchSpec::new(spec.clone());
    let unreadable = UnreadableLaunch { process: spec.id, why: "it is damaged".to_owned() };
    run_once(&record.supervisor(&Arc::default()), &spec).await;
    record.is_refused.store(true, Ordering::Release);
    for launches in [MemoryLaunches::of(vec![launched.clone()]), MemoryLaunches::of_unreadable(vec![unreadable])] {
        let launches = Arc::new(launches);
        let past = record.replay(first(spec.id)).into_iter().collect();
        let (supervisor, recovery) = in_time(record.unrecovered(&launches).recover(Boot::default(), past)).await;
        let of_history = recovery.problems.iter().filter(|problem| problem.contains("its history cannot be read"));
        assert_eq!(of_history.count(), 1, "{:?}", recovery.problems);
        assert!(supervisor.launches().is_empty());
        assert_eq!(*launches.removed.lock().unwrap(), []);
    }
    record.is_refused.store(false, Ordering::Release);
    let launches = Arc::new(MemoryLaunches::of(vec![launched]));
    let past = record.replay(first(spec.id)).into_iter().collect();
    let (supervisor, recovery) = in_time(record.unrecovered(&launches).recover(Boot::default(), past)).await;
    assert_eq!(recovery.problems, Vec::<String>::new());
    assert_eq!(supervisor.instances(), record.replay(first(spec.id)).into_iter().collect::<Vec<_>>());
}
