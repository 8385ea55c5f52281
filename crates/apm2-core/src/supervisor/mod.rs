//! Many processes under supervision: their launches, instances, restarts, health, and what an earlier supervisor left.
//!
//! ```text
//! orders, ends, timers, health --> Input --> Plan::step (pure) --> Effect --> events recorded --> ProcessHandle::apply
//!                                                                   |
//!                                                                   '--> start, stop, timer
//! ```
//!
//! Each instance has a task of its own (the tender) that waits for one thing to happen, takes one synchronous step, and
//! does what the step says. Nothing is decided that the events do not tell: a supervisor that takes over finds the budget
//! of restarts, the stop under way and the restart that is due in the stream. Running a process once is the
//! [`ProcessRunner`]'s matter, keeping events a [`Recorder`]'s.

mod checkup;
mod launch;
mod order;
mod plan;
mod sampler;
mod table;
mod tender;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

pub use self::launch::{Launch, LaunchStore, Unkept};
use self::{
    order::{ORDERS_WAITING_MAX, Order, What},
    table::{Entry, Link, Table},
    tender::Tender,
};
use crate::{
    adapter::Adapter,
    credentials,
    log::{LogThreads, LogsDir},
    process::{
        Clock, FileLogs, OutputHolder, ProcessError, ProcessId, ProcessRunner, ProcessSpec, Recorder, Request, Resumed,
        Stream, StreamId,
    },
    restart::RestartConfig,
    shutdown::ShutdownManager,
};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// The word that means every process.
pub(crate) const EVERYTHING: &str = "all";

/// Instances of one process.
pub const INSTANCES_MAX: u32 = 1024;

/// What a supervisor needs from outside.
pub struct Services {
    /// Makes a recorder for one stream.
    pub recorder: Box<dyn Fn() -> Box<dyn Recorder> + Send + Sync>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Keeps launches for the next supervisor.
    pub launches: Arc<dyn LaunchStore>,
    /// Who else keeps outputs open. Without one, what is in a pipe is lost when process and supervisor both end.
    pub holder: Option<Arc<dyn OutputHolder>>,
    /// Where output is kept that names no file, and the threads that move it there. Without them no output is kept at all.
    pub logs: Option<(LogsDir, Arc<LogThreads>)>,
    /// Chooses what observes a process.
    pub adapters: AdapterFactory,
}

/// Chooses what observes a process; [`BlackBox`](crate::adapter::BlackBox) does where it chooses nothing.
pub type AdapterFactory = Arc<dyn Fn(&Launch) -> Option<Box<dyn Adapter>> + Send + Sync>;

impl Services {
    fn files(&self) -> Option<FileLogs> {
        let (dir, threads) = self.logs.clone()?;
        Some(FileLogs { dir, threads, meter: Arc::default(), masks: Arc::default() })
    }
}

/// What became of a launch that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is supervised now, and stopped.
    Created,
    /// It replaced what was supervised under its name; what ran runs again, as the new one.
    Changed,
    /// It is what is supervised already.
    Unchanged,
}

/// How credentials were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The process was told by its signal.
    Signalled,
    /// It was started anew, which is what gives it new values.
    Restarted,
}

/// What was found at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Processes that are alive and were taken over.
    pub adopted: u32,
    /// Runs that had ended, or had never begun, and are closed now.
    pub closed: u32,
    /// What could not be put in order, in words.
    pub problems: Vec<String>,
}

/// How the end of everything went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Instances that were stopped.
    pub stopped: u32,
    /// Those that could not be, with the reason.
    pub problems: Vec<String>,
}

