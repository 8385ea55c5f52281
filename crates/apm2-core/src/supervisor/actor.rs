//! The instance actor: a task that owns the runner of one instance. It waits for one input at a time, and takes one
//! step for each input.
//!
//! A step is synchronous and runs on a blocking thread, to which the state of the task is moved and from which it is
//! moved back; the task itself only waits. Only the actor starts, stops or changes the instance; other tasks read its
//! stream and send commands. The steps are in `commands`, `step`, `start` and `resume`.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apm2_model::{
    event::{kind::EventKind, origin::EventOrigin, timestamp::Clock},
    policy::{
        joined::JoinedRequest,
        plan::{Plan, PlanInput},
    },
    spec::launch::LaunchSpec,
    state::stream::Stream,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, Span};

use crate::{
    blocking,
    credentials::profile::CredentialError,
    error::ProcessError,
    os::usage::Usage,
    output::observer::SharedObserver,
    run::{
        command::{ReplyReceiver, ReplySender},
        runner::{ProcessRunner, STOP_DRAIN_MAX},
        start_env::StartEnv,
    },
    supervisor::{
        accounts::Accounts,
        command::{PendingCommand, answer_all},
        health_task::HealthTask,
        pending_start::{PendingStart, fetched},
        sampler::Sampler,
        services::AdapterFactory,
        starts::Starts,
    },
    time::instant_in,
};

/// An input of the actor.
enum ActorInput {
    Ordered(Box<PendingCommand>),
    /// The run has ended, its end is recorded, and its output is written.
    RunEnded,
    StopAnswered(Result<(), ProcessError>),
    /// The process group is gone, but its output is still being written.
    StopDrainDue,
    RestartDue,
    Sustained,
    SampleDue,
    Measured(Option<Usage>),
    CheckDue,
    Checked(apm2_model::policy::health_monitor::ProbeResult),
    ObservationDue,
    /// A budget of time of an agent may be used up.
    BudgetDue,
    /// The start environment with its credentials, or an error if the credentials could not be fetched.
    Fetched(Result<StartEnv, CredentialError>),
}

/// The flags that an instance actor shares with the supervisor.
pub(crate) struct Flags {
    /// Whether the instance runs or is about to be started.
    pub(crate) busy: Arc<AtomicBool>,
    /// The starts in progress of all instances.
    pub(crate) starts: Arc<Starts>,
    /// The usage limits of the accounts of all agents.
    pub(crate) accounts: Arc<Accounts>,
}

/// The state of one instance actor.
pub(crate) struct InstanceActor {
    /// The tracing span that adds the name of the instance to log messages.
    pub(super) span: Span,
    pub(super) runner: ProcessRunner,
    pub(super) launch: Arc<LaunchSpec>,
    /// Whether `launch` contains the values of environment variables. False if only the redacted specification in the
    /// record is left.
    pub(super) is_launchable: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) plan: Plan,
    pub(super) commands: mpsc::Receiver<Box<PendingCommand>>,
    /// Whether a run is in progress.
    pub(super) is_up: bool,
    /// Whether an earlier run may have left unwritten output in the file descriptor store.
    pub(super) has_output_rest: bool,
    pub(super) flags: Flags,
    /// The inputs that follow from the current step.
    pub(super) next_steps: VecDeque<PlanInput>,
    pub(super) pending_start: Option<PendingStart>,
    /// The standard input of the next start, in place of the file in the specification.
    pub(super) next_stdin: Option<OwnedFd>,
    /// Requests that joined a start of which no event is recorded yet. They are recorded with the start.
    pub(super) joined: Vec<JoinedRequest>,
    pub(super) stop_answer: Option<ReplyReceiver>,
    pub(super) starts_waiting: Vec<ReplySender>,
    pub(super) stops_waiting: Vec<ReplySender>,
    /// Deadline for writing the remaining output. Waiting stops are completed at this time at the latest.
    pub(super) stop_drained_at: Option<Instant>,
    /// The result that waiting stops get when the step is complete.
    pub(super) stopped: Option<Result<(), ProcessError>>,
    pub(super) restarts_waiting: Vec<ReplySender>,
    pub(super) idle_waiting: Vec<ReplySender>,
    /// The senders for callers that wait for the end and for the final state.
    pub(super) ends_waiting: Vec<oneshot::Sender<Stream>>,
    pub(super) restart_at: Option<Instant>,
    pub(super) sustained_at: Option<Instant>,
    pub(super) health_task: HealthTask,
    pub(super) sampler: Sampler,
    /// The observer of the output; `None` if no output is captured.
    pub(super) observer: Option<SharedObserver>,
    pub(super) observed_at: Option<Instant>,
    /// When the next budget of time of the agent is used up.
    pub(super) budget_at: Option<Instant>,
    pub(super) adapters: AdapterFactory,
}

