//! The task that tends one instance: it waits for one thing to happen, asks the plan, and does what the plan says.
//!
//! It owns the runner. Nobody else starts, stops or respecifies the instance; others look at its stream and send orders.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    AdapterFactory, Launch,
    checkup::Checkup,
    order::{Order, Reply, What},
    plan::{Effect, Input, Plan, Seen},
    sampler::Sampler,
    watch::Watch,
};
use crate::{
    credentials::{self, CredentialConfig, CredentialError, Resolved},
    duration::millis,
    process::{
        Actor, Answer, Clock, EventKind, FollowUp, Given, Origin, ProcessError, ProcessRunner, Request, RestartRule,
        Resumed, SpawnFailure, SpawnStage, StartTrigger,
    },
};

/// How long a start that could not be recorded is put off. A full disk may have room again by then.
const START_RETRY: Duration = Duration::from_secs(10);

/// One thing that happened.
enum Happened {
    Ordered(Order),
    /// The run is over, recorded, and its output is through.
    RunOver,
    StopAnswered(Result<(), ProcessError>),
    RestartDue,
    Sustained,
    SampleDue,
    CheckupDue,
    Checked(crate::health::ProbeResult),
    WatchDue,
}

/// The task's own state.
pub(super) struct Tender {
    runner: ProcessRunner,
    launch: Arc<Launch>,
    /// Whether the launch has the values that the process was launched with; not when all that is left is the record.
    is_launchable: bool,
    clock: Arc<dyn Clock>,
    plan: Plan,
    orders: mpsc::Receiver<Order>,
    /// Whether there is a run that is not over.
    is_up: bool,
    /// Whether something runs or is due: for whoever wants to know if there is anything to wait for.
    busy: Arc<AtomicBool>,
    /// What follows at once from what was just done.
    next_steps: VecDeque<Input>,
    stop_answer: Option<Answer>,
    stops_waiting: Vec<Reply>,
    restarts_waiting: Vec<Reply>,
    settles_waiting: Vec<Reply>,
    restart_at: Option<Instant>,
    sustained_at: Option<Instant>,
    checkup: Checkup,
    sampler: Sampler,
    watch: Watch,
    adapters: AdapterFactory,
}

impl Tender {
    pub(super) fn new(
        runner: ProcessRunner,
        launch: Arc<Launch>,
        is_launchable: bool,
        clock: Arc<dyn Clock>,
        orders: mpsc::Receiver<Order>,
        busy: Arc<AtomicBool>,
        adapters: AdapterFactory,
    ) -> Self {
        let watch = Watch::new(&launch, adapters(&launch), runner.kept_output());
        Self {
            runner,
            launch,
            is_launchable,
            clock,
            plan: Plan::default(),
            orders,
            is_up: false,
            busy,
            next_steps: VecDeque::new(),
            stop_answer: None,
            stops_waiting: Vec::new(),
            restarts_waiting: Vec::new(),
            settles_waiting: Vec::new(),
            restart_at: None,
            sustained_at: None,
            checkup: Checkup::default(),
            sampler: Sampler::default(),
            watch,
            adapters,
        }
    }

    /// Takes up what an earlier supervisor left open.
    ///
    /// # Errors
    /// When what was found cannot be recorded, or `/proc` cannot be read.
    pub(super) async fn resume(&mut self) -> Result<Resumed, ProcessError> {
        let resumed = self.runner.resume()?;
        if matches!(resumed, Resumed::Nothing | Resumed::NeverStarted) {
            self.runner.drain_held().await?;
        }
        match resumed {
            Resumed::Adopted => {
                self.watch.begin();
                self.up();
                self.step(Input::Resumed).await?;
            }
            Resumed::Ended => self.is_up = true,
            Resumed::NeverStarted => self.step(Input::RunOver).await?,
            Resumed::Nothing => match self.runner.stream().map(|stream| stream.follow_up) {
                Some(FollowUp::Undecided { .. }) => self.step(Input::RunOver).await?,
                Some(FollowUp::Restart { since, delay_ms, .. }) if self.is_launchable => {
                    let delay = Duration::from_millis(delay_ms);
                    let spent = self.clock.now().nanos_since(&since).map_or(Duration::ZERO, Duration::from_nanos);
                    self.restart_at = Some(Instant::now() + delay.saturating_sub(spent));
                }
                Some(FollowUp::Restart { seq, .. }) => self.refuse_unlaunchable(Some(seq))?,
                Some(FollowUp::Nothing) | None => {}
            },
        }
        self.note_business();
        Ok(resumed)
    }

