//! The task that tends one instance: it waits for one thing to happen, asks the plan, and does what the plan says.
//!
//! What it does is done in synchronous steps on blocking threads, which its state moves to and back from; the task itself
//! only waits. It owns the runner. Nobody else starts, stops or respecifies the instance; others look at its stream and send
//! orders.

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
    duration::millis,
    event::{
        actor::Actor,
        exit::{SpawnFailure, SpawnStage},
        kind::{EventKind, RestartRule, StartTrigger},
        origin::EventOrigin,
        requester::Requester,
        timestamp::Clock,
    },
    policy::{
        boot::{AtBoot, Boot, at_boot},
        plan::{Effect, Plan, PlanContext, PlanInput, changes_mind, is_own},
    },
    spec::launch::LaunchSpec,
    state::stream::{FollowUp, Stream},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, Span};

use crate::{
    blocking,
    credentials::{self, profile::CredentialError},
    error::ProcessError,
    os::usage::Usage,
    run::{
        command::Answer,
        resume::{Rest, Resumed},
        runner::{ProcessRunner, STOP_DRAIN_MAX},
        start_env::StartEnv,
    },
    supervisor::{
        command::{InstanceCommand, PendingCommand, Reply},
        error::values_unknown,
        health_task::HealthTask,
        observer::Watch,
        sampler::Sampler,
        services::AdapterFactory,
        starts::Starts,
    },
    time::instant_in,
};

/// How long a start that could not be recorded is put off. A full disk may have room again by then.
const START_RETRY: Duration = Duration::from_secs(10);

/// Why nothing is started any more.
const LEAVING: &str = "the supervisor is leaving";

/// One thing that happened.
enum ActorInput {
    Ordered(PendingCommand),
    /// The run is over, recorded, and its output is through.
    RunOver,
    StopAnswered(Result<(), ProcessError>),
    /// The process is gone, and what it left takes its time.
    StopDrainDue,
    RestartDue,
    Sustained,
    SampleDue,
    Measured(Option<Usage>),
    CheckupDue,
    Checked(apm2_model::policy::health_monitor::ProbeResult),
    WatchDue,
    /// What a start was waiting for.
    Fetched(Result<StartEnv, CredentialError>),
}

/// A start whose credentials are being fetched. Nothing of it is on record yet.
struct Fetching {
    origin: EventOrigin,
    trigger: StartTrigger,
    given: JoinHandle<Result<StartEnv, CredentialError>>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.given.abort();
    }
}

/// The flags that an instance actor shares with the supervisor.
pub(crate) struct Flags {
    /// Whether something runs or is due: for whoever wants to know if there is anything to wait for.
    pub(crate) busy: Arc<AtomicBool>,
    /// The starts of all instances.
    pub(crate) starts: Arc<Starts>,
}

/// The task's own state.
pub(crate) struct InstanceActor {
    /// Names the instance in every line of the log.
    span: Span,
    runner: ProcessRunner,
    launch: Arc<LaunchSpec>,
    /// Whether the launch has the values that the process was launched with; not when all that is left is the record.
    is_launchable: bool,
    clock: Arc<dyn Clock>,
    plan: Plan,
    commands: mpsc::Receiver<PendingCommand>,
    /// Whether there is a run that is not over.
    is_up: bool,
    /// Whether the run before may have left output that is not in its files yet.
    has_rest: bool,
    flags: Flags,
    /// What follows at once from what was just done.
    next_steps: VecDeque<PlanInput>,
    fetching: Option<Fetching>,
    /// The standard input of the next start, in the place of the specification's.
    next_stdin: Option<OwnedFd>,
    stop_answer: Option<Answer>,
    starts_waiting: Vec<Reply>,
    stops_waiting: Vec<Reply>,
    /// Until when the rest of the output is waited for before those are answered.
    stop_drained_at: Option<Instant>,
    /// What those are to be told, once it is seen how things stand.
    stopped: Option<Result<(), ProcessError>>,
    restarts_waiting: Vec<Reply>,
    settles_waiting: Vec<Reply>,
    /// Those who want to know how it ended.
    ends_waiting: Vec<oneshot::Sender<Stream>>,
    restart_at: Option<Instant>,
    sustained_at: Option<Instant>,
    health_task: HealthTask,
    sampler: Sampler,
    watch: Watch,
    adapters: AdapterFactory,
}

