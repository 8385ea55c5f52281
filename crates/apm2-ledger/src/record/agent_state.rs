//! Serialization format of the state of an agent in a snapshot of its stream. Like the rest of a snapshot, it changes without
//! compatibility.

use apm2_model::{
    event::agent::{event::SkippedLines, report::OutputPosition},
    state::{
        agent::{AgentEnd, AgentLimit, AgentSession, AgentState, AgentTotals, ReportedTurns},
        agent_clock::AgentClock,
    },
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    agent::ToolCallV4,
    agent_finding::{FindingV5, ReactionV5},
    agent_words::{AgentKindV4, ClassV4, LimitStatusV4, OutcomeV4, PhaseV4, UsageV4, label, labels, text, texts},
    stamp::StampV1,
};

#[derive(Serialize, Deserialize)]
struct TotalsV4 {
    usage: UsageV4,
    cost_micros: u64,
    turns: u32,
    tool_calls: u32,
    denials: u32,
}

impl From<AgentTotals> for TotalsV4 {
    fn from(totals: AgentTotals) -> Self {
        let AgentTotals { usage, cost_micros, turns, tool_calls, denials } = totals;
        Self { usage: usage.into(), cost_micros, turns, tool_calls, denials }
    }
}

impl From<TotalsV4> for AgentTotals {
    fn from(record: TotalsV4) -> Self {
        let TotalsV4 { usage, cost_micros, turns, tool_calls, denials } = record;
        Self { usage: usage.into(), cost_micros, turns, tool_calls, denials }
    }
}

#[derive(Serialize, Deserialize)]
struct SessionV4 {
    id: String,
    model: Option<String>,
    agent_version: Option<String>,
    is_resumed: bool,
    totals: TotalsV4,
    reported: ReportedV4,
}

#[derive(Serialize, Deserialize)]
struct ReportedV4 {
    turns: u32,
    usage: UsageV4,
    cost_micros: Option<u64>,
}

impl From<ReportedTurns> for ReportedV4 {
    fn from(reported: ReportedTurns) -> Self {
        let ReportedTurns { turns, usage, cost_micros } = reported;
        Self { turns, usage: usage.into(), cost_micros }
    }
}

impl From<ReportedV4> for ReportedTurns {
    fn from(record: ReportedV4) -> Self {
        let ReportedV4 { turns, usage, cost_micros } = record;
        Self { turns, usage: usage.into(), cost_micros }
    }
}

#[derive(Serialize, Deserialize)]
struct LimitV4 {
    status: LimitStatusV4,
    class: ClassV4,
    window: Option<String>,
    resets_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct EndV4 {
    outcome: OutcomeV4,
    class: Option<ClassV4>,
    is_permanent: bool,
}

/// The state of an agent in a stream snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgentStateV4 {
    kind: AgentKindV4,
    session: Option<SessionV4>,
    phase: PhaseV4,
    open_calls: Vec<(ToolCallV4, StampV1)>,
    is_session_started: bool,
    run: TotalsV4,
    reported: ReportedV4,
    agent_turns: u32,
    is_finished: bool,
    all: TotalsV4,
    background_tasks: u32,
    end: Option<EndV4>,
    http_status: Option<u16>,
    open_failure: Option<(ClassV4, Option<u16>)>,
    limit: Option<LimitV4>,
    goes_on: bool,
    quick_failures: u32,
    limited_runs: u32,
    skipped: [u64; 3],
    generation: u64,
    offset: u64,
    reported_at: StampV1,
}

/// The state of an agent in a stream snapshot, with what its budgets and policies need.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgentStateV5 {
    base: AgentStateV4,
    day: TotalsV4,
    in_turn: UsageV4,
    /// The time of the run, the session and the day, in nanoseconds.
    time_ns: [u64; 3],
    day_number: i64,
    counted_to: Option<StampV1>,
    found: Option<(FindingV5, ReactionV5)>,
    waits_for_account: bool,
}

impl From<&AgentState> for AgentStateV5 {
    fn from(state: &AgentState) -> Self {
        let AgentClock { run_ns, session_ns, day_ns, day, counted_to } = state.clock;
        Self {
            base: state.into(),
            day: state.day.into(),
            in_turn: state.in_turn.into(),
            time_ns: [run_ns, session_ns, day_ns],
            day_number: day,
            counted_to: counted_to.map(Into::into),
            found: state.found.map(|(finding, reaction)| (finding.into(), reaction.into())),
            waits_for_account: state.waits_for_account,
        }
    }
}

