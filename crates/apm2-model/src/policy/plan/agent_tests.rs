//! Tests of a plan for agents: what follows from budgets, silence and loops.

use super::*;
use crate::{
    event::{
        NewEvent,
        agent::{
            breach::{BudgetKind, BudgetScope},
            class::FailureClass,
            event::{AgentPhase, LimitStatus, SessionReason},
            outcome::AgentOutcome,
            report::OutputPosition,
            usage::TokenUsage,
        },
        stream_id::StreamId,
    },
    signal::Signal,
    spec::{
        agent_kind::AgentKind,
        config::{
            agent_budget::{AgentBudget, AgentBudgets},
            restart::RestartConfig,
        },
        redact::spec::RedactedSpec,
    },
    testing::{self, at, exit, identity},
};

const DAY_SECS: u64 = 86_400;

/// An agent under supervision, whose effects are recorded as an actor would record them.
struct Agent {
    stream: Stream,
    plan: Plan,
    now: u64,
    account_reset: Option<i64>,
}

impl Agent {
    /// An agent that may spend 100 millionths of a US dollar a day, and whose run may have 3 turns.
    fn running(policy: RestartPolicy) -> Self {
        let mut spec = testing::spec(RestartConfig { policy, ..RestartConfig::default() });
        let day = AgentBudget { cost_micros: Some(100), ..AgentBudget::default() };
        let run = AgentBudget { turns: Some(3), ..AgentBudget::default() };
        let budget = AgentBudgets { day, run, memory_bytes: Some(1000), ..AgentBudgets::default() };
        spec.agent = Some(Box::new(AgentConfig { budget, account: Some("team".to_owned()), ..AgentConfig::default() }));
        let spec = RedactedSpec::new(&spec);
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let actor = Actor::System;
        let kind = EventKind::Registered { spec };
        let first = NewEvent { stream, run: 0, actor, reason: None, cause: None, stamp: at(0), kind };
        let stream = Stream::begin(&first.numbered(1, 1)).unwrap();
        let mut agent = Self { stream, plan: Plan::default(), now: 0, account_reset: None };
        agent.begin();
        agent
    }

    fn begin(&mut self) {
        let trigger = StartTrigger::Start;
        self.record(Actor::System, EventKind::StartRequested { trigger });
        let reason = SessionReason::First;
        self.report(AgentEvent::SessionChosen { session_id: None, is_resumed: false, reason });
        self.record(Actor::System, EventKind::Starting { identity: Some(identity(7)), trigger });
        self.record(Actor::System, EventKind::Running);
    }

    fn record(&mut self, actor: Actor, kind: EventKind) {
        let (version, run, stamp) = (self.stream.version + 1, self.stream.run_of(&kind), at(self.now));
        let event = NewEvent { stream: self.stream.id, run, actor, reason: None, cause: None, stamp, kind };
        self.stream.apply(&event.numbered(version, version)).unwrap();
    }

    fn report(&mut self, event: AgentEvent) {
        let (agent, read_to) = (AgentKind::Custom, OutputPosition::default());
        self.record(Actor::System, EventKind::Agent { report: Box::new(AgentReport { agent, event, read_to }) });
    }

    fn turn(&mut self, cost: u64) {
        let (usage, cost_micros, outcome) = (TokenUsage::default(), Some(cost), AgentOutcome::Success);
        self.report(AgentEvent::TurnEnded { turn: 1, usage, cost_micros, duration_ms: None, outcome });
    }

    fn finished(&mut self, outcome: AgentOutcome) {
        self.finished_with(outcome, None);
    }

    fn finished_with(&mut self, outcome: AgentOutcome, class: Option<FailureClass>) {
        self.report(AgentEvent::Finished {
            outcome,
            class,
            is_permanent: false,
            usage: TokenUsage::default(),
            cost_micros: None,
            turns: 0,
            tool_calls: 0,
            denials: 0,
            background_tasks: 0,
            is_reported: true,
        });
    }

    /// Takes a step and records what it asks for. Returns the effects in words.
    fn step(&mut self, input: PlanInput) -> Vec<String> {
        let is_up = !self.stream.handle.state.has_exited();
        let (now, end_seq) = (at(self.now), Some(self.stream.last_seq));
        let seen =
            PlanContext { stream: &self.stream, is_up, end_seq, account_reset: self.account_reset, now, random: 0 };
        let effects = self.plan.step(input, &seen);
        effects.into_iter().map(|effect| self.perform(effect)).collect()
    }