/// Supervises processes. Clones share it; every method may be called from any task.
///
/// Has to be made within a tokio runtime with its I/O and time drivers. Dropping the last clone stops nothing.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    services: Services,
    table: Mutex<Table>,
    /// One change of a process at a time.
    changes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Supervisor {
    /// A supervisor of nothing.
    #[must_use]
    pub fn new(services: Services) -> Self {
        let inner = Inner { services, table: Mutex::default(), changes: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Takes up what an earlier supervisor left open, of all these streams. To be called once, before anything else.
    ///
    /// What is alive is adopted, what has ended is closed by what can be learned of it, stops under way are finished, and
    /// restarts that are due are made.
    pub async fn recover(&self, streams: Vec<Stream>) -> Recovery {
        let mut recovery = Recovery::default();
        let launches = self.inner.services.launches.load_all().unwrap_or_else(|error| {
            recovery.problems.push(format!("what processes are launched with cannot be read: {error}"));
            Vec::new()
        });
        let mut by_process: HashMap<ProcessId, Vec<Stream>> = HashMap::new();
        for stream in streams.into_iter().filter(|stream| !stream.id.is_system()) {
            by_process.entry(stream.id.process_id).or_default().push(stream);
        }
        for launch in launches {
            match by_process.remove(&launch.spec.id) {
                Some(streams) => self.take_over(launch, true, streams, &mut recovery).await,
                // The log is the only truth (law 1): what it has never heard of was never supervised.
                None => self.forget(launch.spec.id),
            }
        }
        for streams in by_process.into_values() {
            // What is not launched from here any more is supervised only as long as something of it is open.
            let is_open = streams.iter().any(|stream| stream.intent.is_some() || !stream.handle.state.has_exited());
            match streams.first() {
                Some(first) if is_open => {
                    let launch = Launch::new(first.handle.spec.clone());
                    self.take_over(launch, false, streams, &mut recovery).await;
                }
                _ => self.table().remember(streams),
            }
        }
        self.release_strangers();
        recovery
    }

    /// Lets go of what is held of runs that nobody supervises any more.
    fn release_strangers(&self) {
        let Some(holder) = &self.inner.services.holder else { return };
        // Asked first: what is started meanwhile is then known by its instance.
        let held = holder.held().unwrap_or_default();
        let ours: HashSet<String> = self.table().links().map(|link| link.view.marker()).collect();
        for run in held.iter().filter(|run| !ours.contains(*run)) {
            if let Err(error) = holder.release(run) {
                tracing::debug!(%error, "a run stays held that is over");
            }
        }
    }

    async fn take_over(&self, launch: Launch, is_launchable: bool, streams: Vec<Stream>, recovery: &mut Recovery) {
        let launch = Arc::new(launch);
        let (open, surplus): (Vec<_>, Vec<_>) =
            streams.into_iter().partition(|stream| stream.id.instance < launch.spec.instances);
        let mut of_instance: HashMap<u32, Stream> =
            open.into_iter().map(|stream| (stream.id.instance, stream)).collect();
        self.table().remember(surplus);
        let mut links = Vec::new();
        for instance in 0..launch.spec.instances {
            let stream = of_instance.remove(&instance);
            let (mut tender, link) = self.tender(&launch, instance, stream, is_launchable);
            match tender.resume().await {
                Ok(Resumed::Nothing) => {}
                Ok(Resumed::Adopted) => recovery.adopted = recovery.adopted.saturating_add(1),
                Ok(Resumed::Ended | Resumed::NeverStarted) => recovery.closed = recovery.closed.saturating_add(1),
                Err(error) => recovery.problems.push(format!("{}: {error}", launch.spec.name)),
            }
            tokio::spawn(tender.tend());
            links.push(link);
        }
        self.table().insert(Entry { launch, is_launchable, links });
    }

    fn tender(&self, launch: &Arc<Launch>, instance: u32, stream: Option<Stream>, launchable: bool) -> (Tender, Link) {
        let services = &self.inner.services;
        let runner = ProcessRunner::recorded(launch.spec.clone(), instance, (services.recorder)(), stream)
            .with_clock(Arc::clone(&services.clock))
            .kept(services.holder.clone(), services.files());
        let (orders, received) = mpsc::channel(ORDERS_WAITING_MAX);
        let busy = Arc::new(AtomicBool::new(false));
        let id = StreamId { process_id: launch.spec.id, instance };
        let link = Link { id, orders, view: runner.view(), busy: Arc::clone(&busy) };
        let clock = Arc::clone(&services.clock);
        let adapters = Arc::clone(&services.adapters);
        (Tender::new(runner, Arc::clone(launch), launchable, clock, received, busy, adapters), link)
    }

    /// Supervises what `launch` says from now on, under its name: a new process, stopped, or the one of that name with
    /// what differs changed. What ran and differs is stopped and started again; other instances are only added or taken
    /// away where nothing else differs.
    ///
    /// A name that the history knows continues that history: the id of `launch` then gives way to the one on record.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the name or a setting cannot be; otherwise those of a start and a stop, and
    /// [`ProcessError::Io`] when something is not recorded or kept.
    pub async fn apply(&self, launch: Launch, request: &Request) -> Result<Applied, ProcessError> {
        check(&launch)?;
        let name = launch.spec.name.clone();
        let change = self.change_of(&name);
        let _changing = change.lock().await;
        let existing = {
            let table = self.table();
            table.refuse_confusion(&launch.spec)?;
            table.get(&name).cloned()
        };
        match existing {
            Some(entry) => self.change(&entry, launch, request).await,
            None => {
                let (id, known) = self.table().recall(&name, launch.spec.id);
                self.create(with_id(launch, id), known, request).await?;
                Ok(Applied::Created)
            }
        }
    }

    async fn create(&self, launch: Launch, known: Vec<Stream>, request: &Request) -> Result<(), ProcessError> {
        self.inner.services.launches.save(&launch)?;
        let launch = Arc::new(launch);
        let mut entry = Entry { launch: Arc::clone(&launch), is_launchable: true, links: Vec::new() };
        if let Err(error) = self.add_instances(&mut entry, known.clone(), request).await {
            self.forget(launch.spec.id);
            let of_added: Vec<Stream> = entry.links.iter().filter_map(|link| link.view.stream()).collect();
            let mut table = self.table();
            table.remember(known);
            table.remember(of_added);
            return Err(error);
        }
        self.table().insert(entry);
        Ok(())
    }

    /// Forgets what a process was launched with that is not supervised after all.
    fn forget(&self, process: ProcessId) {
        if let Err(error) = self.inner.services.launches.remove(process) {
            tracing::warn!(%error, "a launch stays kept that is of no use");
        }
    }

    /// Adds the instances that `entry` has not yet, continuing the streams that are known of them.
    async fn add_instances(
        &self,
        entry: &mut Entry,
        known: Vec<Stream>,
        request: &Request,
    ) -> Result<(), ProcessError> {
        let mut known: HashMap<u32, Stream> = known.into_iter().map(|stream| (stream.id.instance, stream)).collect();
        let launch = Arc::clone(&entry.launch);
        let first = u32::try_from(entry.links.len()).unwrap_or(u32::MAX);
        for instance in first..launch.spec.instances {
            let (tender, link) = self.tender(&launch, instance, known.remove(&instance), true);
            tokio::spawn(tender.tend());
            link.ask(What::Respec(Arc::clone(&launch), request.clone())).await?;
            entry.links.push(link);
        }
        self.table().remember(known.into_values().collect());
        Ok(())
    }

    async fn change(&self, entry: &Entry, launch: Launch, request: &Request) -> Result<Applied, ProcessError> {
        let launch = with_id(launch, entry.launch.spec.id);
        if entry.is_launchable && entry.launch.is_as(&launch) {
            return Ok(Applied::Unchanged);
        }
        let is_same_program =
            entry.is_launchable && entry.launch.is_as(&with_instances(&launch, entry.launch.spec.instances));
        let count = usize::try_from(launch.spec.instances).unwrap_or(usize::MAX);
        let (kept, surplus) = entry.links.split_at(count.min(entry.links.len()));
        let ran: Vec<bool> = entry.links.iter().map(Link::is_busy).collect();
        let ran_any = ran.contains(&true);
        let stopped: Vec<&Link> = if is_same_program { surplus.iter().collect() } else { entry.links.iter().collect() };
        stop_all(stopped.into_iter().filter(|link| link.is_busy()), request).await?;
        self.inner.services.launches.save(&launch)?;
        for link in surplus.iter().rev() {
            link.ask(What::Unregister(request.clone())).await?;
            self.table().remember(link.view.stream().into_iter().collect());
        }
        let launch = Arc::new(launch);
        for link in kept {
            link.ask(What::Respec(Arc::clone(&launch), request.clone())).await?;
        }
        let (id, known) = self.table().recall(&launch.spec.name, launch.spec.id);
        debug_assert_eq!(id, launch.spec.id, "a name means one process");
        let mut changed = Entry { launch, is_launchable: true, links: kept.to_vec() };
        self.add_instances(&mut changed, known, request).await?;
        self.table().insert(changed.clone());
        if ran_any {
            start_idle(&changed.links, request).await?;
        }
        Ok(Applied::Changed)
    }

    /// Starts the instances of a process that neither run nor are due to, all at once. Whether there were any.
    ///
    /// # Errors
    /// Those of [`start`](Self::start). After [`ProcessError::SpawnFailed`] the policy has the next word.
    pub async fn start_idle(&self, process: ProcessId, request: &Request) -> Result<bool, ProcessError> {
        let links = self.table().by_id(process).map(|entry| entry.links.clone());
        let links = links.ok_or_else(|| not_found(&process.to_string()))?;
        start_idle(&links, request).await
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// Those of [`ProcessRunner::start_by`]; [`ProcessError::NotFound`] when it is not supervised.
    pub async fn start(&self, target: StreamId, request: &Request) -> Result<(), ProcessError> {
        self.link(target)?.ask(What::Start(request.clone())).await
    }

    /// Stops an instance with its whole group, or cancels the restart that is due. Without a timeout, within its own.
    ///
    /// # Errors
    /// Those of [`ProcessRunner::stop_by`]; [`ProcessError::NotFound`] when it is not supervised.
    pub async fn stop(
        &self,
        target: StreamId,
        timeout: Option<Duration>,
        request: &Request,
    ) -> Result<(), ProcessError> {
        self.link(target)?.ask(What::Stop(request.clone(), timeout)).await
    }

    /// Stops an instance if it runs, and starts it.
    ///
    /// # Errors
    /// Those of [`start`](Self::start) and [`stop`](Self::stop).
    pub async fn restart(&self, target: StreamId, request: &Request) -> Result<(), ProcessError> {
        self.link(target)?.ask(What::Restart(request.clone())).await
    }

    /// Gives an instance new credentials: by its `reload_signal` where it has one and runs, else by a restart.
    ///
    /// # Errors
    /// Those of [`restart`](Self::restart); [`ProcessError::InvalidState`] when there are no credentials to be had.
    pub async fn reload(&self, target: StreamId, request: &Request) -> Result<Reloaded, ProcessError> {
        let link = self.link(target)?;
        let launch = self.table().by_id(target.process_id).map(|entry| Arc::clone(&entry.launch));
        let launch = launch.ok_or_else(|| not_found(&target.process_id.to_string()))?;
        let Some(config) = &launch.spec.credentials else {
            return Err(ProcessError::InvalidState(format!("{} has no credentials", launch.spec.name)));
        };
        // Fetched to be sure that there are any, before anything is stopped for them: a process that runs with old ones is
        // better than none.
        credentials::resolve(launch.credential_source.as_ref(), config, launch.spec.cwd.as_deref())
            .await
            .map_err(|error| ProcessError::InvalidState(error.to_string()))?;
        let is_running = link.view.stream().is_some_and(|stream| stream.handle.state.is_running());
        if is_running && config.reload_signal.is_some() {
            link.ask(What::Rotate(request.clone())).await?;
            return Ok(Reloaded::Signalled);
        }
        link.ask(What::Restart(request.clone())).await?;
        Ok(Reloaded::Restarted)
    }

    /// Changes the number of instances. New ones run if any did; surplus ones are stopped, the last first.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub async fn scale(&self, process: ProcessId, instances: u32, request: &Request) -> Result<(), ProcessError> {
        let found = self.table().by_id(process).map(|entry| Arc::clone(&entry.launch));
        let launch = found.ok_or_else(|| not_found(&process.to_string()))?;
        self.apply(with_instances(&launch, instances), request).await.map(drop)
    }

    /// Stops what runs of a process, and takes it out of supervision.
    ///
    /// # Errors
    /// Those of [`stop`](Self::stop) and [`unregister`](Self::unregister).
    pub async fn remove(&self, process: ProcessId, request: &Request) -> Result<(), ProcessError> {
        let entry = self.table().by_id(process).cloned().ok_or_else(|| not_found(&process.to_string()))?;
        let change = self.change_of(&entry.launch.spec.name);
        let changing = change.lock().await;
        let links = self.table().by_id(process).map(|entry| entry.links.clone()).unwrap_or_default();
        match stop_all(links.iter().filter(|link| link.is_busy()), request).await {
            // It ended by itself a moment before.
            Ok(()) | Err(ProcessError::InvalidState(_)) => {}
            Err(error) => return Err(error),
        }
        for link in &links {
            link.ask(What::Settle).await?;
        }
        self.take_out(process, Some(request), &changing).await
    }

    /// Takes a process out of supervision, and forgets what it was launched with. Its history stays.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] while an instance runs or is due to; [`ProcessError::NotFound`].
    pub async fn unregister(&self, process: ProcessId, request: &Request) -> Result<(), ProcessError> {
        let change = self.change_of_process(process)?;
        let changing = change.lock().await;
        self.take_out(process, Some(request), &changing).await
    }

    /// The same without a word in its history: for a process that was wanted for once.
    ///
    /// # Errors
    /// Those of [`unregister`](Self::unregister).
    pub async fn release(&self, process: ProcessId) -> Result<(), ProcessError> {
        let change = self.change_of_process(process)?;
        let changing = change.lock().await;
        self.take_out(process, None, &changing).await
    }

    async fn take_out(
        &self,
        process: ProcessId,
        request: Option<&Request>,
        _changing: &tokio::sync::MutexGuard<'_, ()>,
    ) -> Result<(), ProcessError> {
        let entry = self.table().by_id(process).cloned().ok_or_else(|| not_found(&process.to_string()))?;
        let name = entry.launch.spec.name.clone();
        if let Some(link) = entry.links.iter().find(|link| link.is_busy()) {
            let state =
                link.view.stream().map_or_else(String::new, |stream| format!(": it is {}", stream.handle.state));
            return Err(ProcessError::InvalidState(format!("cannot unregister {name}{state}")));
        }
        if let Some(request) = request {
            for link in &entry.links {
                link.ask(What::Unregister(request.clone())).await?;
            }
        }
        self.inner.services.launches.remove(process)?;
        let mut table = self.table();
        table.remove(&name);
        table.remember(entry.links.iter().filter_map(|link| link.view.stream()).collect());
        Ok(())
    }

    /// Waits until an instance neither runs nor is due to, and its output is where it belongs.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`]; [`ProcessError::Io`] when its end could not be recorded.
    pub async fn wait(&self, target: StreamId) -> Result<Stream, ProcessError> {
        let link = self.link(target)?;
        link.ask(What::Settle).await?;
        link.view.stream().ok_or_else(|| not_found(&target.process_id.to_string()))
    }

    /// The instances that are supervised, by name and instance.
    #[must_use]
    pub fn instances(&self) -> Vec<Stream> {
        self.table().links().filter_map(|link| link.view.stream()).collect()
    }

    /// What is supervised, by name.
    #[must_use]
    pub fn launches(&self) -> Vec<Arc<Launch>> {
        self.table().launches()
    }

    /// The instances that `text` means: `all`, a name, `name-instance`, or the beginning (4 characters or more) of an id.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] when it means none, or more than one process.
    pub fn find(&self, text: &str) -> Result<Vec<StreamId>, ProcessError> {
        self.table().find(text)
    }

    /// The process that `text` means: a name, or the beginning (4 characters or more) of an id.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] when it means none, or more than one.
    pub fn find_process(&self, text: &str) -> Result<ProcessId, ProcessError> {
        self.table().find_process(text)
    }

    /// What applying `launch` would do.
    #[must_use]
    pub fn plan(&self, launch: &Launch) -> Applied {
        let table = self.table();
        let Some(entry) = table.get(&launch.spec.name) else { return Applied::Created };
        let is_same = entry.is_launchable && entry.launch.is_as(&with_id(launch.clone(), entry.launch.spec.id));
        if is_same { Applied::Unchanged } else { Applied::Changed }
    }

    /// Refuses what could not be applied.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`], in words.
    pub fn check(&self, launch: &Launch) -> Result<(), ProcessError> {
        check(launch)
    }

    /// The instances of a process.
    #[must_use]
    pub fn streams_of(&self, process: ProcessId) -> Vec<StreamId> {
        self.table().by_id(process).map(|entry| entry.links.iter().map(|link| link.id).collect()).unwrap_or_default()
    }

    /// Whether an instance runs, or is due to.
    #[must_use]
    pub fn is_busy(&self, target: StreamId) -> bool {
        self.table().link(target).is_some_and(Link::is_busy)
    }

    /// The pid of an instance that runs.
    #[must_use]
    pub fn pid(&self, target: StreamId) -> Option<u32> {
        self.table().link(target)?.view.stream()?.handle.pid
    }

    /// What people call an instance; its id where it is not supervised.
    #[must_use]
    pub fn display_name(&self, target: StreamId) -> String {
        let stream = self.table().link(target).and_then(|link| link.view.stream());
        stream.map_or_else(|| target.process_id.to_string(), |stream| stream.handle.display_name())
    }

    /// Whether nothing runs and nothing is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.table().links().any(Link::is_busy)
    }

    /// Stops everything in parallel within `deadline`, and cancels what is due.
    pub async fn shutdown(&self, deadline: Duration, request: &Request) -> ShutdownReport {
        let links: Vec<(String, Duration, Link)> = {
            let table = self.table();
            let with_timeout = table.entries().flat_map(|entry| {
                let (name, timeout) = (&entry.launch.spec.name, entry.launch.spec.shutdown.timeout);
                entry.links.iter().map(move |link| (name.clone(), timeout, link.clone()))
            });
            with_timeout.filter(|(_, _, link)| link.is_busy()).collect()
        };
        let manager = ShutdownManager::new(deadline);
        let stops: Vec<_> = links
            .into_iter()
            .map(|(name, timeout, link)| {
                let what = What::Stop(request.clone(), Some(manager.timeout(timeout)));
                (name, tokio::spawn(async move { link.ask(what).await }))
            })
            .collect();
        let mut report = ShutdownReport::default();
        for (name, stop) in stops {
            match stop.await {
                Ok(Ok(())) => report.stopped = report.stopped.saturating_add(1),
                Ok(Err(error)) => report.problems.push(format!("{name}: {error}")),
                Err(error) => report.problems.push(format!("{name}: {error}")),
            }
        }
        report
    }

    fn link(&self, target: StreamId) -> Result<Link, ProcessError> {
        self.table().link(target).cloned().ok_or_else(|| not_found(&target.process_id.to_string()))
    }

    fn change_of_process(&self, process: ProcessId) -> Result<Arc<tokio::sync::Mutex<()>>, ProcessError> {
        let name = self.table().by_id(process).map(|entry| entry.launch.spec.name.clone());
        Ok(self.change_of(&name.ok_or_else(|| not_found(&process.to_string()))?))
    }

    fn change_of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut changes = self.inner.changes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(changes.entry(name.to_owned()).or_default())
    }

    /// Nothing is left half-done under this lock, so a panic of another thread does not matter.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Sends an order and waits for the answer.
    async fn ask(&self, what: What) -> Result<(), ProcessError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ProcessError::InvalidState("it is not supervised any more".to_owned());
        self.orders.send(Order { what, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }
}

async fn stop_all(links: impl Iterator<Item = &Link>, request: &Request) -> Result<(), ProcessError> {
    each(links, |request| What::Stop(request, None), request).await
}

/// See [`Supervisor::start_idle`].
async fn start_idle(links: &[Link], request: &Request) -> Result<bool, ProcessError> {
    let idle: Vec<&Link> = links.iter().filter(|link| !link.is_busy()).collect();
    match each(idle.iter().copied(), What::Start, request).await {
        // Somebody else has started it meanwhile.
        Err(ProcessError::InvalidState(_)) if idle.iter().all(|link| link.is_busy()) => Ok(true),
        started => started.map(|()| !idle.is_empty()),
    }
}

/// Asks all of them at once, and waits for all; the first error is the one to tell.
async fn each(
    links: impl Iterator<Item = &Link>,
    what: impl Fn(Request) -> What,
    request: &Request,
) -> Result<(), ProcessError> {
    let asked: Vec<_> = links
        .map(|link| {
            let (link, what) = (link.clone(), what(request.clone()));
            tokio::spawn(async move { link.ask(what).await })
        })
        .collect();
    let mut result = Ok(());
    for answer in asked {
        let answer = answer.await.unwrap_or_else(|error| Err(ProcessError::Io(std::io::Error::other(error))));
        result = result.and(answer);
    }
    result
}

fn with_id(mut launch: Launch, id: ProcessId) -> Launch {
    launch.spec.id = id;
    launch
}

fn with_instances(launch: &Launch, instances: u32) -> Launch {
    let spec = ProcessSpec { instances, ..launch.spec.clone() };
    Launch { spec, ..launch.clone() }
}

fn not_found(what: &str) -> ProcessError {
    ProcessError::NotFound(what.to_owned())
}

/// Whether a name can be recorded, shown, typed and made into a file name anywhere: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_name_char = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= NAME_CHARS_MAX
        && text.chars().all(is_name_char)
}

