//! Changes of supervised processes: one change of a process at a time, and no command in the middle of it.

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

/// How long a change waits for a run that has ended until its end is recorded and its output is written.
const SEE_THROUGH_MAX: Duration = Duration::from_secs(1);

/// The claim of a change under way. Dropped with the change.
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
    /// Supervises what `launch` says from now on, under its name: a new process, stopped, or the one of that name with
    /// what differs changed. What ran and differs is stopped and started again; other instances are only added or taken
    /// away where nothing else differs.
    ///
    /// A name that the history knows continues that history: the id of `launch` then gives way to the one on record.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`] when the name belongs to another group than `launch` does;
    /// [`ProcessError::InvalidState`] when the name or a setting cannot be; otherwise those of a start and a stop, and
    /// [`ProcessError::Io`] when something is not recorded or kept.
    pub async fn apply(&self, launch: LaunchSpec, request: &Requester) -> Result<Applied, ProcessError> {
        let _changing = self.changing(&launch.spec.name).await;
        self.apply_locked(launch, request, &mut ChangeTurn::alone()).await
    }

    /// Supervises `launch` and starts its first instance, unless there is one of its name that runs or belongs to another
    /// group.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyExists`], with what there is; those of [`apply`](Self::apply) and [`start`](Self::start). After
    /// [`ProcessError::SpawnFailed`] it is supervised all the same.
    pub async fn launch(&self, launch: LaunchSpec, request: &Requester) -> Result<StreamId, ProcessError> {
        let Launched { id, failure, .. } = self.launch_with(launch, None, request, &|| true).await?;
        failure.map_or(Ok(id), Err)
    }

    /// The same, where the first run of the instance is given this standard input. Later ones have that of the
    /// specification: what was read cannot be read again. `is_wanted` is asked right before the start.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch), but for [`ProcessError::SpawnFailed`]; [`ProcessError::InvalidState`] when it is not
    /// wanted any more. It is supervised then, and does not run.
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
        self.apply_locked(launch, request, &mut ChangeTurn::alone()).await?;
        let handle = self.table().get(&name).and_then(|entry| entry.handles.first()).cloned();
        let handle = handle.ok_or_else(|| not_found(&name))?;
        if !is_wanted() {
            return Err(ProcessError::InvalidState(format!("{name} is not wanted any more")));
        }
        if let Some(stdin) = stdin {
            handle.ask(InstanceCommand::Input(stdin)).await?;
        }
        // It does not run, and the lock keeps other callers from starting it.
        let run = handle.view.stream().map_or(0, |stream| stream.run).saturating_add(1);
        let failure = match handle.ask(InstanceCommand::Start(request.clone())).await {
            Ok(()) => None,
            Err(failure @ ProcessError::SpawnFailed(_)) => Some(failure),
            Err(error) => return Err(error),
        };
        Ok(Launched { id: handle.id, run, failure })
    }

    /// Changes the number of instances. New ones run if any did; surplus ones are stopped, the last first.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub async fn scale(&self, process: ProcessId, instances: u32, request: &Requester) -> Result<(), ProcessError> {
        let _changing = self.changing(&self.name_of(process)?).await;
        let found = self.table().by_id(process).map(|entry| (Arc::clone(&entry.launch), entry.is_launchable));
        let (launch, is_launchable) = found.ok_or_else(|| not_found(&process.to_string()))?;
        if !is_launchable {
            // Only the record is left of them, without values.
            return Err(values_unknown(&launch));
        }
        self.apply_locked(with_instances(&launch, instances), request, &mut ChangeTurn::alone()).await.map(drop)
    }

    /// Stops the running instances of a process, and ends its supervision. Its history stays. With a group, only if the process
    /// belongs to it.
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

    /// [`remove`](Self::remove) for a caller that holds the lock of the name.
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
    /// [`ProcessError::InvalidState`] while an instance runs or is due to; [`ProcessError::NotFound`].
    pub async fn unregister(&self, process: ProcessId, request: &Requester) -> Result<(), ProcessError> {
        let _changing = self.changing(&self.name_of(process)?).await;
        self.end_supervision(process, || InstanceCommand::Unregister(request.clone())).await
    }

    /// Like [`unregister`](Self::unregister), but records no event; for one-off `run` processes. Only if the process belongs to
    /// `group`.
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

    /// The entry of a process, if it belongs to `group` where one is given.
    fn entry_of(&self, process: ProcessId, group: Option<&str>) -> Result<TableEntry, ProcessError> {
        let entry = self.table().by_id(process).cloned();
        let is_meant = |entry: &TableEntry| group.is_none_or(|group| entry.launch.group.as_deref() == Some(group));
        entry.filter(is_meant).ok_or_else(|| not_found(&process.to_string()))
    }

    /// Claims the name, the instance names and the log files of `spec` until the guard is dropped. Processes that are changed
    /// together with it may still hold them.
    fn claim(&self, spec: &ProcessSpec, turn: &ChangeTurn) -> Result<Claim, ProcessError> {
        self.table().claim(spec, |name| turn.is_with(name))?;
        Ok(Claim { supervisor: self.clone(), name: spec.name.clone() })
    }

    /// [`apply`](Self::apply) for a caller that holds the lock of the name.
    pub(crate) async fn apply_locked(
        &self,
        launch: LaunchSpec,
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
                with_id(launch, entry.launch.spec.id)
            }
            None => launch,
        };
        let _claim = self.claim(&launch.spec, turn)?;
        self.check_record(&launch, request)?;
        match existing {
            Some(entry) => self.replace(&entry, launch, request, turn).await,
            None => {
                turn.all_stopped().await;
                self.check_let_go(&launch.spec)?;
                let id = self.table().recall(&name, launch.spec.id);
                self.create(with_id(launch, id), request).await?;
                Ok(Applied::Created)
            }
        }
    }

    /// Refuses a claim that another process still holds, because its own change has failed.
    pub(crate) fn check_let_go(&self, spec: &ProcessSpec) -> Result<(), ProcessError> {
        self.table().check_claim(spec)
    }

    async fn create(&self, launch: LaunchSpec, request: &Requester) -> Result<(), ProcessError> {
        let left = self.load_left(&launch, 0).await?;
        let mut entry = TableEntry { launch: Arc::new(launch), is_launchable: true, handles: Vec::new() };
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

    /// Locks a name against other changes and against starts.
    pub(crate) async fn changing(&self, name: &str) -> Changing {
        self.inner.changes.of(name).write_owned().await
    }

    /// Locks a process against changes while an instance of it is started.
    pub(crate) async fn steady(&self, target: StreamId) -> Result<OwnedRwLockReadGuard<()>, ProcessError> {
        self.steady_process(target.process_id).await
    }

    async fn steady_process(&self, process: ProcessId) -> Result<OwnedRwLockReadGuard<()>, ProcessError> {
        let steady = self.inner.changes.of(&self.name_of(process)?).read_owned().await;
        self.check_leaving()?;
        Ok(steady)
    }

    /// Refuses once the supervisor is leaving: nothing is started from then on.
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

/// Waits for a bounded time where all main processes have ended and only their output is still written.
async fn wait_idle_briefly(entry: &TableEntry) {
    for handle in entry.handles.iter().filter(|handle| handle.is_busy()) {
        let identity = handle.view.stream().and_then(|stream| stream.identity);
        let observed = blocking::step(move || identity.map(|identity| status_of(&identity))).await;
        if matches!(observed, Ok(Some(ProcessStatus::Alive))) {
            continue;
        }
        // An error or a timeout shows in the next command.
        let _ = timeout(SEE_THROUGH_MAX, handle.ask(InstanceCommand::WaitIdle)).await;
    }
}

/// Stops all of them at once. An instance that has just ended by itself needs no stop.
pub(crate) async fn stop_all(
    handles: impl Iterator<Item = &InstanceHandle>,
    request: &Requester,
) -> Result<(), ProcessError> {
    let answers = ask_each(handles, |request| InstanceCommand::Stop(request, None), request).await;
    answers.into_iter().find(|answer| !matches!(answer, Ok(()) | Err(ProcessError::InvalidState(_)))).unwrap_or(Ok(()))
}

/// Starts all of them at once, and returns the first error.
pub(crate) async fn start_all(
    handles: impl Iterator<Item = &InstanceHandle>,
    request: &Requester,
) -> Result<(), ProcessError> {
    ask_each(handles, InstanceCommand::Start, request).await.into_iter().collect()
}

/// Sends a command to all of them at once, and waits for all results.
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
