//! Which part of a text is visible.

/// The visible part of a text of many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextView {
    /// The index of the first visible line.
    pub(crate) top: usize,
    /// The number of columns that are left of the visible part.
    pub(crate) left: usize,
    /// Whether the last line stays visible when lines are added.
    pub(crate) follows: bool,
}

/// Largest number of columns that can be left of the visible part.
const LEFT_MAX: usize = 4096;

impl TextView {
    /// The beginning of a text.
    pub(crate) const BEGINNING: Self = Self { top: 0, left: 0, follows: false };
    /// The end of a text, also when lines are added.
    pub(crate) const END: Self = Self { top: 0, left: 0, follows: true };

    /// Adapts the view to a text with this number of lines, of which `height` are visible.
    pub(crate) fn fit(&mut self, lines: usize, height: usize) {
        let last = lines.saturating_sub(height);
        self.top = if self.follows { last } else { self.top.min(last) };
    }

    /// Moves the view by this number of lines. A move up ends following.
    pub(crate) fn move_by(&mut self, lines: i64) {
        let distance = usize::try_from(lines.unsigned_abs()).unwrap_or(usize::MAX);
        if lines < 0 {
            self.follows = false;
            self.top = self.top.saturating_sub(distance);
        } else {
            self.top = self.top.saturating_add(distance);
        }
    }

    /// Moves the view sideways by this number of columns.
    pub(crate) fn shift(&mut self, columns: i64) {
        let distance = usize::try_from(columns.unsigned_abs()).unwrap_or(usize::MAX);
        self.left = if columns < 0 { self.left.saturating_sub(distance) } else { self.left.saturating_add(distance) };
        self.left = self.left.min(LEFT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_at_the_end_stays_there_until_it_is_moved_up() {
        let mut view = TextView::END;
        view.fit(30, 10);
        assert_eq!(view.top, 20);
        view.fit(35, 10);
        assert_eq!(view.top, 25);
        view.move_by(-3);
        view.fit(40, 10);
        assert_eq!((view.top, view.follows), (22, false));
        view.move_by(i64::MAX);
        view.fit(40, 10);
        assert_eq!(view.top, 30);
        view.shift(-8);
        assert_eq!(view.left, 0);
        view.fit(3, 10);
        assert_eq!(view.top, 0);
    }
}