    /// Tends the instance until nobody can send orders any more, or it is taken out of supervision.
    pub(super) async fn tend(mut self) {
        loop {
            while let Some(input) = self.next_steps.pop_front() {
                self.step_alone(input).await;
            }
            self.answer_settled();
            self.note_business();
            let Some(happened) = self.next().await else { return };
            if self.handle(happened).await.is_break() {
                self.busy.store(false, Ordering::Release);
                return;
            }
        }
    }

    /// The next thing that happens; `None` when nobody can send orders any more. Loses nothing when dropped.
    async fn next(&mut self) -> Option<Happened> {
        let far = Instant::now() + Duration::from_secs(24 * 60 * 60);
        let at = |when: Option<Instant>| sleep_until(when.unwrap_or(far));
        let Self { checkup, sampler, watch, .. } = self;
        let (checkup_at, sample_at, watch_at, is_checking) =
            (checkup.due(), sampler.due(), watch.due(), checkup.is_running());
        tokio::select! {
            biased;
            _ = self.runner.wait(), if self.is_up => Some(Happened::RunOver),
            answer = answered(&mut self.stop_answer), if self.stop_answer.is_some() => Some(Happened::StopAnswered(answer)),
            order = self.orders.recv() => order.map(Happened::Ordered),
            () = at(self.restart_at), if self.restart_at.is_some() => Some(Happened::RestartDue),
            () = at(self.sustained_at), if self.sustained_at.is_some() => Some(Happened::Sustained),
            result = self.checkup.result(), if is_checking => Some(Happened::Checked(result)),
            () = at(checkup_at), if checkup_at.is_some() => Some(Happened::CheckupDue),
            () = at(sample_at), if sample_at.is_some() => Some(Happened::SampleDue),
            () = at(watch_at), if watch_at.is_some() => Some(Happened::WatchDue),
        }
    }

    async fn handle(&mut self, happened: Happened) -> std::ops::ControlFlow<()> {
        match happened {
            Happened::Ordered(order) => return self.ordered(order).await,
            Happened::RunOver => self.run_over(),
            Happened::StopAnswered(answer) => {
                self.stop_answer = None;
                answer_all(&mut self.stops_waiting, &answer);
                if answer.is_err() {
                    answer_all(&mut self.restarts_waiting, &answer);
                }
            }
            Happened::RestartDue => {
                self.restart_at = None;
                self.next_steps.push_back(Input::RestartDue);
            }
            Happened::Sustained => {
                self.sustained_at = None;
                self.next_steps.push_back(Input::Sustained);
            }
            Happened::CheckupDue => self.checkup.begin(&self.launch, self.runner.pid().is_some()),
            Happened::Checked(result) => {
                let verdict = self.checkup.conclude(&result, &self.clock.now());
                self.next_steps.push_back(Input::Health(verdict));
            }
            Happened::SampleDue => self.sample(),
            Happened::WatchDue => self.observe(),
        }
        std::ops::ControlFlow::Continue(())
    }

