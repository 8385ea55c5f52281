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

mod boot;
mod bring_up;
mod change;
mod checkup;
mod disown;
mod known;
mod launch;
mod name;
mod namespace;
mod order;
mod past;
mod plan;
mod recover;
mod replace;
mod sampler;
mod shutdown;
mod survey;
mod table;
mod tender;
mod together;
mod watch;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

pub use self::{
    boot::Boot,
    bring_up::BroughtUp,
    change::Launched,
    launch::{KeptLaunches, Launch, LaunchStore, Unkept, UnreadableLaunch},
    name::{EVERYTHING, INSTANCES_MAX, is_name},
    past::Past,
    together::Part,
};
use self::{
    change::{Changes, with_id},
    name::check,
    order::{ORDERS_WAITING_MAX, Order, What},
    table::{Link, Table, refuse_confusion},
    tender::{Flags, Tender},
};
use crate::{
    adapter::Adapter,
    credentials,
    log::{LogThreads, LogsDir},
    process::{
        Clock, FileLogs, LedgerPlace, ProcessError, ProcessId, ProcessRunner, ProcessState, Recorder, Request,
        RunHolder, Signal, Stream, StreamId, id_query::UnclearId,
    },
};

/// What a supervisor needs from outside.
pub struct Services {
    /// Makes a recorder for one stream. It can load any.
    pub recorder: Box<dyn Fn() -> Box<dyn Recorder> + Send + Sync>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Keeps launches for the next supervisor.
    pub launches: Arc<dyn LaunchStore>,
    /// The place of the ledger, which the markers of runs name. Without one, runs of a copy cannot be told from its own.
    pub place: Option<LedgerPlace>,
    /// Who else keeps outputs open. Without one, what is in a pipe is lost when process and supervisor both end.
    pub holder: Option<Arc<dyn RunHolder>>,
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
    changes: Changes,
    /// Whether everything is being stopped, so that nothing may be started: the tenders look at it, too.
    is_leaving: Arc<AtomicBool>,
}

impl Supervisor {
    /// A supervisor of nothing.
    #[must_use]
    pub fn new(services: Services) -> Self {
        let (table, changes) = (Mutex::default(), Changes::default());
        let inner = Inner { services, table, changes, is_leaving: Arc::default() };
        Self { inner: Arc::new(inner) }
    }

