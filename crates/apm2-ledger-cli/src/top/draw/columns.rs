//! The columns of the list: which there are on a screen of a width, and how wide they are.

use crate::top::app::sort::SortKey;

/// A column of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    State,
    Restarts,
    Uptime,
    Cpu,
    Memory,
    Activity,
    Tokens,
    Cost,
    Command,
}

impl Column {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Restarts => "RST",
            Self::Uptime => "UPTIME",
            Self::Cpu => "CPU",
            Self::Memory => "MEMORY",
            Self::Activity => "AGENT",
            Self::Tokens => "TOKENS",
            Self::Cost => "COST",
            Self::Command => "COMMAND",
        }
    }

    /// The order that sorts by this column.
    pub(crate) const fn sort(self) -> Option<SortKey> {
        match self {
            Self::Name => Some(SortKey::Name),
            Self::State => Some(SortKey::State),
            Self::Restarts => Some(SortKey::Restarts),
            Self::Uptime => Some(SortKey::Uptime),
            Self::Cpu => Some(SortKey::Cpu),
            Self::Memory => Some(SortKey::Memory),
            Self::Tokens => Some(SortKey::Tokens),
            Self::Cost => Some(SortKey::Cost),
            Self::Activity | Self::Command => None,
        }
    }

    /// Whether only agents have values.
    const fn is_of_agents(self) -> bool {
        matches!(self, Self::Activity | Self::Tokens | Self::Cost)
    }

    /// Whether the values are numbers, which are aligned to the right.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Restarts | Self::Uptime | Self::Tokens | Self::Cost)
    }
}

/// Width of the values of measurements, before their charts.
pub(crate) const VALUE_COLUMNS: usize = 5;

/// Width of the gap between two columns.
pub(crate) const GAP_COLUMNS: usize = 1;

/// Least width of the column of commands. Without this space it is left out.
const COMMAND_COLUMNS_MIN: usize = 12;

/// The columns on the smallest screen, with their widths. A measurement has its value, a blank and its chart.
const NARROW: [(Column, usize); 7] = [
    (Column::Name, 15),
    (Column::State, 15),
    (Column::Restarts, 4),
    (Column::Uptime, 7),
    (Column::Cpu, VALUE_COLUMNS + 5),
    (Column::Memory, VALUE_COLUMNS + 5),
    (Column::Activity, 8),
];

/// What wider screens have more, in this order: a column of this width, or one that is made this wide.
const GROWTH: [(Column, usize); 10] = [
    (Column::State, 18),
    (Column::Tokens, 7),
    (Column::Cost, 8),
    (Column::State, 24),
    (Column::Activity, 14),
    (Column::Name, 20),
    (Column::Cpu, VALUE_COLUMNS + 9),
    (Column::Memory, VALUE_COLUMNS + 9),
    (Column::State, 28),
    (Column::Name, 24),
];

/// The columns with their widths on a screen with this number of columns.
pub(crate) fn columns(width: usize, has_agents: bool) -> Vec<(Column, usize)> {
    let is_shown = |column: Column| has_agents || !column.is_of_agents();
    let mut columns: Vec<_> = NARROW.into_iter().filter(|(column, _)| is_shown(*column)).collect();
    let used: usize = columns.iter().map(|(_, width)| width + GAP_COLUMNS).sum();
    // Before the first column, there is the mark of the state.
    let mut rest = (width + GAP_COLUMNS).saturating_sub(2 + used);
    for (column, wanted) in GROWTH.into_iter().filter(|(column, _)| is_shown(*column)) {
        match columns.iter_mut().find(|(other, _)| *other == column) {
            Some((_, width)) => {
                let more = wanted.saturating_sub(*width).min(rest);
                *width += more;
                rest -= more;
            }
            None if rest > wanted => {
                columns.push((column, wanted));
                rest -= wanted + GAP_COLUMNS;
            }
            None => {}
        }
    }
    if rest > COMMAND_COLUMNS_MIN {
        columns.push((Column::Command, rest - GAP_COLUMNS));
    } else if let Some((_, state)) = columns.get_mut(1) {
        *state += rest;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_fit_each_screen() {
        for width in 80..400 {
            for has_agents in [false, true] {
                let columns = columns(width, has_agents);
                let used = 2 + columns.iter().map(|(_, width)| width + GAP_COLUMNS).sum::<usize>();
                assert_eq!(used, width + GAP_COLUMNS, "{width}: {columns:?}");
            }
        }
    }
}
