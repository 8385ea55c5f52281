//! JSON view of what agents used.

use apm2_model::event::agent::label::Label;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::{
    agents::{
        Spent,
        spending::{Spending, SpendingKey},
    },
    stats::period::Period,
    view::{agent::UsageView, notice::Notice},
};

/// What agents used in a period: output of `cost`.
#[derive(Debug, Serialize)]
pub(crate) struct CostView<'a> {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    rows: Vec<CostRowView<'a>>,
    total: SpentView,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

/// What one process, day or model used.
#[derive(Debug, Serialize)]
pub(crate) struct CostRowView<'a> {
    #[serde(flatten)]
    key: KeyView<'a>,
    #[serde(flatten)]
    spent: SpentView,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum KeyView<'a> {
    Process { process_id: String, name: &'a str, instance: u32, display_name: &'a str },
    Day { day: NaiveDate },
    Model { model: Option<&'a str>, agent: &'static str },
}

/// What was used.
#[derive(Debug, Serialize)]
pub(crate) struct SpentView {
    #[serde(flatten)]
    usage: UsageView,
    /// The cost in millionths of a US dollar; null if no report said one.
    cost_micros: Option<u64>,
    turns: u32,
    tool_calls: u32,
    denials: u32,
}

impl<'a> CostView<'a> {
    pub(crate) fn new(spending: &'a Spending, period: &Period, notice: Option<&'a Notice>) -> Self {
        Self {
            from: period.from.wall(),
            to: period.to.wall(),
            rows: rows(spending).collect(),
            total: spending.total.into(),
            notice,
        }
    }
}

/// The rows of the report.
pub(crate) fn rows(spending: &Spending) -> impl Iterator<Item = CostRowView<'_>> {
    spending.rows.iter().map(|(key, spent)| CostRowView { key: KeyView::new(key), spent: (*spent).into() })
}

impl<'a> KeyView<'a> {
    fn new(key: &'a SpendingKey) -> Self {
        match key {
            SpendingKey::Process { name, id, display_name } => {
                Self::Process { process_id: id.process_id.to_string(), name, instance: id.instance, display_name }
            }
            SpendingKey::Day(day) => Self::Day { day: *day },
            SpendingKey::Model { model, kind } => {
                Self::Model { model: model.as_ref().map(Label::as_str), agent: kind.name() }
            }
        }
    }
}

impl From<Spent> for SpentView {
    fn from(spent: Spent) -> Self {
        let totals = spent.totals;
        Self {
            usage: totals.usage.into(),
            cost_micros: spent.cost_micros(),
            turns: totals.turns,
            tool_calls: totals.tool_calls,
            denials: totals.denials,
        }
    }
}
