//! Supervision of many processes: launch specifications, instances, restarts, health checks, recovery.
//!
//! ```text
//! commands, ends, timers, health --> PlanInput --> Plan::step (pure) --> Effect --> events recorded --> ProcessHandle::apply
//!                                                                   |
//!                                                                   '--> start, stop, timer
//! ```
//!
//! Each instance has a task of its own (the instance actor). The task waits for one input, takes one synchronous step,
//! and carries out the effects of the step. Each decision follows from recorded events: the next supervisor finds the
//! restart budget, the stop in progress and the scheduled restart in the stream. [`ProcessRunner`] handles one run of a
//! process. A [`Recorder`](apm2_model::recorder::Recorder) stores the events.

mod accounts;
pub(crate) mod actor;
pub(crate) mod agent_session;
mod agent_watch;
pub(crate) mod bring_up;
pub(crate) mod builder;
pub(crate) mod change;
pub(crate) mod changes;
pub(crate) mod command;
pub(crate) mod commands;
mod conflict;
pub(crate) mod disown;
pub(crate) mod error;
pub(crate) mod health_task;
pub(crate) mod instance_handle;
pub(crate) mod known;
pub(crate) mod launch_store;
pub(crate) mod namespace;
pub(crate) mod past;
pub(crate) mod pending_start;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod recover;
pub(crate) mod replace;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod sampler;
pub(crate) mod services;
pub(crate) mod shutdown;
pub(crate) mod start;
pub(crate) mod start_check;
pub(crate) mod starts;
pub(crate) mod step;
pub(crate) mod survey;
pub(crate) mod table;
pub(crate) mod together;
pub(crate) mod unrecovered;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    id_query::UnclearId,
    signal::Signal,
    spec::{id::ProcessId, launch::with_id, validate::check},
    state::{ProcessState, stream::Stream},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    credentials,
    error::ProcessError,
    run::{event_feed::EventFeed, runner::ProcessRunner},
    supervisor::{
        accounts::Accounts,
        actor::{Flags, InstanceActor},
        changes::Changes,
        command::{COMMANDS_WAITING_MAX, InstanceCommand},
        conflict::{possible_conflicts, refuse_conflict},
        error::not_found,
        instance_handle::InstanceHandle,
        starts::Starts,
        table::SupervisorTable,
    },
};

pub use apm2_model::{
    policy::boot::Boot,
    spec::{
        launch::LaunchSpec,
        name::{EVERYTHING, check_name},
        validate::INSTANCES_MAX,
    },
};

pub use crate::{
    run::event_feed::{EVENTS_WAITING_MAX, EventSubscription, MissedEvents},
    supervisor::{
        builder::SupervisorBuilder,
        launch_store::{LaunchStore, NoLaunchStore, StoredLaunches, UnreadableLaunch},
        past::Past,
        process::SupervisedProcess,
        report::{Applied, BroughtUp, Launched, Recovery, Reloaded, ShutdownReport},
        services::{AdapterFactory, Services},
        together::Part,
        unrecovered::Unrecovered,
    },
};

/// Supervises processes. All clones refer to the same supervisor. Every method may be called from any task.
///
/// Created by [`builder`](Self::builder), or by [`Unrecovered`] for settings that the builder does not have. Dropping
/// the last clone stops no process.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    services: Services,
    table: Mutex<SupervisorTable>,
    changes: Changes,
    /// Sends recorded events to subscribers.
    feed: EventFeed,
    /// Closed when the supervisor shuts down, so that no process is started any more. Instance actors check it before
    /// each start.
    starts: Arc<Starts>,
    /// The usage limits of the accounts of agents.
    accounts: Arc<Accounts>,
}