impl InstanceActor {
    pub(crate) fn new(
        runner: ProcessRunner,
        launch: Arc<LaunchSpec>,
        is_launchable: bool,
        clock: Arc<dyn Clock>,
        commands: mpsc::Receiver<PendingCommand>,
        flags: Flags,
        adapters: AdapterFactory,
    ) -> Self {
        let watch = Watch::new(&launch, adapters(&launch), runner.kept_output());
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
            has_rest: false,
            flags,
            next_steps: VecDeque::new(),
            fetching: None,
            next_stdin: None,
            stop_answer: None,
            starts_waiting: Vec::new(),
            stops_waiting: Vec::new(),
            stop_drained_at: None,
            stopped: None,
            restarts_waiting: Vec::new(),
            settles_waiting: Vec::new(),
            ends_waiting: Vec::new(),
            restart_at: None,
            sustained_at: None,
            health_task: HealthTask::default(),
            sampler: Sampler::default(),
            watch,
            adapters,
        }
    }

    /// Takes up what an earlier supervisor left open.
    ///
    /// # Errors
    /// When what was found cannot be recorded, or `/proc` cannot be read.
    pub(crate) fn resume(&mut self, boot: Boot) -> Result<Resumed, ProcessError> {
        let span = self.span.clone();
        let _in_span = span.enter();
        let left = self.runner.stream();
        let resumed = self.runner.resume(boot.watched_until)?;
        self.has_rest = matches!(resumed, Resumed::Nothing | Resumed::NeverStarted);
        match resumed {
            Resumed::Adopted => {
                self.watch.begin();
                self.up();
                self.next_steps.push_back(PlanInput::Resumed);
            }
            Resumed::Ended => self.is_up = true,
            Resumed::NeverStarted => self.next_steps.push_back(PlanInput::RunOver),
            Resumed::Nothing => match self.runner.stream().map(|stream| stream.follow_up) {
                Some(FollowUp::Undecided { .. }) => self.next_steps.push_back(PlanInput::RunOver),
                Some(FollowUp::Restart { since, delay_ms, .. }) if self.is_launchable => {
                    let delay = Duration::from_millis(delay_ms);
                    let spent = self.clock.now().nanos_since(&since).map_or(Duration::ZERO, Duration::from_nanos);
                    self.restart_at = Some(instant_in(delay.saturating_sub(spent)));
                }
                Some(FollowUp::Restart { seq, .. }) => self.refuse_unlaunchable(Some(seq))?,
                Some(FollowUp::Nothing) | None => {}
            },
        }
        if let Some(left) = left.filter(|_| self.is_launchable) {
            self.boot(at_boot(&left, boot.on_boot(&self.launch), &self.clock.now()), boot.cause);
        }
        self.note_business();
        Ok(resumed)
    }

    /// Looks to others as if it were busy, or not: for a supervisor that only surveys.
    pub(crate) fn seem_busy(&self, is_busy: bool) {
        self.flags.busy.store(is_busy, Ordering::Release);
    }

    /// Does what is to be done after a boot, before anything else.
    fn boot(&mut self, command: AtBoot, cause: Option<u64>) {
        let input = match command {
            AtBoot::Nothing => return,
            AtBoot::Start => PlanInput::Boot(cause),
            AtBoot::Stay => PlanInput::Stay,
        };
        self.restart_at = None;
        self.next_steps.clear();
        self.next_steps.push_back(input);
        if command == AtBoot::Start && !self.is_up {
            self.next_steps.push_back(PlanInput::RunOver);
        }
    }

    /// Begins its history where there is none.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub(crate) fn register(&mut self, origin: &EventOrigin) -> Result<(), ProcessError> {
        if self.runner.stream().is_some() {
            return Ok(());
        }
        self.runner.update_spec(self.launch.spec.clone(), origin)
    }

    /// Tends the instance until nobody can send orders any more, or it is taken out of supervision.
    pub(crate) async fn run(self) {
        let span = self.span.clone();
        self.tend_on().instrument(span).await;
    }

    async fn tend_on(self) {
        let Some((mut actor, rest)) = self.off_worker(Self::begin_rest).await else { return };
        if let Some(rest) = rest {
            // Before the next run writes to the same files.
            rest.finish().await;
        }
        let Some((stepped, ())) = actor.off_worker(Self::follow_through).await else { return };
        actor = stepped;
        while let Some(happened) = actor.next().await {
            let Some((stepped, flow)) = actor.off_worker(move |actor| actor.handle(happened)).await else { return };
            if flow.is_break() {
                return;
            }
            actor = stepped;
        }
    }

    /// Takes a step on a blocking thread, to its end. `None` when it broke off, and with it what was known here.
    async fn off_worker<T: Send + 'static>(
        mut self,
        step: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Option<(Self, T)> {
        let stepped = blocking::step(move || {
            let result = step(&mut self);
            (self, result)
        });
        let stepped = stepped.await;
        stepped.inspect_err(|error| tracing::error!(%error, "a step broke off: it is not supervised any more")).ok()
    }

    /// Begins to read the output that the run before may have left.
    fn begin_rest(&mut self) -> Option<Rest> {
        if !std::mem::take(&mut self.has_rest) {
            return None;
        }
        self.runner.begin_rest().unwrap_or_else(|error| {
            tracing::warn!(name = %self.launch.spec.name, %error, "the rest of an output is lost");
            None
        })
    }

    /// Takes the steps that follow at once, and tells how things stand then.
    fn follow_through(&mut self) {
        while let Some(input) = self.next_steps.pop_front() {
            self.step_alone(input);
        }
        self.answer_settled();
        self.note_business();
        if let Some(stopped) = self.stopped.take() {
            self.stop_drained_at = None;
            answer_all(&mut self.stops_waiting, &stopped);
        }
    }

    /// The next thing that happens; `None` when nobody can send orders any more. Loses nothing when dropped.
    async fn next(&mut self) -> Option<ActorInput> {
        let far = instant_in(Duration::MAX);
        let at = |when: Option<Instant>| sleep_until(when.unwrap_or(far));
        let Self { health_task, sampler, watch, .. } = self;
        let (checkup_at, sample_at, watch_at) = (health_task.due(), sampler.due(), watch.due());
        let (is_checking, is_measuring) = (health_task.is_running(), sampler.is_running());
        tokio::select! {
            biased;
            _ = self.runner.wait(), if self.is_up => Some(ActorInput::RunOver),
            answer = answered(&mut self.stop_answer), if self.stop_answer.is_some() => Some(ActorInput::StopAnswered(answer)),
            command = self.commands.recv() => command.map(ActorInput::Ordered),
            given = fetched(&mut self.fetching), if self.fetching.is_some() => Some(ActorInput::Fetched(given)),
            () = at(self.stop_drained_at), if self.stop_drained_at.is_some() => Some(ActorInput::StopDrainDue),
            () = at(self.restart_at), if self.restart_at.is_some() => Some(ActorInput::RestartDue),
            () = at(self.sustained_at), if self.sustained_at.is_some() => Some(ActorInput::Sustained),
            result = self.health_task.result(), if is_checking => Some(ActorInput::Checked(result)),
            () = at(checkup_at), if checkup_at.is_some() => Some(ActorInput::CheckupDue),
            usage = self.sampler.result(), if is_measuring => Some(ActorInput::Measured(usage)),
            () = at(sample_at), if sample_at.is_some() => Some(ActorInput::SampleDue),
            () = at(watch_at), if watch_at.is_some() => Some(ActorInput::WatchDue),
        }
    }

    fn handle(&mut self, happened: ActorInput) -> std::ops::ControlFlow<()> {
        match happened {
            ActorInput::Ordered(command) => {
                if self.ordered(command).is_break() {
                    self.flags.busy.store(false, Ordering::Release);
                    return std::ops::ControlFlow::Break(());
                }
            }
            ActorInput::RunOver => self.run_over(),
            ActorInput::StopAnswered(answer) => {
                self.stop_answer = None;
                if answer.is_ok() {
                    self.stop_drained_at = Some(instant_in(STOP_DRAIN_MAX));
                } else {
                    answer_all(&mut self.stops_waiting, &answer);
                    if self.runner.state().is_running() {
                        self.plan.forget();
                    }
                    answer_all(&mut self.restarts_waiting, &answer);
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
            ActorInput::CheckupDue => {
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
            ActorInput::WatchDue => self.observe(),
            ActorInput::Fetched(given) => self.fetched(given),
        }
        self.follow_through();
        std::ops::ControlFlow::Continue(())
    }

    fn ordered(&mut self, command: PendingCommand) -> std::ops::ControlFlow<()> {
        let PendingCommand { command, reply } = command;
        match command {
            // One that is under way is joined.
            InstanceCommand::Start(_) | InstanceCommand::Restart(_) if self.fetching.is_some() => {
                self.starts_waiting.push(reply)
            }
            InstanceCommand::Start(request) => match self.step(PlanInput::Start(request)) {
                Ok(()) if self.fetching.is_some() => self.starts_waiting.push(reply),
                Ok(()) if self.plan.awaits_start() => self.restarts_waiting.push(reply),
                started => answer(reply, started),
            },
            InstanceCommand::Stop(request, timeout) => {
                let stopped = self.stop(request, timeout);
                match stopped {
                    Ok(()) if self.is_up => self.stops_waiting.push(reply),
                    stopped => answer(reply, stopped),
                }
            }
            // What cannot be started again is not stopped for it.
            InstanceCommand::Restart(_) if !self.is_launchable => answer(reply, Err(values_unknown(&self.launch))),
            InstanceCommand::Restart(request) => match self.step(PlanInput::Restart(request)) {
                Ok(()) if self.plan.awaits_start() => self.restarts_waiting.push(reply),
                Ok(()) if self.fetching.is_some() => self.starts_waiting.push(reply),
                restarted => answer(reply, restarted),
            },
            InstanceCommand::Rotate(request) => self.rotate(request, reply),
            InstanceCommand::Input(stdin) => {
                self.next_stdin = Some(stdin);
                answer(reply, Ok(()));
            }
            InstanceCommand::Signal(request, signal) => answer_later(reply, self.runner.begin_signal(request, signal)),
            InstanceCommand::UpdateSpec { launch, is_launchable, request } => {
                answer(reply, self.update_spec(launch, is_launchable, request));
            }
            InstanceCommand::Unregister(_) | InstanceCommand::Release => {
                let request = if let InstanceCommand::Unregister(request) = command { Some(request) } else { None };
                let taken_out = self.take_out(request);
                let is_out = taken_out.is_ok();
                answer(reply, taken_out);
                if is_out {
                    return std::ops::ControlFlow::Break(());
                }
            }
            InstanceCommand::WaitIdle => self.settles_waiting.push(reply),
            InstanceCommand::Over(told) => {
                self.settles_waiting.push(reply);
                self.ends_waiting.push(told);
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Runs `launch` from the next start on. Stays as it is where that cannot be recorded.
    fn update_spec(
        &mut self,
        launch: Arc<LaunchSpec>,
        is_launchable: bool,
        request: Requester,
    ) -> Result<(), ProcessError> {
        self.runner.update_spec(launch.spec.clone(), &EventOrigin::of(request))?;
        self.watch = Watch::new(&launch, (self.adapters)(&launch), self.runner.kept_output());
        if self.is_up {
            self.watch.begin();
        }
        self.launch = launch;
        self.is_launchable = is_launchable;
        Ok(())
    }

    /// Stops it, or keeps it from being started. Whoever waits for it to run is told so.
    fn stop(&mut self, request: Requester, timeout: Option<Duration>) -> Result<(), ProcessError> {
        let was_fetching = self.fetching.take().is_some();
        let is_due = self.runner.stream().is_some_and(|stream| matches!(stream.follow_up, FollowUp::Restart { .. }));
        let why = if is_own(&request) { LEAVING } else { "a stop was asked for" };
        let stopped = if was_fetching && !is_due {
            self.call_off_start(request)
        } else {
            self.step(PlanInput::Stop(request, timeout))
        };
        if stopped.is_ok() {
            let called_off = Err(ProcessError::InvalidState(why.to_owned()));
            answer_all(&mut self.starts_waiting, &called_off);
            answer_all(&mut self.restarts_waiting, &called_off);
        }
        stopped
    }

    /// Calls off a start of which nothing is on record yet, so that a later supervisor knows whether it is still wanted.
    fn call_off_start(&mut self, request: Requester) -> Result<(), ProcessError> {
        let is_news = self.runner.stream().is_some_and(|stream| changes_mind(&request, true, &stream));
        if !is_news {
            return Ok(());
        }
        let kind = EventKind::RestartRefused { rule: RestartRule::StopRequested };
        self.runner.record(&EventOrigin::of(request), vec![kind]).map(drop)
    }

    /// One step that nobody waits for.
    fn step_alone(&mut self, input: PlanInput) {
        let is_restart = matches!(input, PlanInput::RestartDue | PlanInput::RunOver);
        let stepped = self.step(input);
        self.retry_later(&stepped, is_restart);
        // Not while the stop before it is still under way.
        let is_restarted = self.is_up && !self.plan.awaits_start();
        if is_restart && !self.restarts_waiting.is_empty() && (is_restarted || stepped.is_err()) {
            answer_all(&mut self.restarts_waiting, &stepped);
        }
    }

    fn step(&mut self, input: PlanInput) -> Result<(), ProcessError> {
        let Some(stream) = self.runner.stream() else {
            return Err(ProcessError::NotFound("a process that has no events".to_owned()));
        };
        let (is_up, end_seq) = (self.is_up, self.runner.end_seq());
        let seen = PlanContext {
            stream: &stream,
            is_up,
            end_seq,
            now: self.clock.now(),
            random: crate::supervisor::random::random(),
        };
        let before = self.plan.clone();
        for effect in self.plan.step(input, &seen) {
            match self.perform(effect, &seen) {
                Ok(()) => {}
                Err(error @ ProcessError::SpawnFailed(_)) => return Err(error),
                Err(error) => {
                    // What could not be done has no consequences, and is still to be done where nobody asks again.
                    self.plan = before;
                    return Err(error);
                }
            }
        }
        self.note_business();
        Ok(())
    }

    fn perform(&mut self, effect: Effect, seen: &PlanContext<'_>) -> Result<(), ProcessError> {
        match effect {
            Effect::Start { origin, trigger } => self.start(&origin, trigger),
            Effect::Stop { request, timeout } => {
                let timeout = timeout.unwrap_or(self.launch.spec.shutdown.timeout);
                self.stop_answer = Some(self.runner.begin_stop(timeout, request)?);
                Ok(())
            }
            Effect::Record { origin, kind } => {
                if matches!(kind, EventKind::RestartRefused { .. }) {
                    self.restart_at = None;
                }
                self.runner.record(&origin, vec![kind]).map(drop)
            }
            Effect::Schedule { .. } if !self.is_launchable => self.refuse_unlaunchable(seen.end_seq),
            Effect::Schedule { attempt, delay } => {
                let origin = EventOrigin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now);
                let scheduled = EventKind::RestartScheduled { attempt, delay_ms: millis(delay) };
                self.runner.record(&origin, vec![scheduled])?;
                self.restart_at = Some(instant_in(delay));
                Ok(())
            }
            Effect::Refuse(operation) => Err(self.runner.refusal(operation)),
        }
    }

    fn start(&mut self, origin: &EventOrigin, trigger: StartTrigger) -> Result<(), ProcessError> {
        if self.flags.starts.is_closed() {
            return self.refuse_leaving(trigger);
        }
        if !self.is_launchable {
            self.refuse_unlaunchable(origin.cause)?;
            let command =
                format!("{} cannot be started: the values it was launched with are not known", self.launch.spec.name);
            return Err(ProcessError::InvalidState(command));
        }
        self.restart_at = None;
        let (base_env, umask) = (self.launch.base_env.clone(), self.launch.umask);
        let given = StartEnv { base_env, umask, credentials: Vec::new(), stdin: self.next_stdin.take() };
        let Some(config) = self.launch.spec.credentials.clone() else {
            return self.start_with(origin, trigger, given);
        };
        // A program may have to be asked for them, which takes its time: a stop must not wait for that.
        let (source, cwd) = (self.launch.credential_source.clone(), self.launch.spec.cwd.clone());
        let given = tokio::spawn(async move {
            let resolved = credentials::resolve(source.as_ref(), &config, cwd.as_deref()).await?;
            Ok(StartEnv { credentials: resolved.into_variables(), ..given })
        });
        self.fetching = Some(Fetching { origin: origin.clone(), trigger, given });
        Ok(())
    }

    /// Refuses a start because the supervisor leaves. What was to be started is recorded to be wanted; a restart that is due is on
    /// record already.
    fn refuse_leaving(&mut self, trigger: StartTrigger) -> Result<(), ProcessError> {
        if trigger == StartTrigger::Start && self.is_launchable {
            let reason = Some("it was to be started".to_owned());
            self.call_off_start(Requester { actor: Actor::System, reason })?;
        }
        Err(ProcessError::InvalidState(LEAVING.to_owned()))
    }

    /// Goes on with a start once its credentials are there, or are known not to be.
    fn fetched(&mut self, given: Result<StartEnv, CredentialError>) {
        let Some(fetching) = self.fetching.take() else { return };
        let (origin, trigger) = (&fetching.origin, fetching.trigger);
        let started = match given {
            Ok(given) => self.start_with(origin, trigger, given),
            Err(error) => {
                let message = error.to_string();
                let failure = SpawnFailure { stage: SpawnStage::Credentials, errno: None, message: message.clone() };
                let recorded = self.runner.fail_start(origin, trigger, failure);
                self.started(recorded.and(Err(ProcessError::SpawnFailed(message))))
            }
        };
        self.retry_later(&started, matches!(trigger, StartTrigger::Restart { .. }));
        answer_all(&mut self.starts_waiting, &started);
        answer_all(&mut self.restarts_waiting, &started);
    }

    fn start_with(&mut self, origin: &EventOrigin, trigger: StartTrigger, given: StartEnv) -> Result<(), ProcessError> {
        let starts = Arc::clone(&self.flags.starts);
        let Some(_under_way) = starts.begin() else { return self.refuse_leaving(trigger) };
        self.watch.begin();
        let started = self.runner.start_as(origin, trigger, given);
        self.started(started)
    }

    /// What follows from a start, or from one that failed.
    fn started(&mut self, started: Result<(), ProcessError>) -> Result<(), ProcessError> {
        match &started {
            Ok(()) => self.up(),
            Err(error) => {
                self.watch.ended();
                if matches!(error, ProcessError::SpawnFailed(_)) {
                    self.next_steps.push_back(PlanInput::RunOver);
                }
            }
        }
        started
    }

    /// A restart that could not be recorded is tried again: the disk may have room by then.
    fn retry_later(&mut self, stepped: &Result<(), ProcessError>, is_restart: bool) {
        match stepped {
            // On record like any other end of a run.
            Ok(()) | Err(ProcessError::SpawnFailed(_)) => {}
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "a step could not be taken");
                if is_restart {
                    self.restart_at = Some(instant_in(START_RETRY));
                }
            }
        }
    }

    /// A run has begun, or was taken over.
    fn up(&mut self) {
        self.is_up = true;
        let now = self.clock.now();
        let started = self.runner.stream().and_then(|stream| stream.run_started).unwrap_or(now);
        let age = now.nanos_since(&started).map_or(Duration::ZERO, Duration::from_nanos);
        self.sustained_at = Some(instant_in(self.launch.spec.restart.min_uptime.saturating_sub(age)));
        self.health_task = HealthTask::started(self.launch.spec.health.clone(), &started, &now);
        self.sampler = Sampler::started(age);
    }

    fn run_over(&mut self) {
        self.is_up = false;
        self.sustained_at = None;
        self.health_task = HealthTask::default();
        self.sampler = Sampler::default();
        self.watch.ended();
        self.stop_answer = None;
        let recorded = self.runner.check_recording();
        self.stopped = Some(recorded.as_ref().copied().map_err(ProcessError::copied));
        match recorded {
            Ok(()) => self.next_steps.push_back(PlanInput::RunOver),
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "it is not supervised any more");
                answer_all(&mut self.restarts_waiting, &Err(error));
            }
        }
    }

    fn rotate(&mut self, request: Requester, reply: Reply) {
        let (signal, config) = match &self.launch.spec.credentials {
            Some(config) => (config.reload_signal, config),
            None => return answer(reply, Err(ProcessError::InvalidState("it has no credentials".to_owned()))),
        };
        let Some(signal) = signal else {
            return answer(reply, Err(ProcessError::InvalidState("its credentials name no reload_signal".to_owned())));
        };
        let variables = config.variables.keys().cloned().collect();
        answer_later(reply, self.runner.begin_rotation(request, config.profile.clone(), variables, signal));
    }

    fn take_out(&mut self, request: Option<Requester>) -> Result<(), ProcessError> {
        if self.is_busy() {
            return Err(self.runner.refusal("unregister"));
        }
        match request {
            // What was never registered need not be taken out.
            Some(request) if self.runner.stream().is_some_and(|stream| !stream.unregistered) => {
                self.runner.record(&EventOrigin::of(request), vec![EventKind::Unregistered]).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn refuse_unlaunchable(&mut self, cause: Option<u64>) -> Result<(), ProcessError> {
        let origin = EventOrigin::of(Actor::Policy).caused_by(cause);
        self.runner.record(&origin, vec![EventKind::RestartRefused { rule: RestartRule::LaunchUnknown }]).map(drop)
    }

    fn measured(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage.filter(|_| self.runner.state().is_running()) else { return };
        let sampled = self.sampler.conclude(usage);
        if let Err(error) = self.runner.record(&EventOrigin::default(), vec![sampled]) {
            tracing::warn!(%error, "a measurement could not be recorded");
        }
    }

    fn observe(&mut self) {
        let observed = self.watch.observe(self.clock.now());
        if observed.is_empty() || !self.runner.state().is_running() {
            return;
        }
        if let Err(error) = self.runner.record(&EventOrigin::default(), observed) {
            tracing::warn!(%error, "an observation could not be recorded");
        }
    }

    fn answer_settled(&mut self) {
        if !self.is_busy() {
            for told in self.ends_waiting.drain(..) {
                if let Some(stream) = self.runner.stream() {
                    // Who wants to know may have left.
                    drop(told.send(stream));
                }
            }
            answer_all(&mut self.settles_waiting, &self.runner.check_recording());
        }
    }

    fn note_business(&self) {
        self.flags.busy.store(self.is_busy(), Ordering::Release);
    }

    fn is_busy(&self) -> bool {
        self.is_up || self.restart_at.is_some() || self.fetching.is_some() || !self.next_steps.is_empty()
    }
}

/// What a start is waiting for. To be asked while one is; loses nothing when dropped.
async fn fetched(fetching: &mut Option<Fetching>) -> Result<StartEnv, CredentialError> {
    let Some(fetching) = fetching else { return std::future::pending().await };
    match (&mut fetching.given).await {
        Ok(given) => given,
        Err(error) => Err(CredentialError::Command(format!("broke off: {error}"))),
    }
}

/// The answer to a stop. One that is not given means that the run has just ended, which was the aim.
async fn answered(waited: &mut Option<Answer>) -> Result<(), ProcessError> {
    match waited {
        Some(answer) => answer.await.unwrap_or(Ok(())),
        None => Ok(()),
    }
}

/// Answers once the run has answered. The instance actor goes on meanwhile.
fn answer_later(reply: Reply, asked: Result<Answer, ProcessError>) {
    match asked {
        Err(error) => answer(reply, Err(error)),
        Ok(told) => drop(tokio::spawn(async move {
            let just_ended = || ProcessError::InvalidState("it has just ended".to_owned());
            answer(reply, told.await.unwrap_or_else(|_| Err(just_ended())));
        })),
    }
}

/// Nobody may be listening any more, which is theirs to decide.
fn answer(reply: Reply, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}

fn answer_all(waiting: &mut Vec<Reply>, result: &Result<(), ProcessError>) {
    for reply in waiting.drain(..) {
        answer(reply, result.as_ref().copied().map_err(ProcessError::copied));
    }
}
