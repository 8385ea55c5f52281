//! The tabs of the detail pane.

/// What the detail pane shows of the selected process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    #[default]
    Runs,
    Events,
    Logs,
    Why,
}

/// Columns before each tab, in the line of the tabs.
const GAP_COLUMNS: u16 = 3;

impl Tab {
    pub(crate) const ALL: [Self; 4] = [Self::Runs, Self::Events, Self::Logs, Self::Why];

    /// The label, which begins with the key of the tab.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Runs => "1 Runs",
            Self::Events => "2 Events",
            Self::Logs => "3 Logs",
            Self::Why => "4 Why",
        }
    }

    /// The tab at this distance, in a circle.
    pub(crate) fn neighbour(self, distance: usize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        Self::ALL.get((at + distance) % Self::ALL.len()).copied().unwrap_or_default()
    }

    /// The first column of the label, and its width, in the line of the tabs.
    pub(crate) fn place(self) -> (u16, u16) {
        let width = |tab: Self| u16::try_from(tab.label().len()).unwrap_or(0);
        let before = Self::ALL.iter().take_while(|tab| **tab != self);
        (before.fold(GAP_COLUMNS, |column, tab| column + width(*tab) + GAP_COLUMNS), width(self))
    }

    /// The tab whose label is at a column.
    pub(crate) fn at(column: u16) -> Option<Self> {
        let is_hit = |tab: &&Self| {
            let (first, width) = tab.place();
            (first..first + width).contains(&column)
        };
        Self::ALL.iter().find(is_hit).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tab_is_found_at_its_label() {
        for tab in Tab::ALL {
            let (first, width) = tab.place();
            assert_eq!((Tab::at(first), Tab::at(first + width - 1)), (Some(tab), Some(tab)));
            assert_eq!((Tab::at(first - 1), Tab::at(first + width)), (None, None));
            assert_eq!(tab.neighbour(1).neighbour(3), tab);
        }
    }
}
