//! Budgets against an independent account of what was used.

use proptest::prelude::*;

use super::*;
use crate::{
    event::{
        NewEvent,
        actor::Actor,
        agent::{
            event::{AgentEvent, SessionReason, ToolCall},
            label::Label,
            outcome::AgentOutcome,
            report::{AgentReport, OutputPosition},
            usage::TokenUsage,
        },
        exit::RunEnd,
        kind::{EventKind, StartTrigger},
        stream_id::StreamId,
    },
    spec::{agent_kind::AgentKind, config::restart::RestartConfig, redact::spec::RedactedSpec},
    state::stream::Stream,
    testing::{self, at, exit, identity},
};

const DAY_SECS: u64 = 86_400;

/// What happens to an agent, each after a time in seconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    Run { is_new_session: bool },
    Exit,
    Turn { input: u64, output: u64, cost: u64 },
    Tool,
    SoFar { input: u64 },
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        any::<bool>().prop_map(|is_new_session| Step::Run { is_new_session }),
        Just(Step::Exit),
        (0..1000_u64, 0..100_u64, 0..50_u64).prop_map(|(input, output, cost)| Step::Turn { input, output, cost }),
        Just(Step::Tool),
        (0..500_u64).prop_map(|input| Step::SoFar { input }),
    ];
    proptest::collection::vec((0..DAY_SECS / 3, step), 1..40)
}

/// What was used, as a list of amounts with their time, run and session.
#[derive(Default)]
struct Account {
    used: Vec<(u64, u32, u32, AgentTotals)>,
    /// The seconds in which a process ran, with run and session: begin and end.
    ran: Vec<(u64, u64, u32, u32)>,
    in_turn: u64,
    run: u32,
    session: u32,
    up_since: Option<u64>,
}

impl Account {
    fn totals(&self, scope: BudgetScope, now: u64) -> (AgentTotals, u64) {
        let is_of = |at: u64, run: u32, session: u32| match scope {
            BudgetScope::Run => run == self.run,
            BudgetScope::Session => session == self.session,
            BudgetScope::Day => at / DAY_SECS == now / DAY_SECS,
        };
        let mut totals = AgentTotals::default();
        for (at, run, session, more) in &self.used {
            if is_of(*at, *run, *session) {
                totals.add(*more);
            }
        }
        totals.usage.input += self.in_turn;
        let open = self.up_since.map(|since| (since, now, self.run, self.session));
        let seconds = self.ran.iter().copied().chain(open).map(|(from, to, run, session)| match scope {
            BudgetScope::Day => to.saturating_sub(from.max(now / DAY_SECS * DAY_SECS)),
            BudgetScope::Run | BudgetScope::Session if is_of(from, run, session) => to - from,
            BudgetScope::Run | BudgetScope::Session => 0,
        });
        (totals, seconds.sum())
    }
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

/// A stream of an agent, to which reports are applied.
struct Agent {
    stream: Stream,
    account: Account,
    now: u64,
}

impl Agent {
    fn new() -> Self {
        let mut spec = testing::spec(RestartConfig::default());
        spec.agent = Some(Box::default());
        let spec = RedactedSpec::new(&spec);
        let id = StreamId { process_id: spec.id, instance: 0 };
        let first = NewEvent {
            stream: id,
            run: 0,
            actor: Actor::System,
            reason: None,
            cause: None,
            stamp: at(0),
            kind: EventKind::Registered { spec },
        };
        let stream = Stream::begin(&first.numbered(1, 1)).unwrap();
        Self { stream, account: Account::default(), now: 0 }
    }

    fn record(&mut self, kind: EventKind) {
        let version = self.stream.version + 1;
        let event = NewEvent {
            stream: self.stream.id,
            run: self.stream.run_of(&kind),
            actor: Actor::System,
            reason: None,
            cause: None,
            stamp: at(self.now),
            kind,
        };
        self.stream.apply(&event.numbered(version, version)).unwrap();
    }