    fn tender(&self, launch: &Arc<Launch>, instance: u32, stream: Option<Stream>, launchable: bool) -> (Tender, Link) {
        let services = &self.inner.services;
        let runner = ProcessRunner::recorded(launch.spec.clone(), instance, (services.recorder)(), stream)
            .with_clock(Arc::clone(&services.clock))
            .kept(services.holder.clone(), services.files())
            .placed(services.place);
        let (orders, received) = mpsc::channel(ORDERS_WAITING_MAX);
        let busy = Arc::new(AtomicBool::new(false));
        let id = StreamId { process_id: launch.spec.id, instance };
        let link = Link { id, orders, view: runner.view(), busy: Arc::clone(&busy) };
        let clock = Arc::clone(&services.clock);
        let adapters = Arc::clone(&services.adapters);
        let flags = Flags { busy, is_leaving: Arc::clone(&self.inner.is_leaving) };
        let tender = Tender::new(runner, Arc::clone(launch), launchable, clock, received, flags, adapters);
        (tender, link)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// Those of [`ProcessRunner::start_by`]; [`ProcessError::NotFound`] when it is not supervised.
    pub async fn start(&self, target: StreamId, request: &Request) -> Result<(), ProcessError> {
        let _no_change = self.steady(target).await?;
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
        let _no_change = self.steady(target).await?;
        self.link(target)?.ask(What::Restart(request.clone())).await
    }

    /// Passes a signal on to an instance with its whole group. It is no stop, whatever the process makes of it.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when it does not run, and for SIGKILL, which is a stop's;
    /// [`ProcessError::SignalFailed`]; [`ProcessError::NotFound`] when it is not supervised.
    pub async fn signal(&self, target: StreamId, signal: Signal, request: &Request) -> Result<(), ProcessError> {
        self.link(target)?.ask(What::Signal(request.clone(), signal)).await
    }

    /// Gives an instance new credentials: by its `reload_signal` where it has one and runs, else by a restart.
    ///
    /// # Errors
    /// Those of [`restart`](Self::restart); [`ProcessError::InvalidState`] when there are no credentials to be had.
    pub async fn reload(&self, target: StreamId, request: &Request) -> Result<Reloaded, ProcessError> {
        let _no_change = self.steady(target).await?;
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

    /// Waits until an instance neither runs nor is due to, and its output is where it belongs.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`]; [`ProcessError::Io`] when its end could not be recorded.
    pub async fn wait(&self, target: StreamId) -> Result<Stream, ProcessError> {
        let link = self.link(target)?;
        let (told, over) = oneshot::channel();
        link.ask(What::Over(told)).await?;
        over.await.map_err(|_| not_found(&target.process_id.to_string()))
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

    /// The process that `text` means, by the rule of [`id_query`](crate::process::id_query).
    ///
    /// # Errors
    /// When it means none that is supervised, several, or one instance of several.
    pub fn find_process(&self, text: &str) -> Result<ProcessId, UnclearId> {
        self.table().find_process(text)
    }

    /// The instances that `text` means, by the same rule; those of all processes for `all`.
    ///
    /// # Errors
    /// When it means none that is supervised, or several processes.
    pub fn find(&self, text: &str) -> Result<Vec<StreamId>, UnclearId> {
        self.table().find(text)
    }

    /// Refuses launches that could not be supervised beside each other.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when an instance of one would have the name of another, or two name the same log
    /// file.
    pub fn check_together(launches: &[Launch]) -> Result<(), ProcessError> {
        let mut pairs = launches.iter().enumerate().flat_map(|(number, one)| {
            let others = launches.iter().skip(number.saturating_add(1));
            others.map(move |other| (one, other))
        });
        pairs.try_for_each(|(one, other)| refuse_confusion(&one.spec, &other.spec))
    }

    /// What applying `launch` would do.
    #[must_use]
    pub fn plan(&self, launch: &Launch) -> Applied {
        let table = self.table();
        let Some(entry) = table.get(&launch.spec.name) else { return Applied::Created };
        let is_same = entry.is_launchable && entry.launch.is_as(&with_id(launch.clone(), entry.launch.spec.id));
        if is_same { Applied::Unchanged } else { Applied::Changed }
    }

    /// Refuses what could not be applied by `request`, whatever else is supervised.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`], in words.
    pub fn check(&self, launch: &Launch, request: &Request) -> Result<(), ProcessError> {
        check(launch)?;
        self.check_record(launch, request)
    }

    /// Refuses a name that belongs to another group than `launch` does. To know early: what counts is the check in
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`].
    pub fn check_owner(&self, launch: &Launch) -> Result<(), ProcessError> {
        self.table().get(&launch.spec.name).map_or(Ok(()), |entry| entry.refuse_others(launch.group.as_deref()))
    }

    /// The instances of a process.
    #[must_use]
    pub fn streams_of(&self, process: ProcessId) -> Vec<StreamId> {
        self.table().by_id(process).map(|entry| entry.links.iter().map(|link| link.id).collect()).unwrap_or_default()
    }

    /// The state of an instance, as recorded.
    #[must_use]
    pub fn state(&self, target: StreamId) -> Option<ProcessState> {
        let view = self.table().link(target).map(|link| link.view.clone())?;
        view.stream().map(|stream| stream.handle.state)
    }

    /// Whether an instance runs, or is due to.
    #[must_use]
    pub fn is_busy(&self, target: StreamId) -> bool {
        self.table().link(target).is_some_and(Link::is_busy)
    }

    /// Whether a process is given credentials.
    #[must_use]
    pub fn has_credentials(&self, process: ProcessId) -> bool {
        self.table().by_id(process).is_some_and(|entry| entry.launch.spec.credentials.is_some())
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

    fn link(&self, target: StreamId) -> Result<Link, ProcessError> {
        self.table().link(target).cloned().ok_or_else(|| not_found(&target.process_id.to_string()))
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

fn not_found(what: &str) -> ProcessError {
    ProcessError::NotFound(what.to_owned())
}

/// A number nobody can foretell, for the jitter of a back-off.
fn random() -> u32 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
