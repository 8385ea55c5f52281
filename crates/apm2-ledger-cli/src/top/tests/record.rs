//! A ledger in memory, and its answers to the questions of the screen.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use apm2_lanes::{fold::LanesFold, grid::Grid, watch::WatchFold};
use apm2_model::{
    event::{
        Event, NewEvent,
        actor::Actor,
        agent::{
            event::{AgentEvent, ToolCall},
            label::Label,
            outcome::AgentOutcome,
            report::{AgentReport, OutputPosition},
            usage::TokenUsage,
        },
        exit::{Evidence as ExitEvidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, RestartRule, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{
        ProcessSpec,
        agent_kind::AgentKind,
        config::{
            agent::AgentConfig,
            restart::{RestartConfig, RestartPolicy},
        },
        id::ProcessId,
        redact::spec::RedactedSpec,
    },
    state::stream::Stream,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    end_details::{EndDetail, EndDetails, LastLine},
    history::{InstanceHistory, runs_of},
    moment::Moment,
    period_lanes::Timeline,
    status::{KernelState, StatusContext, Supervision},
    steps::{States, Step, apply},
    time::At,
    top::{
        feed::samples::Sample,
        message::{Answer, PastAnswer, PastStates, Question, Step as EventStep, StepDirection},
        snapshot::Snapshot,
    },
    why::evidence::Evidence,
};

/// 2026-01-31T12:00:00Z.
const BEGINNING_NS: i64 = 1_769_860_800_000_000_000;
const BOOT: Uuid = Uuid::from_u128(0x0b00_0000_0000_4000_8000_0000_0000_0001);

/// The events of a ledger.
#[derive(Default)]
pub(super) struct Record {
    pub(super) events: Vec<Event>,
    runs: HashMap<StreamId, u64>,
    versions: HashMap<StreamId, u64>,
    seconds: u64,
    /// From when on no daemon ran, before the present.
    pub(super) unwatched_from: Option<DateTime<Utc>>,
}

/// The instance `instance` of the process with this number.
pub(super) fn id(number: u8, instance: u32) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([number; 16]), instance }
}

