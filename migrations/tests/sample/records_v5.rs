//! Events that need record version 5, in the order of their golden bytes. The list is frozen like the golden bytes.

use std::time::Duration;

use apm2_core::process::{
    Actor, Event, EventKind, ProcessId, ProcessSpec, RedactedSpec, RestartRule, StreamId, Timestamp,
};
use apm2_model::{
    event::agent::{
        breach::{BudgetBreach, BudgetKind, BudgetScope},
        event::{AgentEvent, AgentPhase, SessionReason},
        finding::AgentFinding,
        label::Label,
        report::{AgentReport, OutputPosition},
        usage::TokenUsage,
    },
    spec::{
        agent_kind::AgentKind,
        config::{
            agent::AgentConfig,
            agent_budget::{AgentBudget, AgentBudgets},
            agent_loop::AgentLoop,
            agent_silence::AgentSilence,
            reaction::Reaction,
        },
    },
};
use uuid::Uuid;

const STAMP: Timestamp =
    Timestamp { wall_ns: 1_767_225_600_000_000_000, boot_ns: 7, boot_id: Uuid::from_u128(0xb007_0000_0005) };

/// One event of each new form.
pub(crate) fn events() -> Vec<Event> {
    let stream = StreamId { process_id: ProcessId::from_bytes([0x66; 16]), instance: 0 };
    let event = |(version, kind): (u64, EventKind)| Event {
        seq: version * 100,
        version,
        stream,
        run: 3,
        actor: Actor::Policy,
        reason: None,
        cause: Some(1),
        stamp: STAMP,
        kind,
    };
    (1..).zip(kinds(stream.process_id)).map(event).collect()
}

fn kinds(id: ProcessId) -> Vec<EventKind> {
    let spec =
        |agent| RedactedSpec::new(&ProcessSpec::builder().id(id).name("n").command("claude").agent(agent).build());
    let budget = AgentBudget {
        input_tokens: Some(1),
        output_tokens: Some(2),
        total_tokens: Some(3),
        cost_micros: Some(4),
        turns: Some(5),
        tool_calls: Some(6),
        wall_time: Some(Duration::from_millis(7)),
    };
    let all = AgentConfig {
        account: Some("team".to_owned()),
        budget: AgentBudgets {
            run: budget,
            session: AgentBudget { turns: Some(8), ..AgentBudget::default() },
            day: AgentBudget { cost_micros: Some(20_000_000), ..AgentBudget::default() },
            memory_bytes: Some(1 << 33),
        },
        silence: AgentSilence {
            start: Duration::from_secs(1),
            model: Duration::from_secs(2),
            tool: Duration::from_secs(3),
            result: Duration::from_secs(4),
            reaction: Reaction::Restart,
        },
        repetition: AgentLoop { calls: 9, reaction: Reaction::Stop },
        ..AgentConfig::default()
    };
    let accounted = AgentConfig { account: Some("team".to_owned()), ..AgentConfig::default() };
    let mut kinds = vec![EventKind::Registered { spec: spec(accounted) }, EventKind::SpecChanged { spec: spec(all) }];
    kinds.extend(
        findings().into_iter().map(|finding| EventKind::RestartRefused { rule: RestartRule::AgentStopped { finding } }),
    );
    kinds.extend(reports().into_iter().map(|event| {
        let read_to = OutputPosition { generation: 2, offset: 70_000 };
        EventKind::Agent { report: Box::new(AgentReport { agent: AgentKind::ClaudeCode, event, read_to }) }
    }));
    kinds
}

fn breaches() -> Vec<BudgetBreach> {
    let scopes = [BudgetScope::Run, BudgetScope::Session, BudgetScope::Day].into_iter().cycle();
    let kinds = [
        BudgetKind::InputTokens,
        BudgetKind::OutputTokens,
        BudgetKind::TotalTokens,
        BudgetKind::Cost,
        BudgetKind::Turns,
        BudgetKind::ToolCalls,
        BudgetKind::WallTime,
        BudgetKind::Memory,
    ];
    scopes.zip(kinds).map(|(scope, kind)| BudgetBreach { scope, kind, limit: 2000, used: 2130 }).collect()
}

fn findings() -> Vec<AgentFinding> {
    let phases = [AgentPhase::Starting, AgentPhase::Model, AgentPhase::Tool, AgentPhase::Finished];
    let silences = phases.map(|phase| AgentFinding::Silence { phase, silent_ms: 600_000 });
    let others = std::iter::once(AgentFinding::Loop { calls: 20 }).chain(silences);
    breaches().into_iter().map(AgentFinding::Budget).chain(others).collect()
}

fn reports() -> Vec<AgentEvent> {
    let label = |text| Label::new(text).unwrap();
    let usage = TokenUsage { input: 3000, output: 84, cache_read: 2000, cache_creation: 500, reasoning: 7 };
    let reason = SessionReason::BudgetSpent;
    let mut reports: Vec<AgentEvent> = [(None, false), (Some(label("s-1")), true)]
        .map(|(session_id, is_resumed)| AgentEvent::SessionChosen { session_id, is_resumed, reason })
        .into();
    reports.extend([Reaction::Stop, Reaction::Restart].map(|reaction| AgentEvent::Stalled {
        phase: AgentPhase::Tool,
        tool: Some(label("bash")),
        silent_ms: 600_000,
        reaction,
    }));
    reports.push(AgentEvent::UsageSoFar { usage });
    reports.extend(breaches().into_iter().map(AgentEvent::BudgetSpent));
    reports.extend([Reaction::Record, Reaction::Stop, Reaction::Restart].map(|reaction| AgentEvent::LoopDetected {
        tool: (reaction == Reaction::Stop).then(|| label("bash")),
        calls: 20,
        reaction,
    }));
    reports.push(AgentEvent::AccountLimited { account: label("team"), resets_at: 1_767_243_600 });
    reports
}