impl InstanceActor {
    pub(crate) fn new(
        mut runner: ProcessRunner,
        launch: Arc<LaunchSpec>,
        is_launchable: bool,
        clock: Arc<dyn Clock>,
        commands: mpsc::Receiver<Box<PendingCommand>>,
        flags: Flags,
        adapters: AdapterFactory,
    ) -> Self {
        let observer = SharedObserver::new(&launch, adapters(&launch), runner.captured_output());
        runner.end_observer = observer.clone().filter(SharedObserver::hears_end);
        let span = tracing::error_span!("instance", name = %runner.display_name());
        Self {
            span,
            runner,
            launch,
            is_launchable,
            clock,
            plan: Plan::default(),
            commands,
            is_up: false,
            has_output_rest: false,
            flags,
            next_steps: VecDeque::new(),
            pending_start: None,
            next_stdin: None,
            joined: Vec::new(),
            stop_answer: None,
            starts_waiting: Vec::new(),
            stops_waiting: Vec::new(),
            stop_drained_at: None,
            stopped: None,
            restarts_waiting: Vec::new(),
            idle_waiting: Vec::new(),
            ends_waiting: Vec::new(),
            restart_at: None,
            sustained_at: None,
            health_task: HealthTask::default(),
            sampler: Sampler::default(),
            observer,
            observed_at: None,
            budget_at: None,
            adapters,
        }
    }