impl Record {
    /// Some processes in every state after a day, with samples, an agent and failures.
    pub(super) fn of_a_day() -> Self {
        let mut record = Self::default();
        let never = RestartPolicy::Never;
        for instance in 0..3 {
            record.register(id(1, instance), spec(1, "web", &["serve", "--port", "8080"], 3, RestartPolicy::Always));
            record.start(id(1, instance), StartTrigger::Start);
        }
        record.register(id(2, 0), spec(2, "mailer", &["mail"], 1, RestartPolicy::OnFailure));
        record.start(id(2, 0), StartTrigger::Start);
        for attempt in 1..=3 {
            record.wait(40 + u64::from(attempt));
            record.crash(id(2, 0), 7, &["connecting", "error: \x1b[31mno route to host\x1b[0m"]);
            record.policy(id(2, 0), EventKind::RestartScheduled { attempt, delay_ms: 1000 });
            record.wait(1);
            record.start(id(2, 0), StartTrigger::Restart { attempt });
        }
        record.wait(20);
        record.crash(id(2, 0), 7, &["connecting"]);
        let rule = RestartRule::BudgetSpent { restarts: 3, max_restarts: 3, window_ms: 600_000 };
        record.policy(id(2, 0), EventKind::RestartRefused { rule });
        record.register(id(3, 0), spec(3, "nightly-report", &["report", "--all"], 1, never));
        record.start(id(3, 0), StartTrigger::Start);
        record.wait(300);
        record.system(id(3, 0), EventKind::Stopped { exit: exit(ExitOutcome::Code(0)) });
        record.register(id(4, 0), agent_spec(4, "coder"));
        record.start(id(4, 0), StartTrigger::Start);
        record.agent(id(4, 0));
        for round in 0..6_u64 {
            record.wait(600);
            for instance in 0..3 {
                let load = u32::try_from(round * 700 + u64::from(instance) * 300).unwrap();
                record.sample(id(1, instance), load, (40 + round * 7) << 20);
            }
            record.sample(id(4, 0), 12_050, (300 + (round % 3) * 40) << 20);
        }
        record.register(id(5, 0), spec(5, "sleeper", &["sleep", "9", "\u{202e}hidden\x1b[2J"], 1, never));
        record.start(id(5, 0), StartTrigger::Start);
        record.wait(30);
        let stopping = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 10_000, force_kill: true };
        record.add(id(5, 0), ada(), Some("maintenance"), stopping);
        record.register(id(6, 0), spec(6, "proxy", &["proxy"], 1, RestartPolicy::Always));
        record.start(id(6, 0), StartTrigger::Start);
        record.crash(id(6, 0), 1, &["address in use"]);
        record.policy(id(6, 0), EventKind::RestartScheduled { attempt: 1, delay_ms: 30_000 });
        record.register(id(7, 0), spec(7, "old", &["old"], 1, never));
        record.system(id(7, 0), EventKind::Unregistered);
        record.wait(5);
        record
    }

    /// The time after the last event.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.stamp().wall()
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
    }

    fn stamp(&self) -> Timestamp {
        let nanos = self.seconds * 1_000_000_000;
        Timestamp { wall_ns: BEGINNING_NS + i64::try_from(nanos).unwrap(), boot_ns: nanos, boot_id: BOOT }
    }

    pub(super) fn add(&mut self, stream: StreamId, actor: Actor, reason: Option<&str>, kind: EventKind) -> &Event {
        let run = self.runs.entry(stream).or_default();
        *run = kind.run_after(*run);
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        let (run, version, stamp, reason) = (*run, *version, self.stamp(), reason.map(str::to_owned));
        let event = NewEvent { stream, run, actor, reason, cause: None, stamp, kind };
        self.events.push(event.numbered(self.events.len() as u64 + 1, version));
        self.events.last().unwrap()
    }

    pub(super) fn system(&mut self, id: StreamId, kind: EventKind) -> &Event {
        self.add(id, Actor::System, None, kind)
    }

    fn policy(&mut self, id: StreamId, kind: EventKind) {
        self.add(id, Actor::Policy, None, kind);
    }

    pub(super) fn register(&mut self, id: StreamId, spec: ProcessSpec) {
        self.add(id, ada(), None, EventKind::Registered { spec: RedactedSpec::new(&spec) });
    }

    pub(super) fn start(&mut self, id: StreamId, trigger: StartTrigger) {
        let actor = if trigger == StartTrigger::Start { ada() } else { Actor::Policy };
        self.add(id, actor, None, EventKind::StartRequested { trigger });
        let pid = 4000 + u32::try_from(self.events.len()).unwrap();
        let identity = Some(ProcessIdentity { boot_id: BOOT, pid, start_ticks: u64::from(pid), pid_namespace: None });
        self.system(id, EventKind::Starting { identity, trigger });
        self.system(id, EventKind::Running);
    }

    pub(super) fn crash(&mut self, id: StreamId, code: i32, stderr: &[&str]) {
        self.system(id, EventKind::Crashed { cause: RunEnd::Exit(exit(ExitOutcome::Code(code))) });
        let stderr = stderr.iter().map(|line| (*line).to_owned()).collect();
        self.system(id, EventKind::OutputTail { stdout: Vec::new(), stderr });
    }

    pub(super) fn sample(&mut self, id: StreamId, cpu_centipercent: u32, memory_bytes: u64) {
        self.system(id, EventKind::Sampled { cpu_centipercent, memory_bytes, processes: Some(1) });
    }

    fn agent(&mut self, id: StreamId) {
        let label = |text| Label::new(text).unwrap();
        let call = |call_id, tool| ToolCall {
            call_id: label(call_id),
            tool: label(tool),
            mcp_server: None,
            parent_call_id: None,
        };
        let usage = TokenUsage { input: 123_456, output: 7_890, ..TokenUsage::default() };
        let started = AgentEvent::SessionStarted {
            session_id: label("0f8fad5b"),
            model: Some(label("model-1")),
            agent_version: None,
            permission_mode: None,
            is_resumed: false,
            mcp_servers: Vec::new(),
        };
        let turn = AgentEvent::TurnEnded {
            turn: 1,
            usage,
            cost_micros: Some(1_234_567),
            duration_ms: None,
            outcome: AgentOutcome::Success,
        };
        let tool = AgentEvent::ToolStarted { call: call("c1", "Bash"), input_bytes: 20 };
        for event in [started, turn, tool] {
            self.wait(10);
            let read_to = OutputPosition { generation: 1, offset: self.events.len() as u64 };
            let report = AgentReport { agent: AgentKind::ClaudeCode, event, read_to };
            self.system(id, EventKind::Agent { report: Box::new(report) });
        }
    }

    fn states(&self, upto: u64) -> States {
        let mut states = States::new();
        for event in self.events.iter().filter(|event| event.seq <= upto) {
            apply(&mut states, event).unwrap();
        }
        states
    }

    /// The present, as a daemon has it or as it is without one.
    pub(super) fn snapshot(&self, supervision: Supervision) -> Snapshot {
        let launched: HashSet<ProcessId> = (1..=6).map(|number| id(number, 0).process_id).collect();
        let moment = Moment { seq: u64::MAX, now: self.now(), is_present: true, is_unwatched: false };
        let recorded_until = (supervision != Supervision::Answered).then(|| self.now());
        let context =
            StatusContext { moment, supervision: Some(supervision), launched: Some(launched), recorded_until };
        let seq = self.events.len() as u64;
        let mut snapshot = Snapshot::new(seq, self.states(seq).into_values().collect(), context);
        snapshot.observed = self.observed(&snapshot);
        snapshot
    }

    fn observed(&self, snapshot: &Snapshot) -> HashMap<StreamId, KernelState> {
        let of = |id: StreamId| if id.instance == 1 { KernelState::Gone } else { KernelState::Alive };
        snapshot.unsupervised().into_iter().map(|(id, _)| (id, of(id))).collect()
    }

    /// Answers a question as the ledger would.
    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        Some(match question {
            Question::History(key) => Answer::History(*key, self.history(key.id, key.upto)),
            Question::Why(key) => Answer::Why(*key, self.evidence(key.id, key.upto)),
            Question::Jump(at) => Answer::Past(self.jump(*at)),
            Question::Step(step) => self.step(*step),
            Question::Samples(upto) => {
                let events = self.events.iter().filter(|event| event.seq <= *upto);
                Answer::Samples(events.filter_map(|event| Some((event.stream, Sample::of(event)?))).collect())
            }
            Question::Overview { until, .. } => Answer::Overview(Box::new(self.overview(*until))),
            Question::Facts(_) | Question::Snapshot => return None,
        })
    }

    fn of(&self, id: StreamId, upto: u64) -> Vec<Event> {
        self.events.iter().filter(|event| event.stream == id && event.seq <= upto).cloned().collect()
    }

    fn history(&self, id: StreamId, upto: u64) -> Option<InstanceHistory> {
        let events = self.of(id, upto);
        let runs = runs_of(&events);
        let last_output = runs.iter().rev().find_map(|run| {
            let (stdout, stderr) = run.last_output.clone()?;
            Some(crate::history::LastOutput { run: run.number, stdout, stderr })
        });
        let mut states = States::new();
        let step = |event: Event| Step { transition: apply(&mut states, &event).unwrap(), event };
        let steps = events.into_iter().map(step).collect();
        Some(InstanceHistory { stream: self.states(upto).remove(&id)?, steps, runs, last_output })
    }

    fn evidence(&self, id: StreamId, upto: u64) -> Option<Evidence> {
        let stream = self.states(upto).remove(&id)?;
        let (changes, specs_before) = (Vec::new(), HashMap::new());
        Some(Evidence { stream, events: self.of(id, upto), has_gap: false, changes, specs_before, down_since: None })
    }

    fn overview(&self, until: Option<At>) -> Timeline {
        let is_before = |event: &&Event| match until {
            None => true,
            Some(At::Seq(seq)) => event.seq <= seq,
            Some(At::Time(time)) => event.stamp.wall() <= time,
        };
        let events = || self.events.iter().filter(is_before);
        let to = events().next_back().map_or_else(|| self.stamp(), |event| event.stamp);
        let grid = Grid::new(self.events[0].stamp, to, 1);
        let mut lanes = LanesFold::new(grid);
        events().for_each(|event| lanes.apply(event).unwrap());
        let lanes = lanes.finish();
        let line = |event: &Event| match &event.kind {
            EventKind::OutputTail { stderr, .. } => stderr.last().cloned(),
            _ => None,
        };
        let ends = lanes.lanes.iter().filter_map(|lane| lane.outages.open?.mark.map(|mark| (lane.id, mark)));
        let details = ends.map(|(id, mark)| {
            let last_line = self.of(id, u64::MAX).iter().filter(|event| event.run == mark.run).find_map(line);
            let last_line = Some(last_line.map_or(LastLine::Nothing, LastLine::Recorded));
            (mark.seq, EndDetail { last_line, ..EndDetail::default() })
        });
        let details = EndDetails(details.collect());
        Timeline { lanes, spent: BTreeMap::new(), watch: WatchFold::new(grid, None).finish(None), details }
    }

    fn jump(&self, at: At) -> PastAnswer {
        let event = match at {
            At::Seq(seq) => self.events.iter().find(|event| event.seq == seq),
            At::Time(time) => self.events.iter().rfind(|event| event.stamp.wall() <= time),
        };
        let now = match at {
            At::Time(time) => time,
            At::Seq(_) => event.unwrap_or(&self.events[0]).stamp.wall(),
        };
        let is_unwatched = self.unwatched_from.is_some_and(|from| now > from);
        let moment = Moment { is_unwatched, ..Moment::past(event.map_or(0, |event| event.seq), now) };
        let streams: Vec<Stream> = self.states(moment.seq).into_values().collect();
        let snapshot = Snapshot::new(moment.seq, streams, StatusContext::past(moment));
        PastAnswer { moment, event: event.cloned(), states: PastStates::All(Box::new(snapshot)) }
    }

    fn step(&self, step: EventStep) -> Answer {
        let is_hit = |event: &&Event| {
            step.of.is_none_or(|id| event.stream == id) && !matches!(event.kind, EventKind::Sampled { .. })
        };
        let found = match step.direction {
            StepDirection::Earlier => self.events.iter().filter(|event| event.seq < step.from).rfind(is_hit),
            StepDirection::Later => self.events.iter().filter(|event| event.seq > step.from).find(is_hit),
        };
        let Some(event) = found else { return Answer::NoStep(step.direction) };
        let moment = Moment::past(event.seq, event.stamp.wall());
        let (first, last) = (event.seq.min(step.from) + 1, event.seq.max(step.from));
        let ids: HashSet<StreamId> =
            self.events.iter().filter(|event| (first..=last).contains(&event.seq)).map(|event| event.stream).collect();
        let mut all = self.states(event.seq);
        let states: States = ids.iter().filter_map(|id| Some((*id, all.remove(id)?))).collect();
        let absent = ids.into_iter().filter(|id| !states.contains_key(id)).collect();
        let states = PastStates::Changed { from: step.from, states, absent };
        Answer::Past(PastAnswer { moment, event: Some(event.clone()), states })
    }
}

fn ada() -> Actor {
    Actor::Operator { uid: 1000, user: Some("ada".to_owned()), terminal: Some("pts/0".to_owned()) }
}

fn exit(outcome: ExitOutcome) -> Exit {
    Exit { outcome, evidence: ExitEvidence::Observed }
}

/// A specification with this command line.
pub(super) fn spec(number: u8, name: &str, words: &[&str], instances: u32, policy: RestartPolicy) -> ProcessSpec {
    let restart =
        RestartConfig { policy, max_restarts: 3, restart_window: Duration::from_secs(600), ..RestartConfig::default() };
    let builder = ProcessSpec::builder().id(id(number, 0).process_id).name(name).instances(instances).restart(restart);
    builder.command(words[0]).args(words[1..].iter().copied()).build()
}

fn agent_spec(number: u8, name: &str) -> ProcessSpec {
    let builder = ProcessSpec::builder().id(id(number, 0).process_id).name(name).command("claude");
    builder.agent(AgentConfig::default()).build()
}