impl Supervisor {
    /// A supervisor without processes, before the recovery.
    fn new(services: Services) -> Self {
        let (table, changes) = (Mutex::default(), Changes::default());
        let inner = Inner {
            services,
            table,
            changes,
            feed: EventFeed::default(),
            starts: Arc::default(),
            accounts: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn actor(
        &self,
        launch: &Arc<LaunchSpec>,
        instance: u32,
        stream: Option<Stream>,
        launchable: bool,
    ) -> (InstanceActor, InstanceHandle) {
        let services = &self.inner.services;
        let spec = Arc::clone(launch).into();
        let runner = ProcessRunner::launched(spec, instance, services.store.recorder(), stream)
            .with_clock(Arc::clone(&services.clock))
            .published(self.inner.feed.clone())
            .with_output(services.fd_store.clone(), services.files())
            .placed(services.place);
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let busy = Arc::new(AtomicBool::new(false));
        let id = StreamId { process_id: launch.spec.id, instance };
        let handle = InstanceHandle { id, commands, view: runner.view(), busy: Arc::clone(&busy) };
        let clock = Arc::clone(&services.clock);
        let adapters = Arc::clone(&services.adapters);
        let flags = Flags { busy, starts: Arc::clone(&self.inner.starts), accounts: Arc::clone(&self.inner.accounts) };
        let actor = InstanceActor::new(runner, Arc::clone(launch), launchable, clock, received, flags, adapters);
        (actor, handle)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// Those of [`ProcessRunner::start_by`]; [`ProcessError::NotFound`] when the instance is not supervised.
    pub async fn start(&self, target: StreamId, request: &Requester) -> Result<(), ProcessError> {
        let _no_change = self.steady(target).await?;
        self.handle(target)?.ask(InstanceCommand::Start(request.clone())).await
    }

    /// Stops an instance with its whole process group, or cancels a scheduled restart. If `timeout` is `None`, the stop
    /// timeout of the specification applies.
    ///
    /// # Errors
    /// Those of [`ProcessRunner::stop_by`]; [`ProcessError::NotFound`] when the instance is not supervised.
    pub async fn stop(
        &self,
        target: StreamId,
        timeout: Option<Duration>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        self.handle(target)?.ask(InstanceCommand::Stop(request.clone(), timeout)).await
    }

    /// Stops an instance if it runs, and starts it. If a check shows that the start would fail, the instance is not
    /// stopped.
    ///
    /// # Errors
    /// Those of [`start`](Self::start) and [`stop`](Self::stop); [`ProcessError::InvalidState`] when the start would
    /// fail.
    pub async fn restart(&self, target: StreamId, request: &Requester) -> Result<(), ProcessError> {
        let _no_change = self.steady(target).await?;
        let handle = self.handle(target)?;
        self.check_restart(&handle, request).await?;
        handle.ask(InstanceCommand::Restart(request.clone())).await
    }

    /// Sends a signal to the process group of an instance. The signal does not count as a requested stop, even if the
    /// process ends.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the instance does not run, and for SIGKILL, which only a stop may send;
    /// [`ProcessError::SignalFailed`] when the kernel refused the signal; [`ProcessError::NotFound`] when the instance
    /// is not supervised.
    pub async fn signal(&self, target: StreamId, signal: Signal, request: &Requester) -> Result<(), ProcessError> {
        self.handle(target)?.ask(InstanceCommand::Signal(request.clone(), signal)).await
    }

    /// Replaces the credentials of an instance. If the instance runs and has a `reload_signal`, the signal is sent;
    /// otherwise, the instance is restarted.
    ///
    /// # Errors
    /// Those of [`restart`](Self::restart); [`ProcessError::InvalidState`] when the instance has no credentials, or
    /// they cannot be fetched.
    pub async fn reload(&self, target: StreamId, request: &Requester) -> Result<Reloaded, ProcessError> {
        let _no_change = self.steady(target).await?;
        let handle = self.handle(target)?;
        let launch = self.table().by_id(target.process_id).map(|entry| Arc::clone(&entry.launch));
        let launch = launch.ok_or_else(|| not_found(&target.process_id.to_string()))?;
        let Some(config) = &launch.spec.credentials else {
            return Err(ProcessError::InvalidState(format!("{} has no credentials", launch.spec.name)));
        };
        let is_running = handle.view.stream().is_some_and(|stream| stream.handle.state.is_running());
        if is_running && config.reload_signal.is_some() {
            // The credentials are fetched first, to make sure that they are available. A process with old credentials
            // is better than no process.
            credentials::resolve(launch.credential_source.as_ref(), config, launch.spec.cwd.as_deref())
                .await
                .map_err(|error| ProcessError::InvalidState(error.to_string()))?;
            handle.ask(InstanceCommand::Rotate(request.clone())).await?;
            return Ok(Reloaded::Signalled);
        }
        self.check_start(&launch, request).await?;
        handle.ask(InstanceCommand::Restart(request.clone())).await?;
        Ok(Reloaded::Restarted)
    }

    /// Waits until an instance does not run, no restart of it is due, and its output is written.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`]; [`ProcessError::Io`] when the end of the instance could not be recorded.
    pub async fn wait(&self, target: StreamId) -> Result<Stream, ProcessError> {
        let handle = self.handle(target)?;
        let (told, over) = oneshot::channel();
        handle.ask(InstanceCommand::Over(told)).await?;
        over.await.map_err(|_| not_found(&target.process_id.to_string()))
    }

    /// The supervised instances, sorted by name and instance number.
    #[must_use]
    pub fn instances(&self) -> Vec<Stream> {
        self.table().handles().filter_map(|handle| handle.view.stream()).collect()
    }

    /// The supervised processes, sorted by name.
    #[must_use]
    pub fn launches(&self) -> Vec<Arc<LaunchSpec>> {
        self.table().launches()
    }

    /// The process that `text` denotes, by the rule of [`id_query`](apm2_model::id_query).
    ///
    /// # Errors
    /// The text denotes no supervised process, several processes, or one instance of a process with several instances.
    pub fn find_process(&self, text: &str) -> Result<ProcessId, UnclearId> {
        self.table().find_process(text)
    }

    /// The instances that `text` denotes, by the rule of [`id_query`](apm2_model::id_query). The text `all` denotes all
    /// instances.
    ///
    /// # Errors
    /// The text denotes no supervised process, or several processes.
    pub fn find(&self, text: &str) -> Result<Vec<StreamId>, UnclearId> {
        self.table().find(text)
    }

    /// Refuses launches that cannot be supervised at the same time.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when instances of two launches would have the same name, or two launches have the
    /// same log file.
    pub fn check_together(launches: &[LaunchSpec]) -> Result<(), ProcessError> {
        let by_name = launches.iter().map(|launch| (launch.spec.name.as_str(), &launch.spec)).collect();
        launches.iter().try_for_each(|LaunchSpec { spec, .. }| {
            possible_conflicts(spec, &by_name).try_for_each(|other| refuse_conflict(spec, other))
        })
    }

    /// The result that [`apply`](Self::apply) would have for `launch`. Changes nothing.
    #[must_use]
    pub fn plan(&self, launch: &LaunchSpec) -> Applied {
        let table = self.table();
        let Some(entry) = table.get(&launch.spec.name) else { return Applied::Created };
        let is_same = entry.is_launchable && entry.launch.is_as(&with_id(launch.clone(), entry.launch.spec.id));
        if is_same { Applied::Unchanged } else { Applied::Changed }
    }

    /// Refuses a launch that could not be applied, whichever other processes are supervised.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`].
    pub fn check(&self, launch: &LaunchSpec, request: &Requester) -> Result<(), ProcessError> {
        check(launch).map_err(ProcessError::InvalidState)?;
        self.check_record(launch, request)
    }

    /// Refuses a name that belongs to another group than `launch` does. Gives an early error; [`apply`](Self::apply)
    /// makes the same check again.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`].
    pub fn check_owner(&self, launch: &LaunchSpec) -> Result<(), ProcessError> {
        self.table().get(&launch.spec.name).map_or(Ok(()), |entry| entry.refuse_others(launch.group.as_deref()))
    }

    /// The instances of a process.
    #[must_use]
    pub fn streams_of(&self, process: ProcessId) -> Vec<StreamId> {
        self.table()
            .by_id(process)
            .map(|entry| entry.handles.iter().map(|handle| handle.id).collect())
            .unwrap_or_default()
    }

    /// The recorded state of an instance; `None` if the instance is not supervised.
    #[must_use]
    pub fn state(&self, target: StreamId) -> Option<ProcessState> {
        let view = self.table().handle(target).map(|handle| handle.view.clone())?;
        view.stream().map(|stream| stream.handle.state)
    }

    /// Whether an instance, an AI agent, waits for the reset of a usage limit before it is started.
    #[must_use]
    pub fn waits_for_limit(&self, target: StreamId) -> bool {
        self.table().handle(target).is_some_and(bring_up::waits_for_limit)
    }

    /// Whether an instance runs or is about to be started.
    #[must_use]
    pub fn is_busy(&self, target: StreamId) -> bool {
        self.table().handle(target).is_some_and(InstanceHandle::is_busy)
    }

    /// Whether the specification of a process contains credentials.
    #[must_use]
    pub fn has_credentials(&self, process: ProcessId) -> bool {
        self.table().by_id(process).is_some_and(|entry| entry.launch.spec.credentials.is_some())
    }

    /// The display name of an instance; its id if the instance is not supervised.
    #[must_use]
    pub fn display_name(&self, target: StreamId) -> String {
        let stream = self.table().handle(target).and_then(|handle| handle.view.stream());
        stream.map_or_else(|| target.process_id.to_string(), |stream| stream.handle.display_name())
    }

    /// Whether no instance runs and no start or restart is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.table().handles().any(InstanceHandle::is_busy)
    }

    fn handle(&self, target: StreamId) -> Result<InstanceHandle, ProcessError> {
        self.table().handle(target).cloned().ok_or_else(|| not_found(&target.process_id.to_string()))
    }

    /// Poisoning of the lock is ignored, because no panic can leave the table inconsistent.
    fn table(&self) -> MutexGuard<'_, SupervisorTable> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
