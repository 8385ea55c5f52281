//! What agents used in a period, by process, by day or by model.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use apm2_ledger::{EventsQuestion, ReadLedger as _};
use apm2_model::{
    event::{agent::label::Label, kind::EventKind, stream_id::StreamId},
    spec::agent_kind::AgentKind,
};
use chrono::NaiveDate;
use clap::ValueEnum;

use crate::{
    agents::{Spent, agents, replay::AgentReplay, reports, states_before},
    render::zone::Zone,
    source::{LedgerSource, ReadFailure},
    stats::period::Period,
};

/// What the rows of a cost report stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Grouping {
    /// One row for each process
    #[default]
    Process,
    /// One row for each calendar day, in the time zone of the displayed times
    Day,
    /// One row for each model of each kind of agent
    Model,
}

/// What a row stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpendingKey {
    Process { name: String, id: StreamId, display_name: String },
    Day(NaiveDate),
    Model { model: Option<Label>, kind: AgentKind },
}

/// What agents used in a period.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    pub(crate) rows: BTreeMap<SpendingKey, Spent>,
    pub(crate) total: Spent,
    /// The number of reports in the period.
    pub(crate) reports: u64,
}

impl Spending {
    /// What these instances used, or all. The day of a report is that in `zone`.
    pub(crate) fn read(
        source: &LedgerSource,
        ids: &[StreamId],
        period: &Period,
        (grouping, zone): (Grouping, Zone),
    ) -> Result<Self, ReadFailure> {
        let agents = agents(source, ids, period.seqs)?;
        // A run may have begun before the period. What its turns reported then is in its final report, too.
        let before = states_before(source, &agents, period.seqs.0)?;
        let mut replays: HashMap<StreamId, AgentReplay> = HashMap::new();
        let mut spending = Self::default();
        source.events(&EventsQuestion::all(reports(ids), period.seqs), &mut |event| {
            let (EventKind::Agent { report }, Some(agent)) = (&event.kind, agents.get(&event.stream)) else {
                return ControlFlow::Continue(());
            };
            let replay = replays.entry(event.stream);
            let replay = replay.or_insert_with(|| AgentReplay::new(before.get(&event.stream)));
            let (state, more) = replay.apply(&event, report);
            let key = match grouping {
                Grouping::Process => SpendingKey::Process {
                    name: agent.handle.spec.name.clone(),
                    id: event.stream,
                    display_name: agent.handle.display_name(),
                },
                Grouping::Day => SpendingKey::Day(zone.day(event.stamp.wall())),
                Grouping::Model => {
                    let model = state.session.as_ref().and_then(|session| session.model.clone());
                    SpendingKey::Model { model, kind: state.kind }
                }
            };
            spending.reports = spending.reports.saturating_add(1);
            spending.total.add(more);
            if grouping == Grouping::Process || more.has_cost || !more.is_nothing() {
                spending.rows.entry(key).or_default().add(more);
            }
            ControlFlow::Continue(())
        })?;
        Ok(spending)
    }
}