    fn perform(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Record { origin, kind } => {
                let words = match &kind {
                    EventKind::RestartRefused { rule: RestartRule::AgentStopped { finding } } => {
                        format!("refused: {finding}")
                    }
                    EventKind::Agent { report } => report.event.name().to_owned(),
                    kind => kind.name().to_owned(),
                };
                self.record(origin.request.actor, kind);
                words
            }
            Effect::StopAgent { request } => {
                self.stopping(request.actor, Signal::INT);
                format!("stop for good: {}", request.reason.unwrap())
            }
            Effect::Stop { request, .. } => {
                let by = if request.actor == Actor::Health { "health" } else { "policy" };
                let words = format!("stop by {by}: {}", request.reason.clone().unwrap());
                self.stopping(request.actor, Signal::TERM);
                words
            }
            Effect::Start { .. } => "start".to_owned(),
            Effect::Schedule { attempt, delay } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap();
                self.record(Actor::Policy, EventKind::RestartScheduled { attempt, delay_ms });
                "schedule".to_owned()
            }
            Effect::Join(joined) => format!("joined: {:?}", joined.joined),
            Effect::Deny(breach) => format!("denied: {breach}"),
            Effect::Refuse(what) => what.to_owned(),
        }
    }

    fn stopping(&mut self, actor: Actor, signal: Signal) {
        self.record(actor, EventKind::Stopping { signal, timeout_ms: 5000, force_kill: true });
    }

    fn ends(&mut self) -> Vec<String> {
        self.record(Actor::System, EventKind::Stopped { exit: exit(0) });
        self.step(PlanInput::RunOver)
    }
}

fn watch(memory_bytes: Option<u64>) -> PlanInput {
    PlanInput::Agent { memory_bytes }
}

fn by_hand() -> Requester {
    Requester::from(testing::operator())
}

#[test]
fn a_spent_budget_stops_the_agent_for_good_also_under_another_supervisor() {
    let spent = "0.000130 USD of 0.000100 USD a day were spent";
    for is_taken_over in [false, true] {
        let mut agent = Agent::running(RestartPolicy::Always);
        agent.turn(90);
        assert_eq!(agent.step(watch(None)), [""; 0]);
        agent.turn(40);
        let input = if is_taken_over { PlanInput::Resumed } else { watch(None) };
        assert_eq!(agent.step(input), ["budget_spent".to_owned(), format!("stop for good: {spent}")]);
        assert_eq!(agent.step(watch(None)), [""; 0], "the stop is in progress");
        // The plan of the next supervisor is a new one.
        agent.plan = Plan::default();
        assert_eq!(agent.ends(), [format!("refused: {spent}")]);
        assert!(!agent.stream.wanted && agent.stream.gave_up.is_some());
        let denied = [format!("refused: {spent}"), format!("denied: {spent}")];
        assert_eq!(agent.step(PlanInput::Start(by_hand())), denied);
        agent.now += DAY_SECS;
        assert_eq!(agent.step(PlanInput::Start(by_hand())), ["start"], "it is another day");
    }
}

#[test]
fn a_supervisor_that_ended_between_the_report_and_the_stop_leaves_the_stop_to_the_next() {
    let mut agent = Agent::running(RestartPolicy::Always);
    let (scope, kind) = (BudgetScope::Run, BudgetKind::ToolCalls);
    agent.report(AgentEvent::BudgetSpent(BudgetBreach { scope, kind, limit: 1, used: 2 }));
    assert_eq!(agent.step(PlanInput::Resumed), ["stop for good: 2 tool calls of 1 tool calls a run were used"]);
}

#[test]
fn a_budget_that_the_last_report_of_a_run_exceeds_prevents_its_restart() {
    let mut agent = Agent::running(RestartPolicy::Always);
    for _ in 0..4 {
        agent.turn(1);
    }
    let refused = ["budget_spent".to_owned(), "refused: 4 turns of 3 turns a run were used".to_owned()];
    assert_eq!(agent.ends(), refused);
    // A run begins with nothing used, and on-failure does not restart a success.
    assert_eq!(agent.step(PlanInput::Start(by_hand())), ["start"]);
    let mut successful = Agent::running(RestartPolicy::OnFailure);
    (0..4).for_each(|_| successful.turn(1));
    successful.finished(AgentOutcome::Success);
    assert_eq!(successful.ends(), [""; 0]);
}

#[test]
fn memory_above_its_budget_stops_the_agent_for_good() {
    let mut agent = Agent::running(RestartPolicy::Always);
    assert_eq!(agent.step(watch(Some(1000))), [""; 0]);
    assert_eq!(agent.step(watch(Some(3 << 20))).len(), 2);
    assert!(matches!(agent.ends().as_slice(), [refused] if refused.starts_with("refused: 3 MiB")));
}

