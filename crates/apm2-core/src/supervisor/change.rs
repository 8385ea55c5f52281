//! Changes of supervised processes. Only one change of a process is made at a time, and no command runs in the middle
//! of a change.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    spec::{
        ProcessSpec,
        id::ProcessId,
        launch::{LaunchSpec, with_id, with_instances},
        validate::check,
    },
};
use tokio::{sync::OwnedRwLockReadGuard, time::timeout};

use crate::{
    blocking,
    error::ProcessError,
    os::procfs::{ProcessStatus, status_of},
    supervisor::{
        Supervisor,
        command::InstanceCommand,
        error::{not_found, values_unknown},
        instance_handle::InstanceHandle,
        report::{Applied, Launched},
        table::TableEntry,
        together::{ChangeTurn, Changing},
    },
};

/// How long a change waits for the end of an ended run to be recorded and for its output to be written.
const SEE_THROUGH_MAX: Duration = Duration::from_secs(1);

/// A claim of a change in progress: other changes cannot use the same names and log files. The claim ends when this
/// value is dropped.
struct Claim {
    supervisor: Supervisor,
    name: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.supervisor.table().end_claim(&self.name);
    }
}

impl Supervisor {
    /// Supervises the process in `launch` from now on. If no process has its name, a new process is added, in the
    /// stopped state. Otherwise, the process with this name is changed: if the program or its settings differ, the
    /// running instances are stopped and started again; if only the number of instances differs, instances are added or
    /// removed.
    ///
    /// If the recorded history has a process with this name, the history continues: the recorded process id then
    /// replaces the id in `launch`.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`] when the name belongs to another group than `launch` does;
    /// [`ProcessError::InvalidState`] when the name or a setting is not allowed; [`ProcessError::Io`] when an event or
    /// the launch specification cannot be stored; otherwise the errors of a start and a stop.
    pub async fn apply(&self, launch: LaunchSpec, request: &Requester) -> Result<Applied, ProcessError> {
        let _changing = self.changing(&launch.spec.name).await;
        self.apply_locked(Box::new(launch), request, &mut ChangeTurn::alone()).await
    }

    /// Supervises the process in `launch` and starts its first instance. Refused if a process with the same name runs
    /// or belongs to another group.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`], which describes the existing process; those of [`apply`](Self::apply) and
    /// [`start`](Self::start). After [`ProcessError::SpawnFailed`] the process is supervised nevertheless.
    pub async fn launch(&self, launch: LaunchSpec, request: &Requester) -> Result<StreamId, ProcessError> {
        let Launched { id, failure, .. } = self.launch_with(launch, None, request, &|| true).await?;
        failure.map_or(Ok(id), Err)
    }

    /// Like [`launch`](Self::launch), but the first run of the instance has the standard input `stdin`. Later runs have
    /// the standard input of the specification, because data that was read from `stdin` cannot be read again.
    /// `is_wanted` is called immediately before the start.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch) except [`ProcessError::SpawnFailed`]; [`ProcessError::InvalidState`] when
    /// `is_wanted` returns false. The process is then supervised, but not started.
    pub async fn launch_with(
        &self,
        launch: LaunchSpec,
        stdin: Option<OwnedFd>,
        request: &Requester,
        is_wanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Launched, ProcessError> {
        let name = launch.spec.name.clone();
        let _changing = self.changing(&name).await;
        let present = self.table().get(&name).cloned();
        if let Some(present) = &present {
            wait_idle_briefly(present).await;
        }
        let group = launch.group.as_deref();
        if let Some(present) = present.filter(|present| present.is_busy() || !present.is_owned_by(group)) {
            return Err(ProcessError::AlreadyExists(present.description()));
        }
        self.apply_locked(Box::new(launch), request, &mut ChangeTurn::alone()).await?;
        let handle = self.table().get(&name).and_then(|entry| entry.handles.first()).cloned();
        let handle = handle.ok_or_else(|| not_found(&name))?;
        if !is_wanted() {
            return Err(ProcessError::InvalidState(format!("{name} is not wanted any more")));
        }
        if let Some(stdin) = stdin {
            handle.ask(InstanceCommand::Input(stdin)).await?;
        }
        // The instance does not run, and the lock prevents other callers from starting it.
        let run = handle.view.stream().map_or(0, |stream| stream.run).saturating_add(1);
        let failure = match handle.ask(InstanceCommand::Start(request.clone())).await {
            Ok(()) => None,
            Err(failure @ ProcessError::SpawnFailed(_)) => Some(failure),
            Err(error) => return Err(error),
        };
        Ok(Launched { id: handle.id, run, failure })
    }

    /// Changes the number of instances. New instances are started if any instance ran. Surplus instances are stopped,
    /// the last one first. Nothing is recorded if there are that many already.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub async fn scale(
        &self,
        process: ProcessId,
        instances: u32,
        request: &Requester,
    ) -> Result<Applied, ProcessError> {
        let _changing = self.changing(&self.name_of(process)?).await;
        let found = self.table().by_id(process).map(|entry| (Arc::clone(&entry.launch), entry.is_launchable));
        let (launch, is_launchable) = found.ok_or_else(|| not_found(&process.to_string()))?;
        if !is_launchable {
            // Only the redacted specification in the record is left, without the values of environment variables.
            return Err(values_unknown(&launch));
        }
        self.apply_locked(Box::new(with_instances(&launch, instances)), request, &mut ChangeTurn::alone()).await
    }