    async fn ordered(&mut self, order: Order) -> std::ops::ControlFlow<()> {
        let Order { what, reply } = order;
        match what {
            What::Start(request) => {
                let started = self.step(Input::Start(request)).await;
                answer(reply, started);
            }
            What::Stop(request, timeout) => match self.step(Input::Stop(request, timeout)).await {
                Ok(()) if self.is_up => self.stops_waiting.push(reply),
                stopped => answer(reply, stopped),
            },
            What::Restart(request) => match self.step(Input::Restart(request)).await {
                Ok(()) if self.stop_answer.is_some() => self.restarts_waiting.push(reply),
                restarted => answer(reply, restarted),
            },
            What::Rotate(request) => {
                let rotated = self.rotate(request).await;
                answer(reply, rotated);
            }
            What::Respec(launch, request) => {
                let respecified = self.runner.respec(launch.spec.clone(), &Origin::of(request));
                self.watch = Watch::new(&launch, (self.adapters)(&launch), self.runner.kept_output());
                if self.is_up {
                    self.watch.begin();
                }
                self.launch = launch;
                self.is_launchable = true;
                answer(reply, respecified);
            }
            What::Unregister(request) => {
                let unregistered = self.unregister(request);
                let is_out = unregistered.is_ok();
                answer(reply, unregistered);
                if is_out {
                    return std::ops::ControlFlow::Break(());
                }
            }
            What::Settle => self.settles_waiting.push(reply),
        }
        std::ops::ControlFlow::Continue(())
    }

