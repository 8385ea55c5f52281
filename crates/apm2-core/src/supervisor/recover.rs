//! Recovery: adopts the running processes of an earlier supervisor, and records the ends of processes that have ended.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use apm2_model::{
    event::{actor::Actor, origin::EventOrigin},
    policy::boot::Boot,
    spec::{
        id::ProcessId,
        launch::{LaunchSpec, with_instances},
    },
    state::stream::Stream,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    blocking,
    error::ProcessError,
    run::{resume::Resumed, stream_view::StreamView},
    supervisor::{
        Supervisor,
        launch_store::{LaunchStore, StoredLaunches},
        past::Past,
        report::Recovery,
        table::TableEntry,
    },
};

/// How long a recovery waits until the ends of runs are recorded that it found ended. Output that another process holds open,
/// and processes of the group that are left, delay the record of an end.
const ENDS_MAX: Duration = Duration::from_secs(5);

/// Interval of the checks whether they are recorded.
const ENDS_POLL: Duration = Duration::from_millis(2);

/// The recorded streams that a recovery has to process.
#[derive(Default)]
struct Left {
    by_process: HashMap<ProcessId, Vec<Stream>>,
    /// Processes of which a stream cannot be read.
    unread: HashSet<ProcessId>,
    /// Error texts about the unreadable streams.
    problems: Vec<String>,
}

impl Supervisor {
    pub(crate) async fn recover(&self, boot: Boot, past: Past) -> Recovery {
        let mut recovery = Recovery::default();
        let loaded = self.with_launches(|launches| launches.load_all()).await;
        let StoredLaunches { launches, unreadable } = loaded.unwrap_or_else(|error| {
            recovery.problems.push(format!("what processes are launched with cannot be read: {error}"));
            StoredLaunches::default()
        });
        let unreadable: HashSet<ProcessId> = unreadable
            .into_iter()
            .map(|launch| {
                recovery.problems.push(launch.why);
                launch.process
            })
            .collect();
        let launched = launches.iter().map(|launch| launch.spec.id).chain(unreadable.iter().copied()).collect();
        let supervisor = self.clone();
        let left = match blocking::step(move || supervisor.left(past, launched)).await {
            Ok(left) => left,
            Err(error) => {
                recovery.problems.push(format!("the record cannot be read: {error}"));
                return recovery;
            }
        };
        let Left { mut by_process, unread, problems } = left;
        recovery.problems.extend(problems);
        // Before the first start: an agent may have met a limit of the account of another one.
        by_process.values().flatten().for_each(|stream| self.inner.accounts.note(stream));
        let mut taken_over = JoinSet::new();
        for launch in launches.into_iter().filter(|launch| !unread.contains(&launch.spec.id)) {
            match by_process.remove(&launch.spec.id) {
                // The earlier supervisor was about to end the supervision of the process.
                Some(streams) if streams.iter().all(|stream| stream.unregistered) => {
                    self.table().remember(streams);
                    self.forget(launch.spec.id).await;
                }
                Some(streams) => {
                    let supervisor = self.clone();
                    taken_over.spawn(blocking::step(move || supervisor.take_over(launch, true, streams, boot)));
                }
                // A process with a launch specification but without any event was never supervised.
                None => self.forget(launch.spec.id).await,
            }
        }
        for (process, streams) in by_process {
            // A process without a launch specification is supervised only while it has an open run. A process whose
            // launch specification exists but cannot be read stays supervised.
            let is_wanted = unreadable.contains(&process) && streams.iter().any(|stream| !stream.unregistered);
            match streams.first() {
                Some(first) if is_wanted || streams.iter().any(Stream::is_open) => {
                    let launch = LaunchSpec::new(first.handle.spec.clone());
                    let supervisor = self.clone();
                    taken_over.spawn(blocking::step(move || supervisor.take_over(launch, false, streams, boot)));
                }
                _ => self.table().remember(streams),
            }
        }
        let mut ended = Vec::new();
        while let Some(taken_over) = taken_over.join_next().await {
            match taken_over.map_err(io::Error::other).flatten() {
                Ok((of_one, ended_of_one)) => {
                    recovery.add(of_one);
                    ended.extend(ended_of_one);
                }
                Err(error) => recovery.problems.push(format!("the recovery of a process broke off: {error}")),
            }
        }
        let supervisor = self.clone();
        if let Err(error) = blocking::step(move || supervisor.release_strangers()).await {
            recovery.problems.push(format!("what is held of other runs was not released: {error}"));
        }
        wait_for_ends(ended).await;
        recovery
    }

