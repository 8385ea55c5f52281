//! What programs read: the JSON contract. Its field names and their meaning do not change.
//!
//! These types belong to the screen: the log's types are converted into them, and never the other way round.

pub(crate) mod event;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod notice;
pub(crate) mod run;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::{
    history::{History, Shown},
    standing::Standing,
    view::{event::EventView, handle::HandleView, notice::Notice, run::RunView},
};

/// One process: `show`.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessView<'a> {
    pub(crate) handle: HandleView<'a>,
    pub(crate) runs: Vec<RunView<'a>>,
    pub(crate) events: Vec<EventView<'a>>,
    /// What is to be known of all of this; null of a sound ledger.
    pub(crate) notice: Option<&'a Notice>,
}

impl<'a> ProcessView<'a> {
    /// The view of a history that stands so.
    pub(crate) fn new(history: &'a History, standing: &Standing<'a>, shown: Shown, notice: Option<&'a Notice>) -> Self {
        Self {
            handle: HandleView::new(standing),
            runs: history.last_runs(shown.runs).iter().map(RunView::new).collect(),
            events: history.last_steps(shown.events).iter().map(EventView::new).collect(),
            notice,
        }
    }
}

/// A time with all its nanoseconds: given back to `--at`, it means the same event.
fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

fn time_or_null<S: Serializer>(moment: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => time(moment, serializer),
        None => serializer.serialize_none(),
    }
}

/// The handles of these.
pub(crate) fn handles<'a>(standings: &[Standing<'a>]) -> Vec<HandleView<'a>> {
    standings.iter().map(HandleView::new).collect()
}