    /// One step that nobody waits for.
    async fn step_alone(&mut self, input: Input) {
        let is_restart = matches!(input, Input::RestartDue);
        let stepped = self.step(input).await;
        match &stepped {
            // On record like any other end of a run.
            Ok(()) | Err(ProcessError::SpawnFailed(_)) => {}
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "a step could not be taken");
                if is_restart {
                    self.restart_at = Some(Instant::now() + START_RETRY);
                }
            }
        }
        if !self.restarts_waiting.is_empty() && (self.is_up || stepped.is_err()) {
            answer_all(&mut self.restarts_waiting, &stepped);
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), ProcessError> {
        let Some(stream) = self.runner.stream() else {
            return Err(ProcessError::NotFound("a process that has no events".to_owned()));
        };
        let seen =
            Seen { stream: &stream, end_seq: self.runner.end_seq(), now: self.clock.now(), random: super::random() };
        for effect in self.plan.step(input, &seen) {
            self.perform(effect, &seen).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, effect: Effect, seen: &Seen<'_>) -> Result<(), ProcessError> {
        match effect {
            Effect::Start { origin, trigger } => self.start(&origin, trigger).await,
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
                let origin = Origin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now);
                let scheduled = EventKind::RestartScheduled { attempt, delay_ms: millis(delay) };
                self.runner.record(&origin, vec![scheduled])?;
                self.restart_at = Some(Instant::now() + delay);
                Ok(())
            }
            Effect::Refuse(operation) => Err(self.runner.refusal(operation)),
        }
    }

    async fn start(&mut self, origin: &Origin, trigger: StartTrigger) -> Result<(), ProcessError> {
        if !self.is_launchable {
            self.refuse_unlaunchable(origin.cause)?;
            let what =
                format!("{} cannot be started: the values it was launched with are not known", self.launch.spec.name);
            return Err(ProcessError::InvalidState(what));
        }
        self.restart_at = None;
        let started = match self.given().await {
            Ok(given) => {
                self.watch.begin();
                self.runner.start_as(origin, trigger, given)
            }
            Err(error) => {
                let message = error.to_string();
                let failure = SpawnFailure { stage: SpawnStage::Credentials, errno: None, message: message.clone() };
                self.runner.fail_start(origin, trigger, failure)?;
                Err(ProcessError::SpawnFailed(message))
            }
        };
        match &started {
            Ok(()) => self.up(),
            Err(error) => {
                self.watch.ended();
                if matches!(error, ProcessError::SpawnFailed(_)) {
                    self.next_steps.push_back(Input::RunOver);
                }
            }
        }
        started
    }

    /// What the process is given beside its specification, credentials fetched anew.
    async fn given(&self) -> Result<Given, CredentialError> {
        let base_env = self.launch.base_env.clone();
        let Some(config) = &self.launch.spec.credentials else {
            return Ok(Given { base_env, credentials: Vec::new() });
        };
        Ok(Given { base_env, credentials: self.resolve(config).await?.into_variables() })
    }

    async fn resolve(&self, config: &CredentialConfig) -> Result<Resolved, CredentialError> {
        credentials::resolve(self.launch.credential_source.as_ref(), config, self.launch.spec.cwd.as_deref()).await
    }

    /// A run has begun, or was taken over.
    fn up(&mut self) {
        self.is_up = true;
        let now = self.clock.now();
        let started = self.runner.stream().and_then(|stream| stream.run_started).unwrap_or(now);
        let age = now.nanos_since(&started).map_or(Duration::ZERO, Duration::from_nanos);
        self.sustained_at = Instant::now().checked_add(self.launch.spec.restart.min_uptime.saturating_sub(age));
        self.checkup = Checkup::started(self.launch.spec.health.clone(), &started, &now);
        self.sampler = Sampler::started(age);
    }

    fn run_over(&mut self) {
        self.is_up = false;
        self.sustained_at = None;
        self.checkup = Checkup::default();
        self.sampler = Sampler::default();
        self.watch.ended();
        self.stop_answer = None;
        let recorded = self.runner.check_recording();
        answer_all(&mut self.stops_waiting, &recorded);
        match recorded {
            Ok(()) => self.next_steps.push_back(Input::RunOver),
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "it is not supervised any more");
                answer_all(&mut self.restarts_waiting, &Err(error));
            }
        }
    }

    async fn rotate(&mut self, request: Request) -> Result<(), ProcessError> {
        let Some(config) = self.launch.spec.credentials.clone() else {
            return Err(ProcessError::InvalidState("it has no credentials".to_owned()));
        };
        let Some(signal) = config.reload_signal else {
            return Err(ProcessError::InvalidState("its credentials name no reload_signal".to_owned()));
        };
        // Fetched to be sure that there are any: what the process makes of the signal is its own affair.
        self.resolve(&config).await.map_err(|error| ProcessError::InvalidState(error.to_string()))?;
        let variables = config.variables.into_keys().collect();
        let answer = self.runner.begin_rotation(request, config.profile, variables, signal)?;
        answer.await.unwrap_or_else(|_| Err(ProcessError::InvalidState("it has just ended".to_owned())))
    }

    fn unregister(&mut self, request: Request) -> Result<(), ProcessError> {
        if self.is_up {
            return Err(self.runner.refusal("unregister"));
        }
        self.runner.record(&Origin::of(request), vec![EventKind::Unregistered]).map(drop)
    }

    fn refuse_unlaunchable(&mut self, cause: Option<u64>) -> Result<(), ProcessError> {
        let origin = Origin::of(Actor::Policy).caused_by(cause);
        self.runner.record(&origin, vec![EventKind::RestartRefused { rule: RestartRule::LaunchUnknown }]).map(drop)
    }

    fn sample(&mut self) {
        let Some(sampled) = self.sampler.sample(self.runner.stream().and_then(|stream| stream.identity)) else {
            return;
        };
        if let Err(error) = self.runner.record(&Origin::default(), vec![sampled]) {
            tracing::warn!(%error, "a measurement could not be recorded");
        }
    }

    fn observe(&mut self) {
        let observed = self.watch.observe(self.clock.now());
        if observed.is_empty() || !self.runner.state().is_running() {
            return;
        }
        if let Err(error) = self.runner.record(&Origin::default(), observed) {
            tracing::warn!(%error, "an observation could not be recorded");
        }
    }

    fn answer_settled(&mut self) {
        if !self.is_up && self.restart_at.is_none() && self.next_steps.is_empty() {
            answer_all(&mut self.settles_waiting, &self.runner.check_recording());
        }
    }

    fn note_business(&self) {
        let is_busy = self.is_up || self.restart_at.is_some() || !self.next_steps.is_empty();
        self.busy.store(is_busy, Ordering::Release);
    }
}

/// The answer to a stop. One that is not given means that the run has just ended, which was the aim.
async fn answered(waited: &mut Option<Answer>) -> Result<(), ProcessError> {
    match waited {
        Some(answer) => answer.await.unwrap_or(Ok(())),
        None => Ok(()),
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
