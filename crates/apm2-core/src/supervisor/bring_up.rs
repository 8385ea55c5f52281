//! `up` of one process: applies its launch specification, starts it, and checks that it runs.

use std::time::Duration;

use apm2_model::{
    event::{identity::ProcessIdentity, requester::Requester},
    spec::launch::{LaunchSpec, with_id, with_instances},
    state::{
        ProcessState,
        stream::{FollowUp, Stream},
    },
};
use tokio::time::{Instant, sleep_until};

use crate::{
    blocking,
    error::ProcessError,
    os::activity::IdleThreads,
    supervisor::{
        Supervisor,
        change::ask_each,
        command::InstanceCommand,
        instance_handle::InstanceHandle,
        report::BroughtUp,
        together::{ChangeTurn, Changing, latest_run},
    },
};

/// The longest time for which a process is observed after its start. A program with a fatal configuration error usually
/// exits within this time.
const LOOK_MAX: Duration = Duration::from_millis(300);

/// The observation ends before [`LOOK_MAX`] when a process has been idle for this time, because it has then finished its
/// initialization, or waits for something.
const IDLE_MIN: Duration = Duration::from_millis(50);

/// The time until the first check. It doubles after each check that finds a process that is not idle, so that many starts
/// on a busy machine are not delayed by checks.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

impl Supervisor {
    /// Applies `launch`, and starts each instance that does not run or that waits for a restart. An instance that has
    /// finished, and an agent that waits for its usage limit, is not started, unless its program has changed or `rerun` is
    /// set. One lock protects both steps.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply) and [`start`](Self::start). After [`ProcessError::SpawnFailed`] the restart
    /// policy decides what follows.
    pub async fn bring_up(
        &self,
        launch: LaunchSpec,
        rerun: bool,
        request: &Requester,
    ) -> Result<BroughtUp, ProcessError> {
        let changing = self.changing(&launch.spec.name).await;
        self.bring_up_locked(changing, Box::new(launch), rerun, request, ChangeTurn::alone()).await
    }

    /// Like [`bring_up`](Self::bring_up), for a caller that holds the lock of the name.
    pub(crate) async fn bring_up_locked(
        &self,
        changing: Changing,
        launch: Box<LaunchSpec>,
        rerun: bool,
        request: &Requester,
        mut turn: ChangeTurn,
    ) -> Result<BroughtUp, ProcessError> {
        let name = launch.spec.name.clone();
        let begun_anew = rerun || !self.is_same_program(&launch);
        // Boxed, so that the memory of this future is small during the start and the observation.
        let applied = Box::pin(self.apply_locked(launch, request, &mut turn)).await?;
        let no_change = changing.downgrade();
        let handles = self.links_of(&name);
        if handles.iter().any(is_down) {
            turn.all_stopped().await;
        }
        let mut begun = turn.take_begun();
        // Other changes in the same set do not wait while the started processes are observed.
        drop(turn);
        let (down, has_finished) = down(&handles, begun_anew);
        let before: Vec<u64> = down.iter().map(latest_run).collect();
        // What was read of an instance above may have changed: a supervisor that has just begun decides about each of them.
        let command = if begun_anew { InstanceCommand::Start } else { InstanceCommand::BringUp };
        let started = ask_each(down.iter(), command, request).await;
        let mut has_started = false;
        for ((handle, before), started) in down.iter().zip(before).zip(started) {
            match started {
                // The restart policy or another client has started the instance in the meantime: it is not this request
                // that is on record.
                Err(ProcessError::InvalidState(_)) if !is_down(handle) => {}
                // It waits for a usage limit.
                Ok(()) if latest_run(handle) == before => {}
                started => {
                    started?;
                    has_started = true;
                    begun.push((handle.clone(), before));
                }
            }
        }
        drop(no_change);
        let ended_at_once = Box::pin(look(&begun)).await;
        let waits_for_limit = handles.iter().any(waits_for_limit);
        Ok(BroughtUp { applied, has_started, has_finished, waits_for_limit, ended_at_once })
    }

    /// Whether [`bring_up`](Self::bring_up) would start an instance without changing its specification, and whether an
    /// instance has finished.
    #[must_use]
    pub fn would_start(&self, launch: &LaunchSpec, rerun: bool) -> (bool, bool) {
        let (down, has_finished) = down(&self.links_of(&launch.spec.name), rerun || !self.is_same_program(launch));
        (!down.is_empty(), has_finished)
    }

    fn links_of(&self, name: &str) -> Vec<InstanceHandle> {
        self.table().get(name).map(|entry| entry.handles.clone()).unwrap_or_default()
    }

