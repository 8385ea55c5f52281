//! The list of instances: which are listed, in which order, and which one is selected.

use apm2_lanes::lane_state::is_down;
use apm2_model::event::stream_id::StreamId;

use crate::{
    render::{status::status as status_words, zone::Zone},
    status::{InstanceStatus, KernelState},
    top::{app::sort::SortKey, snapshot::Snapshot},
};

/// The list.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Text that the listed instances contain; all when empty.
    pub(crate) filter: String,
    pub(crate) sort: SortKey,
    pub(crate) is_reversed: bool,
    /// Whether instances that are over or removed are listed, too.
    pub(crate) shows_all: bool,
    /// The listed instances in their order.
    pub(crate) rows: Vec<StreamId>,
    /// The index of the selected row. Always the index of a row, unless there is none.
    pub(crate) selected: usize,
    /// The index of the first row that is visible.
    pub(crate) top: usize,
}

impl List {
    /// The selected instance.
    pub(crate) fn selected(&self) -> Option<StreamId> {
        self.rows.get(self.selected).copied()
    }

    /// Lists the instances of a snapshot. The same instance stays selected as long as it is listed.
    pub(crate) fn refresh(&mut self, snapshot: &Snapshot) {
        let selected = self.selected();
        let needle = self.filter.to_lowercase();
        let kept = snapshot.states.values().filter(|stream| self.shows_all || snapshot.context.is_kept(stream));
        let statuses = kept.map(|stream| snapshot.status(stream));
        let mut statuses: Vec<_> = statuses.filter(|status| needle.is_empty() || contains(status, &needle)).collect();
        statuses.sort_by(|left, right| self.sort.compare(left, right));
        if self.is_reversed {
            statuses.reverse();
        }
        self.rows = statuses.iter().map(|status| status.stream.id).collect();
        let same = selected.and_then(|id| self.rows.iter().position(|row| *row == id));
        self.selected = same.unwrap_or(self.selected).min(self.rows.len().saturating_sub(1));
    }

    /// Selects the row at this distance from the selected one, or the nearest to it.
    pub(crate) fn move_by(&mut self, rows: i64) {
        let selected = i64::try_from(self.selected).unwrap_or(i64::MAX).saturating_add(rows).max(0);
        self.select(usize::try_from(selected).unwrap_or(usize::MAX));
    }

    /// Selects a row, or the last one if there are fewer.
    pub(crate) fn select(&mut self, row: usize) {
        self.selected = row.min(self.rows.len().saturating_sub(1));
    }

    /// Scrolls so that the selected row is among `height` visible rows.
    pub(crate) fn scroll_into_view(&mut self, height: usize) {
        let first = self.selected.saturating_add(1).saturating_sub(height);
        let last = self.rows.len().saturating_sub(height);
        self.top = self.top.clamp(first, self.selected.max(first)).min(last.max(first));
    }
}

/// Whether an instance contains a text in lower case.
fn contains(status: &InstanceStatus<'_>, needle: &str) -> bool {
    let handle = &status.stream.handle;
    let stream = status.stream;
    let state = status.state().map_or_else(KernelState::name, |state| state.name());
    let words = status_words(status, Zone::Utc).to_lowercase();
    let down = if is_down(stream) { "down failed" } else { "" };
    let gave_up = if stream.gave_up.is_some() { "gave up" } else { "" };
    let command = std::iter::once(&handle.spec.command).chain(&handle.spec.args);
    handle.display_name().to_lowercase().contains(needle)
        || [state, words.as_str(), down, gave_up].iter().any(|state| state.contains(needle))
        || status.stream.id.process_id.to_string().starts_with(needle)
        || status.stream.agent.as_ref().is_some_and(|agent| agent.kind.name().contains(needle))
        || command.into_iter().any(|word| word.to_lowercase().contains(needle))
}
