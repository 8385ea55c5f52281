//! Replaces the launch specification of a supervised process, or leaves the process unchanged after an error.
//!
//! Nothing is stopped before the new launch specification has been checked as far as possible. Later failures (of a
//! stop, of saving the launch specification, of a record, or of the start) are undone: the old launch specification and
//! its instances stay, and instances that ran are started again.

use std::{collections::HashMap, sync::Arc};

use apm2_model::{
    event::{NewEvent, kind::EventKind, requester::Requester, stream_id::StreamId},
    spec::{
        launch::{LaunchSpec, with_instances},
        redact::spec::RedactedSpec,
    },
    state::stream::Stream,
};

use crate::{
    error::ProcessError,
    supervisor::{
        Supervisor,
        change::{start_all, stop_all},
        command::InstanceCommand,
        instance_handle::InstanceHandle,
        report::Applied,
        start_check::runs,
        table::TableEntry,
        together::ChangeTurn,
    },
};

/// A replacement of a launch specification in progress.
struct Replacement<'a> {
    old: &'a TableEntry,
    new: Arc<LaunchSpec>,
    request: &'a Requester,
    /// The instances that stay supervised after the replacement.
    kept: &'a [InstanceHandle],
    /// The instances that the replacement removes.
    surplus: &'a [InstanceHandle],
    /// The running instances that have to be stopped for the replacement.
    to_stop: Vec<InstanceHandle>,
    /// Whether a running process is stopped in order to be started again.
    restarts: bool,
    /// The recorded streams of the instances that are added, by instance number.
    left: HashMap<u32, Stream>,
    /// The instances that the replacement has added so far.
    added: Vec<InstanceHandle>,
}

impl<'a> Replacement<'a> {
    fn new(old: &'a TableEntry, new: Arc<LaunchSpec>, left: HashMap<u32, Stream>, request: &'a Requester) -> Self {
        let is_same_program = old.is_launchable && old.launch.is_as(&with_instances(&new, old.launch.spec.instances));
        let count = usize::try_from(new.spec.instances).unwrap_or(usize::MAX);
        let (kept, surplus) = old.handles.split_at(count.min(old.handles.len()));
        let stopped: &[InstanceHandle] = if is_same_program { surplus } else { &old.handles };
        // An instance that was already stopped stays stopped.
        let to_stop: Vec<InstanceHandle> = stopped.iter().filter(|handle| handle.is_busy()).cloned().collect();
        let restarts = !is_same_program && kept.iter().any(runs);
        Self { old, new, request, kept, surplus, to_stop, restarts, left, added: Vec::new() }
    }

    /// The instances that are started after the replacement: the stopped instances that stay, and, if any instance ran,
    /// the added instances.
    fn to_start(&self, ran_any: bool) -> Vec<InstanceHandle> {
        let was_stopped = |handle: &&InstanceHandle| self.to_stop.iter().any(|stopped| stopped.id == handle.id);
        let restarted = self.kept.iter().filter(was_stopped);
        restarted.chain(self.added.iter().filter(|_| ran_any)).cloned().collect()
    }
}

impl Supervisor {
    /// Refuses a launch whose specification is too large to be recorded.
    pub(crate) fn check_record(&self, launch: &LaunchSpec, request: &Requester) -> Result<(), ProcessError> {
        let services = &self.inner.services;
        let draft = NewEvent {
            stream: StreamId { process_id: launch.spec.id, instance: 0 },
            run: 0,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            cause: None,
            stamp: services.clock.now(),
            kind: EventKind::Registered { spec: RedactedSpec::new(&launch.spec) },
        };
        let fits = services.store.recorder().check(&draft);
        fits.map_err(|error| ProcessError::InvalidState(format!("{:?}: {error}", launch.spec.name)))
    }

    /// Replaces the launch specification of `entry` by `launch`. Running instances that differ are stopped and started
    /// again.
    pub(crate) async fn replace(
        &self,
        entry: &TableEntry,
        launch: Box<LaunchSpec>,
        request: &Requester,
        turn: &mut ChangeTurn,
    ) -> Result<Applied, ProcessError> {
        if entry.is_launchable && entry.launch.is_as(&launch) {
            return Ok(Applied::Unchanged);
        }
        // Loads the recorded streams of the instances that are added, if any.
        let left = self.load_left(&launch, entry.handles.len()).await?;
        let ran_any = entry.is_busy();
        let mut replacement = Replacement::new(entry, Arc::from(launch), left, request);
        if replacement.restarts {
            self.check_start(&replacement.new, request).await?;
        }
        // This is the last check: a launch that is refused later would stay in the temporary file, with its secrets.
        let prepared = Arc::clone(&replacement.new);
        self.with_launches(move |launches| launches.prepare(&prepared)).await?;
        if let Err(error) = self.install(&mut replacement, turn).await {
            self.undo(replacement).await;
            return Err(error);
        }
        let to_start = replacement.to_start(ran_any);
        turn.note_begun(&to_start);
        let started = start_all(to_start.iter(), request).await;
        if let Err(error @ (ProcessError::SpawnFailed(_) | ProcessError::Io(_))) = &started
            && replacement.restarts
        {
            return Err(self.undo_started(replacement, error).await);
        }
        let Replacement { new, kept, surplus, added, .. } = replacement;
        let mut handles = [kept, surplus].concat();
        let taken_out =
            self.take_out_last(&mut handles, kept.len(), || InstanceCommand::Unregister(request.clone())).await;
        handles.extend(added.iter().cloned());
        let changed = TableEntry { launch: new, is_launchable: true, handles: handles.clone() };
        match &taken_out {
            Ok(()) => self.table().insert(changed),
            Err(_) => self.shrink(&changed, handles).await,
        }
        started?;
        taken_out.map(|()| Applied::Changed)
    }