impl AgentStateV5 {
    pub(crate) fn into_state(self) -> Result<AgentState, RecordError> {
        let mut state = self.base.into_state()?;
        let [run_ns, session_ns, day_ns] = self.time_ns;
        let counted_to = self.counted_to.map(Into::into);
        state.day = self.day.into();
        state.in_turn = self.in_turn.into();
        state.clock = AgentClock { run_ns, session_ns, day_ns, day: self.day_number, counted_to };
        state.found = self.found.map(|(finding, reaction)| (finding.into(), reaction.into()));
        state.waits_for_account = self.waits_for_account;
        Ok(state)
    }
}

impl From<&AgentState> for AgentStateV4 {
    fn from(state: &AgentState) -> Self {
        Self {
            kind: state.kind.into(),
            session: state.session.as_ref().map(|session| SessionV4 {
                id: text(&session.id),
                model: texts(session.model.as_ref()),
                agent_version: texts(session.agent_version.as_ref()),
                is_resumed: session.is_resumed,
                totals: session.totals.into(),
                reported: session.reported.into(),
            }),
            phase: state.phase.into(),
            open_calls: state.open_calls.iter().map(|(call, began)| (call.into(), (*began).into())).collect(),
            is_session_started: state.is_session_started,
            run: state.run.into(),
            reported: state.reported.into(),
            agent_turns: state.agent_turns,
            is_finished: state.is_finished,
            all: state.all.into(),
            background_tasks: state.background_tasks,
            end: state.end.map(|end| EndV4 {
                outcome: end.outcome.into(),
                class: end.class.map(Into::into),
                is_permanent: end.is_permanent,
            }),
            http_status: state.http_status,
            open_failure: state.open_failure.map(|(class, status)| (class.into(), status)),
            limit: state.limit.as_ref().map(|limit| LimitV4 {
                status: limit.status.into(),
                class: limit.class.into(),
                window: texts(limit.window.as_ref()),
                resets_at: limit.resets_at,
            }),
            goes_on: state.goes_on,
            quick_failures: state.quick_failures,
            limited_runs: state.limited_runs,
            skipped: [state.skipped.unknown, state.skipped.invalid, state.skipped.cut],
            generation: state.read_to.generation,
            offset: state.read_to.offset,
            reported_at: state.reported_at.into(),
        }
    }
}

impl AgentStateV4 {
    pub(crate) fn into_state(self) -> Result<AgentState, RecordError> {
        let session = |session: SessionV4| {
            Ok::<_, RecordError>(AgentSession {
                id: label(&session.id)?,
                model: labels(session.model)?,
                agent_version: labels(session.agent_version)?,
                is_resumed: session.is_resumed,
                totals: session.totals.into(),
                reported: session.reported.into(),
            })
        };
        let call = |(call, began): (ToolCallV4, StampV1)| Ok::<_, RecordError>((call.into_call()?, began.into()));
        let limit = |limit: LimitV4| {
            Ok::<_, RecordError>(AgentLimit {
                status: limit.status.into(),
                class: limit.class.into(),
                window: labels(limit.window)?,
                resets_at: limit.resets_at,
            })
        };
        let end = |end: EndV4| AgentEnd {
            outcome: end.outcome.into(),
            class: end.class.map(Into::into),
            is_permanent: end.is_permanent,
        };
        let [unknown, invalid, cut] = self.skipped;
        let reported_at = self.reported_at.into();
        Ok(AgentState {
            session: self.session.map(session).transpose()?,
            phase: self.phase.into(),
            open_calls: self.open_calls.into_iter().map(call).collect::<Result<_, _>>()?,
            is_session_started: self.is_session_started,
            run: self.run.into(),
            reported: self.reported.into(),
            agent_turns: self.agent_turns,
            is_finished: self.is_finished,
            all: self.all.into(),
            background_tasks: self.background_tasks,
            end: self.end.map(end),
            http_status: self.http_status,
            open_failure: self.open_failure.map(|(class, status)| (class.into(), status)),
            limit: self.limit.map(limit).transpose()?,
            goes_on: self.goes_on,
            quick_failures: self.quick_failures,
            limited_runs: self.limited_runs,
            skipped: SkippedLines { unknown, invalid, cut },
            read_to: OutputPosition { generation: self.generation, offset: self.offset },
            ..AgentState::new(self.kind.into(), reported_at)
        })
    }
}