    /// Whether `launch` equals the supervised launch specification except for the number of instances.
    fn is_same_program(&self, launch: &LaunchSpec) -> bool {
        self.table().get(&launch.spec.name).is_some_and(|entry| {
            let present = &entry.launch;
            let launch = with_id(with_instances(launch, present.spec.instances), present.spec.id);
            entry.is_launchable && present.is_as(&launch)
        })
    }
}

/// The instances that have to be started, and whether there are instances that have finished.
fn down(handles: &[InstanceHandle], begun_anew: bool) -> (Vec<InstanceHandle>, bool) {
    let (finished, down): (Vec<InstanceHandle>, Vec<InstanceHandle>) = handles
        .iter()
        .filter(|handle| is_down(handle) && (begun_anew || !waits_for_limit(handle)))
        .cloned()
        .partition(|handle| !begun_anew && has_finished(handle));
    (down, !finished.is_empty())
}

fn is_down(handle: &InstanceHandle) -> bool {
    // An instance that an operator is stopping has to be started again. An instance that a failed health check has
    // stopped is started by its restart policy.
    let is_stopping = |stream: &Stream| stream.stopping.is_some_and(|stop| !stop.is_left_to_policy());
    handle.view.stream().is_none_or(|stream| stream.handle.state.has_exited() || is_stopping(&stream))
}

/// Whether the start of an agent is scheduled for the reset of a usage limit.
pub(super) fn waits_for_limit(handle: &InstanceHandle) -> bool {
    let waits = |stream: Stream| matches!(stream.follow_up, FollowUp::Restart { .. }) && stream.waits_for_limit();
    handle.view.stream().is_some_and(waits)
}

fn has_finished(handle: &InstanceHandle) -> bool {
    handle.view.stream().is_some_and(|stream| stream.finished)
}

/// Observes the started instances until all of them are settled, but not longer than [`LOOK_MAX`]. Each instance is given
/// with the number of its latest run before the start. Returns a text about the first failure.
async fn look(begun: &[(InstanceHandle, u64)]) -> Option<String> {
    if begun.is_empty() {
        return None;
    }
    let until = Instant::now() + LOOK_MAX;
    let mut idle: Option<Vec<IdleThreads>> = None;
    let mut interval = LOOK_INTERVAL;
    loop {
        // A program that has just been executed is not idle yet, so the first check is made after this interval.
        let next = Instant::now() + if idle.is_some() { IDLE_MIN } else { interval };
        sleep_until(next.min(until)).await;
        let idle_now = idle_threads(begun).await;
        // The streams are read after the activity. A process that was idle had not ended then.
        let streams = begun.iter().filter_map(|(handle, before)| Some((handle.view.stream()?, *before)));
        let started: Vec<(Stream, u64)> = streams.filter(|(stream, before)| stream.run > *before).collect();
        if let Some(failure) = started.iter().find_map(|(stream, before)| failure(stream, *before)) {
            return Some(failure);
        }
        let is_settled = idle.is_some() && idle == idle_now;
        if started.is_empty() || is_settled || Instant::now() >= until {
            return None;
        }
        interval = interval.saturating_mul(2);
        idle = idle_now;
    }
}

/// The threads of the started instances; `None` if one of them is not idle. An instance that has finished has no threads.
async fn idle_threads(begun: &[(InstanceHandle, u64)]) -> Option<Vec<IdleThreads>> {
    let streams = begun.iter().filter_map(|(handle, _)| handle.view.stream());
    let unfinished: Option<Vec<ProcessIdentity>> =
        streams.filter(|stream| !stream.finished).map(|stream| stream.identity).collect();
    let unfinished = unfinished?;
    // An error means that the runtime is shutting down.
    blocking::step(move || unfinished.iter().map(IdleThreads::of).collect()).await.ok()?
}

/// A text about the failure of the run after run number `before`; `None` if the run has not failed.
fn failure(stream: &Stream, before: u64) -> Option<String> {
    // If the process has several instances, the text names the instance. The caller adds the name of the process.
    let name = if stream.handle.spec.instances > 1 { stream.handle.display_name() } else { "it".to_owned() };
    match &stream.handle.state {
        // The agent has met a usage limit, and is started again after it.
        ProcessState::Crashed { .. } if stream.waits_for_limit() => None,
        state @ ProcessState::Crashed { .. } => Some(format!("{name} ended right after its start: {state}")),
        _ if stream.run > before.saturating_add(1) => {
            Some(format!("{name} ended right after its start, and was started again"))
        }
        _ => None,
    }
}