    /// Carries out the steps that can fail and that can be undone.
    async fn install(&self, replacement: &mut Replacement<'_>, turn: &mut ChangeTurn) -> Result<(), ProcessError> {
        let Replacement { new, request, kept, to_stop, left, added, .. } = replacement;
        stop_all(to_stop.iter(), request).await?;
        for handle in to_stop.iter() {
            handle.ask(InstanceCommand::WaitIdle).await?;
        }
        turn.all_stopped().await;
        self.check_let_go(&new.spec)?;
        self.save(new).await?;
        for handle in *kept {
            handle
                .ask(InstanceCommand::UpdateSpec {
                    launch: Arc::clone(new),
                    is_launchable: true,
                    request: request.clone(),
                })
                .await?;
        }
        self.add_instances(new, kept.len(), added, std::mem::take(left), request).await
    }

    /// Undoes a replacement whose instances could not be started because of `error`. Returns the error, extended by the
    /// result of the undo.
    async fn undo_started(&self, replacement: Replacement<'_>, error: &ProcessError) -> ProcessError {
        let reason = Some("what it was changed to could not be started".to_owned());
        let request = Requester { reason, ..replacement.request.clone() };
        let begun: Vec<InstanceHandle> = [replacement.kept, &replacement.added].concat();
        // Instances whose start failed do not run, but are stopped too: otherwise the policy would schedule a restart.
        note_undone(replacement.old, stop_all(begun.iter(), &request).await);
        for handle in &begun {
            note_undone(replacement.old, handle.ask(InstanceCommand::WaitIdle).await);
        }
        let is_undone = self.undo(Replacement { request: &request, ..replacement }).await;
        let now =
            if is_undone { "it runs as before the change" } else { "and what ran before could not be started, either" };
        match error {
            ProcessError::SpawnFailed(why) => ProcessError::SpawnFailed(format!("{why}; {now}")),
            error => error.copied(),
        }
    }

    /// Undoes the steps so far, and starts the instances that were stopped. Returns whether they run.
    async fn undo(&self, replacement: Replacement<'_>) -> bool {
        let Replacement { old, request, kept, to_stop, added, .. } = replacement;
        self.withdraw(added, request).await;
        for handle in kept {
            let (launch, is_launchable) = (Arc::clone(&old.launch), old.is_launchable);
            let back =
                handle.ask(InstanceCommand::UpdateSpec { launch, is_launchable, request: request.clone() }).await;
            note_undone(old, back);
        }
        // Without the values of environment variables, there is no launch specification to restore.
        if old.is_launchable {
            note_undone(old, self.save(&old.launch).await);
        }
        let idle = to_stop.iter().filter(|handle| !handle.is_busy());
        let started = start_all(idle, request).await;
        let is_started = started.is_ok();
        note_undone(old, started);
        is_started
    }

    /// Adds the instances from number `first` on to `handles`. Each instance continues its recorded stream. After an
    /// error, `handles` contains the instances that were added before the error.
    pub(crate) async fn add_instances(
        &self,
        launch: &Arc<LaunchSpec>,
        first: usize,
        handles: &mut Vec<InstanceHandle>,
        mut left: HashMap<u32, Stream>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        let from = handles.len();
        for instance in u32::try_from(first).unwrap_or(u32::MAX)..launch.spec.instances {
            let (actor, handle) = self.actor(launch, instance, left.remove(&instance), true);
            tokio::spawn(actor.run());
            handles.push(handle);
        }
        for handle in handles.iter().skip(from) {
            let launch = Arc::clone(launch);
            handle.ask(InstanceCommand::UpdateSpec { launch, is_launchable: true, request: request.clone() }).await?;
        }
        Ok(())
    }

    /// Ends the supervision of added instances after a failure. Their recorded history stays.
    pub(crate) async fn withdraw(&self, handles: Vec<InstanceHandle>, request: &Requester) {
        for handle in &handles {
            if handle.ask(InstanceCommand::Unregister(request.clone())).await.is_err() {
                // The end of supervision could not be recorded. An unsupervised instance is not started in any case.
                let _ = handle.ask(InstanceCommand::Release).await;
            }
        }
        self.table().remember(handles.iter().filter_map(|handle| handle.view.stream()));
    }

    /// Ends the supervision of instances, the last one first, until `keep` instances are left. After an error,
    /// `handles` contains the remaining instances.
    pub(crate) async fn take_out_last(
        &self,
        handles: &mut Vec<InstanceHandle>,
        keep: usize,
        command: impl Fn() -> InstanceCommand,
    ) -> Result<(), ProcessError> {
        while let Some(last) = handles.get(keep..).and_then(<[InstanceHandle]>::last) {
            last.ask(command()).await?;
            let stream = last.view.stream();
            handles.pop();
            self.table().remember(stream);
        }
        Ok(())
    }

    /// Changes `entry` to the number of instances in `handles`.
    pub(crate) async fn shrink(&self, entry: &TableEntry, handles: Vec<InstanceHandle>) {
        let instances = u32::try_from(handles.len()).unwrap_or(u32::MAX);
        let launch = Arc::new(with_instances(&entry.launch, instances));
        if entry.is_launchable
            && let Err(error) = self.save(&launch).await
        {
            tracing::error!(name = %launch.spec.name, %error, "a launch could not be kept");
        }
        self.table().insert(TableEntry { launch, is_launchable: entry.is_launchable, handles });
    }
}

/// Logs an error of an undo step. The client gets the error that caused the undo.
fn note_undone(entry: &TableEntry, undone: Result<(), ProcessError>) {
    if let Err(error) = undone {
        tracing::error!(name = %entry.launch.spec.name, %error, "a change that failed could not be undone");
    }
}