#[test]
fn what_follows_a_silence_or_a_loop_is_what_the_report_says() {
    let silence = |phase, reaction| AgentEvent::Stalled { phase, tool: None, silent_ms: 600_000, reaction };
    let repeated = |reaction| AgentEvent::LoopDetected { tool: None, calls: 20, reaction };
    let rows = [
        (silence(AgentPhase::Model, Reaction::Record), None, None),
        (
            silence(AgentPhase::Model, Reaction::Stop),
            Some("stop for good: silent for 10m while it waited for the model"),
            Some("refused: silent for 10m while it waited for the model"),
        ),
        (
            silence(AgentPhase::Tool, Reaction::Restart),
            Some("stop by health: silent for 10m in a tool"),
            Some("schedule"),
        ),
        (
            silence(AgentPhase::Finished, Reaction::Stop),
            Some("stop by policy: silent for 10m after its result"),
            Some("schedule"),
        ),
        (repeated(Reaction::Record), None, None),
        (
            repeated(Reaction::Stop),
            Some("stop for good: the same tool call was made 20 times in a row"),
            Some("refused: the same tool call was made 20 times in a row"),
        ),
    ];
    for (event, stop, after) in rows {
        let mut agent = Agent::running(RestartPolicy::Always);
        agent.report(event.clone());
        let found = agent.step(watch(None));
        assert_eq!(found.first().map(String::as_str), stop, "{event:?}");
        assert!(found.len() <= 1, "{found:?}");
        if let Some(after) = after {
            assert_eq!(agent.ends(), [after], "{event:?}");
        }
    }
}

#[test]
fn an_agent_that_is_ended_after_its_result_has_succeeded() {
    let mut agent = Agent::running(RestartPolicy::OnFailure);
    agent.finished(AgentOutcome::Success);
    let (phase, reaction) = (AgentPhase::Finished, Reaction::Stop);
    agent.report(AgentEvent::Stalled { phase, tool: None, silent_ms: 30_000, reaction });
    assert_eq!(agent.step(watch(None)), ["stop by policy: silent for 30s after its result"]);
    agent.record(Actor::System, EventKind::Stopped { exit: exit(143) });
    assert_eq!(agent.step(PlanInput::RunOver), [""; 0]);
    assert!(agent.stream.finished && !agent.stream.wanted);
}

#[test]
fn a_start_at_boot_waits_for_the_limit_that_ended_the_latest_run_and_one_by_hand_does_not() {
    for (resets_at, expected) in [(Some(3600), "schedule"), (Some(-1), "start"), (None, "start")] {
        let mut agent = Agent::running(RestartPolicy::Always);
        let (status, class) = (LimitStatus::Rejected, FailureClass::RateLimit);
        agent.report(AgentEvent::RateLimited { status, class, window: None, used_percent: None, resets_at });
        agent.finished_with(AgentOutcome::Failure, Some(class));
        assert_eq!(agent.ends(), ["schedule"]);
        // The shutdown of the supervisor.
        let shutdown = Requester { actor: Actor::System, reason: None };
        assert_eq!(agent.step(PlanInput::Stop(shutdown, None)), ["restart_refused"]);
        let budget = agent.stream.budget.clone();
        assert!(agent.step(PlanInput::Boot(None)).is_empty());
        assert_eq!(agent.step(PlanInput::RunOver), [expected], "{resets_at:?}");
        assert_eq!(agent.stream.budget, budget, "waiting uses nothing of it");
        if expected == "schedule" {
            assert_eq!(agent.step(PlanInput::BringUp(by_hand())), [""; 0], "the wait stays");
        }
        assert_eq!(agent.step(PlanInput::Start(by_hand())), ["start"]);
    }
}

#[test]
fn an_agent_is_not_brought_up_between_its_end_by_a_usage_limit_and_the_decision_about_it() {
    for (policy, expected) in [(RestartPolicy::Always, None), (RestartPolicy::Never, Some("start"))] {
        let mut agent = Agent::running(policy);
        let (status, class) = (LimitStatus::Rejected, FailureClass::RateLimit);
        agent.report(AgentEvent::RateLimited {
            status,
            class,
            window: None,
            used_percent: None,
            resets_at: Some(3600),
        });
        agent.finished_with(AgentOutcome::Failure, Some(class));
        agent.record(Actor::System, EventKind::Crashed { cause: RunEnd::Exit(exit(1)) });
        assert_eq!(agent.step(PlanInput::BringUp(by_hand())).first().map(String::as_str), expected, "{policy:?}");
    }
}

#[test]
fn a_start_waits_for_the_usage_limit_that_another_agent_of_the_account_has_met() {
    let mut agent = Agent::running(RestartPolicy::Always);
    agent.record(Actor::System, EventKind::Crashed { cause: RunEnd::Exit(exit(1)) });
    assert_eq!(agent.step(PlanInput::RunOver), ["schedule"]);
    agent.account_reset = Some(3600);
    let budget = agent.stream.budget.clone();
    assert_eq!(agent.step(PlanInput::RestartDue), ["account_limited", "schedule"]);
    assert!(agent.stream.waits_for_limit());
    assert_eq!(agent.stream.budget, budget, "waiting uses nothing of it");
    assert!(matches!(agent.stream.follow_up, FollowUp::Restart { delay_ms: 3_600_000, .. }));
    assert_eq!(agent.step(PlanInput::Start(by_hand())), ["account_limited", "schedule"], "nor does a start by hand");
    agent.now = 3600;
    assert_eq!(agent.step(PlanInput::RestartDue), ["start"]);
}