    /// Sets the busy flag. For a survey (`up --dry-run`), in which the actor never runs.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.flags.busy.store(is_busy, Ordering::Release);
    }

    /// Runs until all command senders are dropped, or the supervision of the instance ends.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send + 'static {
        let span = self.span.clone();
        // The state is boxed, because the future would otherwise contain a copy of it for each place to which it moves.
        Box::new(self).run_loop().instrument(span)
    }

    async fn run_loop(self: Box<Self>) {
        let Some((mut actor, rest)) = self.off_worker(Self::begin_output_rest).await else { return };
        if let Some(rest) = rest {
            // The remaining output is written before the next run writes to the same files.
            rest.finish().await;
        }
        let Some((stepped, ())) = actor.off_worker(Self::finish_step).await else { return };
        actor = stepped;
        while let Some(happened) = actor.next().await {
            let Some((stepped, flow)) = actor.off_worker(move |actor| actor.handle(happened)).await else { return };
            if flow.is_break() {
                return;
            }
            actor = stepped;
        }
    }

    /// Runs a step on a blocking thread. Returns `None` when the step has panicked: the state is then lost.
    async fn off_worker<T: Send + 'static>(
        mut self: Box<Self>,
        step: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Option<(Box<Self>, T)> {
        let stepped = blocking::step(move || {
            let result = step(&mut self);
            (self, result)
        });
        let stepped = stepped.await;
        stepped
            .inspect_err(
                |error| tracing::error!(%error, "a step has panicked: the instance is not supervised any more"),
            )
            .ok()
    }

    /// Takes the steps that follow from the current step, and completes the commands that are done.
    pub(super) fn finish_step(&mut self) {
        while let Some(input) = self.next_steps.pop_front() {
            self.step_unattended(input);
        }
        self.complete_idle();
        self.update_busy();
        if let Some(stopped) = self.stopped.take() {
            self.stop_drained_at = None;
            answer_all(&mut self.stops_waiting, &stopped);
        }
    }

    /// Waits for the next input; `None` when all command senders are dropped. Cancel safe.
    async fn next(&mut self) -> Option<ActorInput> {
        let due = self.next_due();
        let Self { health_task, sampler, .. } = self;
        let (is_checking, is_measuring) = (health_task.is_running(), sampler.is_running());
        tokio::select! {
            biased;
            _ = self.runner.wait(), if self.is_up => Some(ActorInput::RunEnded),
            answer = answered(&mut self.stop_answer), if self.stop_answer.is_some() => Some(ActorInput::StopAnswered(answer)),
            command = self.commands.recv() => command.map(ActorInput::Ordered),
            given = fetched(&mut self.pending_start), if self.pending_start.is_some() => Some(ActorInput::Fetched(given)),
            result = health_task.result(), if is_checking => Some(ActorInput::Checked(result)),
            usage = sampler.result(), if is_measuring => Some(ActorInput::Measured(usage)),
            input = reached(due) => Some(input),
        }
    }

    /// The earliest deadline, with the input that it causes. Of equal deadlines, the first one of the list. There is
    /// one timer for all deadlines, because a timer needs more than 100 bytes of the task.
    fn next_due(&self) -> Option<(Instant, ActorInput)> {
        let deadlines = [
            (self.stop_drained_at, ActorInput::StopDrainDue),
            (self.restart_at, ActorInput::RestartDue),
            (self.sustained_at, ActorInput::Sustained),
            (self.health_task.due(), ActorInput::CheckDue),
            (self.sampler.due(), ActorInput::SampleDue),
            (self.observed_at, ActorInput::ObservationDue),
            (self.budget_at, ActorInput::BudgetDue),
        ];
        deadlines.into_iter().filter_map(|(at, input)| Some((at?, input))).min_by_key(|(at, _)| *at)
    }

    fn handle(&mut self, happened: ActorInput) -> std::ops::ControlFlow<()> {
        match happened {
            ActorInput::Ordered(command) => {
                if self.handle_command(*command).is_break() {
                    self.flags.busy.store(false, Ordering::Release);
                    return std::ops::ControlFlow::Break(());
                }
            }
            ActorInput::RunEnded => self.run_ended(),
            ActorInput::StopAnswered(answer) => {
                self.stop_answer = None;
                if answer.is_ok() {
                    self.stop_drained_at = Some(instant_in(STOP_DRAIN_MAX));
                } else {
                    answer_all(&mut self.stops_waiting, &answer);
                    if self.runner.state().is_running() {
                        self.plan.forget();
                    }
                    self.refuse_restarts(&answer);
                }
            }
            ActorInput::StopDrainDue => self.stopped = Some(Ok(())),
            ActorInput::RestartDue => {
                self.restart_at = None;
                self.next_steps.push_back(PlanInput::RestartDue);
            }
            ActorInput::Sustained => {
                self.sustained_at = None;
                self.next_steps.push_back(PlanInput::Sustained);
            }
            ActorInput::CheckDue => {
                let process = self.runner.stream().and_then(|stream| stream.identity);
                self.health_task.begin(&self.launch, process.filter(|_| self.runner.pid().is_some()));
            }
            ActorInput::Checked(result) => {
                let verdict = self.health_task.conclude(&result, &self.clock.now());
                self.next_steps.push_back(PlanInput::Health(verdict));
            }
            ActorInput::SampleDue => {
                let identity = self.runner.stream().and_then(|stream| stream.identity);
                self.sampler.begin(identity, self.runner.view().run_variable());
            }
            ActorInput::Measured(usage) => self.measured(usage),
            ActorInput::ObservationDue => self.observe(),
            ActorInput::BudgetDue => {
                self.budget_at = None;
                self.watch_agent(None);
            }
            ActorInput::Fetched(given) => self.fetched(given),
        }
        self.finish_step();
        std::ops::ControlFlow::Continue(())
    }

    /// Updates the state after a run has begun or was adopted.
    pub(super) fn up(&mut self) {
        self.is_up = true;
        let now = self.clock.now();
        let started = self.runner.stream().and_then(|stream| stream.run_started).unwrap_or(now);
        let age = now.nanos_since(&started).map_or(Duration::ZERO, Duration::from_nanos);
        self.sustained_at = Some(instant_in(self.launch.spec.restart.min_uptime.saturating_sub(age)));
        self.health_task = HealthTask::started(self.launch.spec.health.clone(), &started, &now);
        let agent = self.launch.spec.agent.as_ref();
        self.sampler = Sampler::started(age, agent.is_some_and(|agent| agent.budget.memory_bytes.is_some()));
        self.budget_later();
    }

    fn run_ended(&mut self) {
        self.is_up = false;
        self.sustained_at = None;
        self.health_task = HealthTask::default();
        self.sampler = Sampler::default();
        self.observed_at = None;
        self.budget_at = None;
        self.stop_answer = None;
        let recorded = self.runner.check_recording();
        self.stopped = Some(recorded.as_ref().copied().map_err(ProcessError::copied));
        match recorded {
            Ok(()) => self.next_steps.push_back(PlanInput::RunOver),
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "the end of a run could not be recorded: the instance is not supervised any more");
                self.refuse_restarts(&Err(error));
            }
        }
    }

    fn measured(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage.filter(|_| self.runner.state().is_running()) else { return };
        if let Some(sampled) = self.sampler.conclude(usage)
            && let Err(error) = self.runner.record(&EventOrigin::default(), vec![sampled])
        {
            tracing::warn!(%error, "a measurement could not be recorded");
        }
        self.watch_agent(Some(usage.memory_bytes));
    }

    fn observe(&mut self) {
        self.observed_at = None;
        let Some(observer) = &self.observer else { return };
        let (runner, mut has_reports) = (&mut self.runner, false);
        let has_more = observer.observe(self.clock.now(), |kinds| {
            // A text about a process is recorded only while the process runs.
            let is_running = runner.state().is_running();
            let kinds: Vec<_> =
                kinds.into_iter().filter(|kind| is_running || matches!(kind, EventKind::Agent { .. })).collect();
            if kinds.is_empty() {
                return;
            }
            has_reports = true;
            if let Err(error) = runner.record(&EventOrigin::default(), kinds) {
                tracing::warn!(%error, "an observation could not be recorded");
            }
        });
        self.observed_at = Some(if has_more { Instant::now() } else { instant_in(observer.interval(&self.launch)) });
        if has_reports {
            self.watch_agent(None);
        }
    }

    /// Schedules the next call of the adapter.
    pub(super) fn observe_later(&mut self) {
        self.observed_at = self.observer.as_ref().map(|observer| instant_in(observer.interval(&self.launch)));
    }

    pub(super) fn update_busy(&self) {
        self.flags.busy.store(self.is_busy(), Ordering::Release);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_up || self.restart_at.is_some() || self.pending_start.is_some() || !self.next_steps.is_empty()
    }
}