    /// Stops the running instances of a process, and ends its supervision. Its recorded history stays. If `group` is
    /// given, the process must belong to this group.
    ///
    /// # Errors
    /// Those of [`stop`](Self::stop) and [`unregister`](Self::unregister); [`ProcessError::NotFound`] when the process
    /// belongs to another group.
    pub async fn remove(
        &self,
        process: ProcessId,
        group: Option<&str>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        let changing = self.changing(&self.name_of(process)?).await;
        self.remove_locked(&changing, process, group, request).await
    }

    /// Like [`remove`](Self::remove), for a caller that holds the lock of the name.
    pub(crate) async fn remove_locked(
        &self,
        _changing: &Changing,
        process: ProcessId,
        group: Option<&str>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        let handles = self.entry_of(process, group)?.handles;
        stop_all(handles.iter().filter(|handle| handle.is_busy()), request).await?;
        for handle in &handles {
            handle.ask(InstanceCommand::WaitIdle).await?;
        }
        self.end_supervision(process, || InstanceCommand::Unregister(request.clone())).await
    }

    /// Ends the supervision of a process, and removes its launch specification. Its history stays.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] while an instance runs or is about to be started; [`ProcessError::NotFound`].
    pub async fn unregister(&self, process: ProcessId, request: &Requester) -> Result<(), ProcessError> {
        let _changing = self.changing(&self.name_of(process)?).await;
        self.end_supervision(process, || InstanceCommand::Unregister(request.clone())).await
    }

    /// Like [`unregister`](Self::unregister), but records no event; for one-off `run` processes. The process must
    /// belong to `group`.
    ///
    /// # Errors
    /// Those of [`unregister`](Self::unregister); [`ProcessError::NotFound`] when the process belongs to another group.
    pub async fn release(&self, process: ProcessId, group: &str) -> Result<(), ProcessError> {
        let _changing = self.changing(&self.name_of(process)?).await;
        self.entry_of(process, Some(group))?;
        self.end_supervision(process, || InstanceCommand::Release).await
    }

    async fn end_supervision(
        &self,
        process: ProcessId,
        command: impl Fn() -> InstanceCommand,
    ) -> Result<(), ProcessError> {
        let entry = self.table().by_id(process).cloned().ok_or_else(|| not_found(&process.to_string()))?;
        let name = &entry.launch.spec.name;
        if let Some(handle) = entry.handles.iter().find(|handle| handle.is_busy()) {
            let state =
                handle.view.stream().map_or_else(String::new, |stream| format!(": it is {}", stream.handle.state));
            return Err(ProcessError::InvalidState(format!("cannot unregister {name}{state}")));
        }
        let mut left = entry.handles.clone();
        let taken_out = self.take_out_last(&mut left, 0, command).await;
        if let Err(error) = taken_out {
            // The remaining instances stay supervised.
            self.shrink(&entry, left).await;
            return Err(error);
        }
        self.table().remove(name);
        Ok(self.with_launches(move |launches| launches.remove(process)).await?)
    }

    /// The table entry of a process. If `group` is given, the process must belong to this group.
    fn entry_of(&self, process: ProcessId, group: Option<&str>) -> Result<TableEntry, ProcessError> {
        let entry = self.table().by_id(process).cloned();
        let is_meant = |entry: &TableEntry| group.is_none_or(|group| entry.launch.group.as_deref() == Some(group));
        entry.filter(is_meant).ok_or_else(|| not_found(&process.to_string()))
    }

    /// Claims the name, the instance names and the log files of `spec` until the guard is dropped. Another process may
    /// still use them if the same set of changes changes this process, too.
    fn claim(&self, spec: &ProcessSpec, turn: &ChangeTurn) -> Result<Claim, ProcessError> {
        self.table().claim(spec, |name| turn.is_with(name))?;
        Ok(Claim { supervisor: self.clone(), name: spec.name.clone() })
    }

    /// Like [`apply`](Self::apply), for a caller that holds the lock of the name.
    ///
    /// The later steps are boxed, so that the memory of a change that waits at the barrier is small: one call changes
    /// any number of processes at the same time.
    pub(crate) async fn apply_locked(
        &self,
        launch: Box<LaunchSpec>,
        request: &Requester,
        turn: &mut ChangeTurn,
    ) -> Result<Applied, ProcessError> {
        check(&launch).map_err(ProcessError::InvalidState)?;
        self.check_leaving()?;
        let name = launch.spec.name.clone();
        let existing = self.table().get(&name).cloned();
        let launch = match &existing {
            Some(entry) => {
                entry.refuse_others(launch.group.as_deref())?;
                Box::new(with_id(*launch, entry.launch.spec.id))
            }
            None => launch,
        };
        let _claim = self.claim(&launch.spec, turn)?;
        self.check_record(&launch, request)?;
        match existing {
            Some(entry) => Box::pin(self.replace(&entry, launch, request, turn)).await,
            None => {
                turn.all_stopped().await;
                self.check_let_go(&launch.spec)?;
                let id = self.table().recall(&name, launch.spec.id);
                Box::pin(self.create(Box::new(with_id(*launch, id)), request)).await?;
                Ok(Applied::Created)
            }
        }
    }

