//! Where the parts of the screen are. A pure function of its size, so that a click is looked up where it was drawn.

use ratatui::layout::{Rect, Size};

/// The smallest screen.
pub(crate) const SIZE_MIN: Size = Size { width: 80, height: 24 };

/// Height of the header.
const HEADER_ROWS: u16 = 2;

/// Least number of rows of the list while the detail pane has the keys.
const ROWS_MIN: u16 = 4;

/// Greatest width of the text of the overview.
const OVERVIEW_COLUMNS_MAX: u16 = 140;

/// The columns around the text of a dialogue.
pub(crate) const DIALOG_EDGE_COLUMNS: u16 = 4;

/// The width of the text of the overview.
pub(crate) fn overview_columns(size: Size) -> u16 {
    size.width.saturating_sub(2 + DIALOG_EDGE_COLUMNS).min(OVERVIEW_COLUMNS_MAX)
}

/// Which part of the screen has the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    #[default]
    List,
    Detail,
}

/// The parts of the screen, from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) header: Rect,
    /// Says that the past is shown.
    pub(crate) banner: Option<Rect>,
    /// The titles of the columns of the list.
    pub(crate) titles: Rect,
    pub(crate) rows: Rect,
    pub(crate) tabs: Rect,
    pub(crate) text: Rect,
    pub(crate) footer: Rect,
}

impl Regions {
    /// The parts of a screen with a list of `rows` rows, and a banner of `banner_rows` in the past; `None` when it is too small.
    pub(crate) fn new(size: Size, rows: usize, banner_rows: u16, focus: Focus) -> Option<Self> {
        if size.width < SIZE_MIN.width || size.height < SIZE_MIN.height {
            return None;
        }
        let fixed = HEADER_ROWS + banner_rows + 3;
        let free = size.height.saturating_sub(fixed);
        // The list has as many rows as it needs, up to half of the screen.
        let wanted = u16::try_from(rows).unwrap_or(u16::MAX).max(ROWS_MIN);
        let rows = match focus {
            Focus::List => wanted.min(free / 2),
            Focus::Detail => wanted.min(free / 4).max(ROWS_MIN),
        };
        let mut y = 0;
        let mut next = |height: u16| {
            let part = Rect::new(0, y, size.width, height);
            y += height;
            part
        };
        let header = next(HEADER_ROWS);
        let banner = (banner_rows > 0).then(|| next(banner_rows));
        let (titles, rows, tabs, text) = (next(1), next(rows), next(1), next(free.saturating_sub(rows)));
        Some(Self { header, banner, titles, rows, tabs, text, footer: next(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_screen_without_overlap() {
        for height in 24..90 {
            for rows in [0, 1, 7, 500] {
                for (banner_rows, focus) in [(0, Focus::List), (1, Focus::List), (2, Focus::List), (2, Focus::Detail)] {
                    let regions = Regions::new(Size::new(100, height), rows, banner_rows, focus).unwrap();
                    let Regions { header, banner, titles, rows, tabs, text, footer } = regions;
                    let parts = [Some(header), banner, Some(titles), Some(rows), Some(tabs), Some(text), Some(footer)];
                    let mut y = 0;
                    for part in parts.into_iter().flatten() {
                        assert_eq!((part.y, part.width), (y, 100));
                        assert!(part.height > 0);
                        y += part.height;
                    }
                    assert_eq!(y, height);
                }
            }
        }
    }

    #[test]
    fn a_small_screen_has_no_parts() {
        for (width, height) in [(79, 24), (80, 23), (0, 0)] {
            assert_eq!(Regions::new(Size::new(width, height), 5, 0, Focus::List), None);
        }
    }
}