    fn report(&mut self, event: AgentEvent) {
        let read_to = OutputPosition::default();
        self.record(EventKind::Agent { report: Box::new(AgentReport { agent: AgentKind::Custom, event, read_to }) });
    }

    fn use_up(&mut self, more: AgentTotals) {
        let Account { run, session, .. } = self.account;
        self.account.used.push((self.now, run, session, more));
    }

    fn take(&mut self, step: Step) {
        let is_up = self.account.up_since.is_some();
        match step {
            Step::Run { is_new_session } if !is_up => {
                let trigger = StartTrigger::Start;
                self.record(EventKind::StartRequested { trigger });
                let reason = SessionReason::First;
                self.report(AgentEvent::SessionChosen { session_id: None, is_resumed: false, reason });
                self.record(EventKind::Starting { identity: Some(identity(7)), trigger });
                self.record(EventKind::Running);
                self.account.run += 1;
                self.account.session += u32::from(is_new_session || self.account.session == 0);
                self.account.up_since = Some(self.now);
                self.account.in_turn = 0;
                self.report(AgentEvent::SessionStarted {
                    session_id: label(&format!("s-{}", self.account.session)),
                    model: None,
                    agent_version: None,
                    permission_mode: None,
                    is_resumed: !is_new_session,
                    mcp_servers: Vec::new(),
                });
            }
            Step::Exit if is_up => {
                self.record(EventKind::Stopped { exit: exit(0) });
                let since = self.account.up_since.take().unwrap();
                self.account.ran.push((since, self.now, self.account.run, self.account.session));
            }
            Step::Turn { input, output, cost } if is_up => {
                let usage = TokenUsage { input, output, ..TokenUsage::default() };
                let cost_micros = Some(cost);
                let outcome = AgentOutcome::Success;
                self.report(AgentEvent::TurnEnded { turn: 1, usage, cost_micros, duration_ms: None, outcome });
                self.account.in_turn = 0;
                self.use_up(AgentTotals { usage, cost_micros: cost, turns: 1, ..AgentTotals::default() });
            }
            Step::Tool if is_up => {
                let call_id = label(&format!("c-{}", self.stream.version));
                let call = ToolCall { call_id, tool: label("t"), mcp_server: None, parent_call_id: None };
                self.report(AgentEvent::ToolStarted { call, input_bytes: 1 });
                self.use_up(AgentTotals { tool_calls: 1, ..AgentTotals::default() });
            }
            Step::SoFar { input } if is_up => {
                self.report(AgentEvent::UsageSoFar { usage: TokenUsage { input, ..TokenUsage::default() } });
                self.account.in_turn = input;
            }
            _ => {}
        }
    }
}

proptest! {
    /// After each event, and some time later, what counts for each scope is what the account says.
    #[test]
    fn what_counts_is_what_was_used(steps in steps(), later in 0..2 * DAY_SECS) {
        let mut agent = Agent::new();
        for (seconds, step) in steps {
            agent.now += seconds;
            agent.take(step);
            let Some(state) = agent.stream.agent.as_deref() else { continue };
            for now in [agent.now, agent.now + later] {
                for scope in [BudgetScope::Run, BudgetScope::Session, BudgetScope::Day] {
                    let (totals, time_ns) = state.used(scope, &at(now));
                    let (expected, seconds) = agent.account.totals(scope, now);
                    prop_assert_eq!(totals, expected, "{:?}", scope);
                    prop_assert_eq!(time_ns, seconds * 1_000_000_000, "{:?}", scope);
                }
            }
        }
    }

    /// A breach is found exactly when a limit is exceeded, with both numbers, and its time is the one that was foretold.
    #[test]
    fn a_breach_is_found_when_a_limit_is_exceeded(steps in steps(), limit in 1..3000_u64, time in 1..DAY_SECS) {
        let mut agent = Agent::new();
        let budget = AgentBudget { total_tokens: Some(limit), ..AgentBudget::default() };
        let of_time = AgentBudget { wall_time: Some(Duration::from_secs(time)), ..AgentBudget::default() };
        for (seconds, step) in steps {
            agent.now += seconds;
            agent.take(step);
            let Some(state) = agent.stream.agent.as_deref() else { continue };
            let now = at(agent.now);
            let used = |scope| {
                let usage = agent.account.totals(scope, agent.now).0.usage;
                usage.input + usage.output
            };
            let day = AgentBudgets { day: budget, ..AgentBudgets::default() };
            let found = breach(&day, state, &now).map(|breach| (breach.scope, breach.limit, breach.used));
            let expected = (used(BudgetScope::Day) > limit).then(|| (BudgetScope::Day, limit, used(BudgetScope::Day)));
            prop_assert_eq!(found, expected);
            prop_assert_eq!(spent_day(&day, state, &now).is_some(), used(BudgetScope::Day) >= limit);
            let session = AgentBudgets { session: budget, ..AgentBudgets::default() };
            prop_assert_eq!(breach(&session, state, &now).is_some(), used(BudgetScope::Session) > limit);
            prop_assert_eq!(spent_session(&session, state, &now).is_some(), used(BudgetScope::Session) >= limit);
            if agent.account.up_since.is_some() {
                let run = AgentBudgets { run: of_time, ..AgentBudgets::default() };
                let left = time_left(&run, state, &now).unwrap();
                let due = at(agent.now + left.as_secs());
                prop_assert!(breach(&run, state, &due).is_some());
                prop_assert_eq!(breach(&run, state, &now).is_none(), !left.is_zero());
            }
        }
    }
}

#[test]
fn memory_is_limited_at_a_time() {
    let budgets = AgentBudgets { memory_bytes: Some(100), ..AgentBudgets::default() };
    assert_eq!(memory_breach(&budgets, 100), None);
    let expected = BudgetBreach { scope: BudgetScope::Run, kind: BudgetKind::Memory, limit: 100, used: 101 };
    assert_eq!(memory_breach(&budgets, 101), Some(expected));
    assert_eq!(memory_breach(&AgentBudgets::default(), u64::MAX), None);
}

#[test]
fn a_spent_session_counts_nothing_against_the_new_one_before_that_has_started() {
    let budget = AgentBudget { wall_time: Some(Duration::from_secs(60)), turns: Some(1), ..AgentBudget::default() };
    let budgets = AgentBudgets { session: budget, ..AgentBudgets::default() };
    let mut agent = Agent::new();
    agent.take(Step::Run { is_new_session: true });
    agent.take(Step::Turn { input: 1, output: 1, cost: 1 });
    agent.now += 60;
    agent.take(Step::Exit);
    let state = |agent: &Agent| agent.stream.agent.as_deref().unwrap().clone();
    assert!(breach(&budgets, &state(&agent), &at(agent.now)).is_some());
    let trigger = StartTrigger::Start;
    agent.record(EventKind::StartRequested { trigger });
    let reason = SessionReason::BudgetSpent;
    agent.report(AgentEvent::SessionChosen { session_id: None, is_resumed: false, reason });
    agent.record(EventKind::Starting { identity: Some(identity(7)), trigger });
    agent.record(EventKind::Running);
    agent.now += 10;
    let now = at(agent.now);
    assert_eq!(breach(&budgets, &state(&agent), &now), None);
    assert_eq!(time_left(&budgets, &state(&agent), &now), Some(Duration::from_secs(50)));
    // The run ends before its session has started: the earlier session stays spent, and that is no reason to refuse a restart.
    agent.record(EventKind::Crashed { cause: RunEnd::Exit(exit(1)) });
    assert_eq!(breach(&budgets, &state(&agent), &now), None);
    assert!(spent_session(&budgets, &state(&agent), &now).is_some());
}