/// Waits until the deadline `due`, and returns its input. If the deadline is in the past, returns without the timer, whose
/// resolution is a millisecond. Never returns for `None`. Cancel safe.
async fn reached(due: Option<(Instant, ActorInput)>) -> ActorInput {
    let Some((when, input)) = due else { return std::future::pending().await };
    if when > Instant::now() {
        sleep_until(when).await;
    }
    input
}

/// The result of a stop. A dropped sender means that the run has just ended, which is a success.
async fn answered(waited: &mut Option<ReplyReceiver>) -> Result<(), ProcessError> {
    match waited {
        Some(answer) => answer.await.unwrap_or(Ok(())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: impl FnOnce(InstanceActor) -> F) -> usize {
        size_of::<F>()
    }

    #[tokio::test]
    async fn a_time_in_the_past_is_reached_without_the_timer() {
        for _ in 0..100 {
            let is_reached = tokio::select! {
                biased;
                _ = reached(Some((instant_in(Duration::ZERO), ActorInput::RestartDue))) => true,
                () = std::future::ready(()) => false,
            };
            assert!(is_reached);
        }
    }

    /// Each instance has such a future in memory.
    #[test]
    fn the_future_of_an_actor_contains_no_copy_of_its_state() {
        let (future, state) = (size_of_future(InstanceActor::run), size_of::<InstanceActor>());
        assert!(future < state + 2048, "{future} bytes, for {state}");
    }
}