    /// Returns an error when `spec` has a name or a file that another process still uses. A process still uses them after
    /// its change to other ones has failed.
    pub(crate) fn check_let_go(&self, spec: &ProcessSpec) -> Result<(), ProcessError> {
        self.table().check_claim(spec)
    }

    async fn create(&self, launch: Box<LaunchSpec>, request: &Requester) -> Result<(), ProcessError> {
        let left = self.load_left(&launch, 0).await?;
        let mut entry = TableEntry { launch: Arc::from(launch), is_launchable: true, handles: Vec::new() };
        let saved = self.save(&entry.launch).await;
        let added = match saved {
            Ok(()) => self.add_instances(&entry.launch, 0, &mut entry.handles, left, request).await,
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            self.withdraw(entry.handles, request).await;
            self.forget(entry.launch.spec.id).await;
            return Err(error);
        }
        self.table().insert(entry);
        Ok(())
    }

    /// Locks a name against other changes and against starts of its process.
    pub(crate) async fn changing(&self, name: &str) -> Changing {
        self.inner.changes.of(name).write_owned().await
    }

    /// Locks a process against changes while one of its instances is started.
    pub(crate) async fn steady(&self, target: StreamId) -> Result<OwnedRwLockReadGuard<()>, ProcessError> {
        self.steady_process(target.process_id).await
    }

    async fn steady_process(&self, process: ProcessId) -> Result<OwnedRwLockReadGuard<()>, ProcessError> {
        let steady = self.inner.changes.of(&self.name_of(process)?).read_owned().await;
        self.check_leaving()?;
        Ok(steady)
    }

    /// Returns an error once the supervisor is shutting down, because no process is started from then on.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`].
    pub fn check_leaving(&self) -> Result<(), ProcessError> {
        if self.inner.starts.is_closed() {
            return Err(ProcessError::InvalidState("the supervisor is leaving".to_owned()));
        }
        Ok(())
    }

    /// The name of a process.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] when it is not supervised.
    pub fn name_of(&self, process: ProcessId) -> Result<String, ProcessError> {
        let name = self.table().by_id(process).map(|entry| entry.launch.spec.name.clone());
        name.ok_or_else(|| not_found(&process.to_string()))
    }
}

/// Waits for a limited time if all main processes have ended and only their output is still being written.
async fn wait_idle_briefly(entry: &TableEntry) {
    for handle in entry.handles.iter().filter(|handle| handle.is_busy()) {
        let identity = handle.view.stream().and_then(|stream| stream.identity);
        let observed = blocking::step(move || identity.map(|identity| status_of(&identity))).await;
        if matches!(observed, Ok(Some(ProcessStatus::Alive))) {
            continue;
        }
        // An error or a timeout of this wait is ignored, because the next command fails for the same reason.
        let _ = timeout(SEE_THROUGH_MAX, handle.ask(InstanceCommand::WaitIdle)).await;
    }
}

/// Stops all given instances at the same time. An instance that has just ended by itself needs no stop.
pub(crate) async fn stop_all(
    handles: impl Iterator<Item = &InstanceHandle>,
    request: &Requester,
) -> Result<(), ProcessError> {
    let answers = ask_each(handles, |request| InstanceCommand::Stop(request, None), request).await;
    answers.into_iter().find(|answer| !matches!(answer, Ok(()) | Err(ProcessError::InvalidState(_)))).unwrap_or(Ok(()))
}

/// Starts all given instances at the same time, and returns the first error.
pub(crate) async fn start_all(
    handles: impl Iterator<Item = &InstanceHandle>,
    request: &Requester,
) -> Result<(), ProcessError> {
    ask_each(handles, InstanceCommand::Start, request).await.into_iter().collect()
}

/// Sends a command to all given instances at the same time, and waits for all results.
pub(crate) async fn ask_each(
    handles: impl Iterator<Item = &InstanceHandle>,
    command: impl Fn(Requester) -> InstanceCommand,
    request: &Requester,
) -> Vec<Result<(), ProcessError>> {
    let asked: Vec<_> = handles
        .map(|handle| {
            let (handle, command) = (handle.clone(), command(request.clone()));
            tokio::spawn(async move { handle.ask(command).await })
        })
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for answer in asked {
        answers.push(answer.await.unwrap_or_else(|error| Err(ProcessError::Io(std::io::Error::other(error)))));
    }
    answers
}