fn check(launch: &Launch) -> Result<(), ProcessError> {
    let refuse = |why: String| Err(ProcessError::InvalidState(format!("{:?}: {why}", launch.spec.name)));
    if launch.spec.name == EVERYTHING {
        return refuse("that word means every process".to_owned());
    }
    if !is_name(&launch.spec.name) {
        return refuse(format!(
            "a name has 1 to {NAME_CHARS_MAX} letters, digits, '.', '_' and '-', and begins with a letter or digit"
        ));
    }
    if launch.spec.instances == 0 || launch.spec.instances > INSTANCES_MAX {
        return refuse(format!("{} instances; there may be 1 to {INSTANCES_MAX}", launch.spec.instances));
    }
    let RestartConfig { max_restarts, restart_window, min_uptime, .. } = launch.spec.restart;
    if max_restarts > 0 && (restart_window.is_zero() || min_uptime.is_zero()) {
        return refuse("restart_window and min_uptime are not zero: no restart would ever count".to_owned());
    }
    if let Some(health) = &launch.spec.health {
        health.validate().or_else(refuse)?;
    }
    launch.spec.credentials.as_ref().map_or(Ok(()), |credentials| credentials.validate().or_else(refuse))
}

/// A number nobody can foretell, for the jitter of a back-off.
fn random() -> u32 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
