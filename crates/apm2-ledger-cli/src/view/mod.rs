//! The JSON contract. Field names and their meaning do not change.
//!
//! The JSON output has its own types. The types of the model are converted to these types; there is no conversion in the
//! other direction.

pub(crate) mod agent;
pub(crate) mod agent_state;
pub(crate) mod cost;
pub(crate) mod diff;
pub(crate) mod disk;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod notice;
pub(crate) mod run;
pub(crate) mod salvage;
pub(crate) mod sessions;
pub(crate) mod spec;
pub(crate) mod stats;
pub(crate) mod timeline;
pub(crate) mod why;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::{
    history::InstanceHistory,
    status::InstanceStatus,
    view::{event::EventView, handle::HandleView, notice::Notice, run::RunView},
};

/// One process: output of `show`.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessView<'a> {
    pub(crate) handle: HandleView<'a>,
    pub(crate) runs: Vec<RunView<'a>>,
    pub(crate) events: Vec<EventView<'a>>,
    /// The notice about the ledger; null when it is intact.
    pub(crate) notice: Option<&'a Notice>,
}

impl<'a> ProcessView<'a> {
    /// Builds the JSON object from `history`.
    pub(crate) fn new(history: &'a InstanceHistory, status: &InstanceStatus<'a>, notice: Option<&'a Notice>) -> Self {
        Self {
            handle: HandleView::new(status),
            runs: history.runs.iter().map(RunView::new).collect(),
            events: history.steps.iter().map(EventView::new).collect(),
            notice,
        }
    }
}

/// A time with nanoseconds, so that `--at` with this time finds the same event.
pub(crate) fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

fn time_or_null<S: Serializer>(moment: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => time(moment, serializer),
        None => serializer.serialize_none(),
    }
}

/// The JSON objects for `statuses`.
pub(crate) fn handles<'a>(statuses: &[InstanceStatus<'a>]) -> Vec<HandleView<'a>> {
    statuses.iter().map(HandleView::new).collect()
}