    /// Adds the unsupervised instances to the table, and returns the streams that may have to be recovered. Blocks on
    /// the disk.
    fn left(&self, past: Past, launched: HashSet<ProcessId>) -> Left {
        let Past { whole, known, .. } = past;
        self.table().know(known);
        let mut left = Left::default();
        for stream in whole {
            left.by_process.entry(stream.id.process_id).or_default().push(stream);
        }
        let taken_up: HashSet<ProcessId> = left.by_process.keys().copied().chain(launched).collect();
        for process in taken_up {
            // The streams of these instances are not held completely, because none of them has an open run.
            let known = self.table().known_of(process);
            match self.load(&known) {
                Ok(streams) if streams.is_empty() => {}
                Ok(streams) => left.by_process.entry(process).or_default().extend(streams),
                Err(error) => {
                    left.by_process.remove(&process);
                    left.unread.insert(process);
                    left.problems
                        .push(format!("{process} is not supervised, since its history cannot be read: {error}"));
                }
            }
        }
        left
    }

    /// Releases the stored file descriptors of runs that do not belong to a supervised instance.
    fn release_strangers(&self) {
        let Some(fd_store) = &self.inner.services.fd_store else { return };
        // The list of stored runs is read before the table. A run that is started in between is therefore found in the
        // table.
        let held = fd_store.held().unwrap_or_default();
        let ours: HashSet<String> = self.table().handles().map(|handle| handle.view.marker()).collect();
        for run in held.iter().filter(|run| !ours.contains(*run)) {
            if let Err(error) = fd_store.release(run) {
                tracing::debug!(%error, "a run stays held that is over");
            }
        }
    }

    /// Returns also the instances whose runs have ended, with the numbers of these runs. Their ends are being recorded.
    fn take_over(
        &self,
        mut launch: LaunchSpec,
        is_launchable: bool,
        streams: Vec<Stream>,
        boot: Boot,
    ) -> (Recovery, Vec<(StreamView, u64)>) {
        let (mut recovery, mut ended) = (Recovery::default(), Vec::new());
        // The earlier supervisor was about to lower the number of instances. An instance with an open run is supervised
        // nevertheless; the number can be lowered again later.
        let open = streams.iter().filter(|stream| stream.is_open()).map(|stream| stream.id.instance.saturating_add(1));
        if let Some(instances) = open.max().filter(|instances| *instances > launch.spec.instances) {
            launch = with_instances(&launch, instances);
        }
        let launch = Arc::new(launch);
        let (ours, surplus): (Vec<_>, Vec<_>) =
            streams.into_iter().partition(|stream| stream.id.instance < launch.spec.instances);
        let mut of_instance: HashMap<u32, Stream> =
            ours.into_iter().map(|stream| (stream.id.instance, stream)).collect();
        self.table().remember(surplus);
        let mut handles = Vec::new();
        for instance in 0..launch.spec.instances {
            let (mut actor, handle) = self.actor(&launch, instance, of_instance.remove(&instance), is_launchable);
            // The earlier supervisor may have ended while it was adding the instance, so the instance is registered if
            // it has no stream.
            let registered = actor.register(&EventOrigin::of(Actor::Recovery));
            let resumed = registered.and_then(|()| actor.resume(boot));
            if matches!(resumed, Ok(Resumed::Ended)) {
                ended.push((handle.view.clone(), handle.view.run()));
            }
            recovery.note(&launch, resumed);
            tokio::spawn(actor.run());
            handles.push(handle);
        }
        self.table().insert(TableEntry { launch, is_launchable, handles });
        (recovery, ended)
    }

    /// Removes the launch specification of a process that is not supervised.
    pub(crate) async fn forget(&self, process: ProcessId) {
        if let Err(error) = self.with_launches(move |launches| launches.remove(process)).await {
            tracing::warn!(%error, "a launch stays kept that is of no use");
        }
    }

    /// Saves a launch specification for the next supervisor.
    pub(crate) async fn save(&self, launch: &Arc<LaunchSpec>) -> Result<(), ProcessError> {
        let launch = Arc::clone(launch);
        Ok(self.with_launches(move |launches| launches.save(&launch)).await?)
    }

    /// Calls the launch store on a blocking thread.
    pub(crate) async fn with_launches<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn LaunchStore) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let launches = Arc::clone(&self.inner.services.launches);
        blocking::step(move || ask(&*launches)).await.flatten()
    }
}

/// Waits until the ends of these runs are recorded: until then, a request to start one of them would find it running. The
/// restart policy may have begun the next run by then.
async fn wait_for_ends(ended: Vec<(StreamView, u64)>) {
    let deadline = Instant::now() + ENDS_MAX;
    for (view, run) in ended {
        while view.is_open(run) && Instant::now() < deadline {
            sleep(ENDS_POLL).await;
        }
    }
}

impl Recovery {
    fn note(&mut self, launch: &LaunchSpec, resumed: Result<Resumed, ProcessError>) {
        match resumed {
            Ok(Resumed::Nothing) => {}
            Ok(Resumed::Adopted) => self.adopted = self.adopted.saturating_add(1),
            Ok(Resumed::Ended | Resumed::NeverStarted) => self.closed = self.closed.saturating_add(1),
            Err(error) => self.problems.push(format!("{}: {error}", launch.spec.name)),
        }
    }

    fn add(&mut self, other: Self) {
        self.adopted = self.adopted.saturating_add(other.adopted);
        self.closed = self.closed.saturating_add(other.closed);
        self.problems.extend(other.problems);
    }
}
