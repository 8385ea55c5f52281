//! Lines of text in styled parts. They are made without the terminal, and drawn later.

use unicode_width::UnicodeWidthStr as _;

use crate::render::{color::Style, escape::escape};

/// One line of text in styled parts. All text is escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StyledLine(Vec<(String, Style)>);

impl StyledLine {
    /// A line with one part.
    pub(crate) fn new(text: &str, style: Style) -> Self {
        Self::default().with(text, style)
    }

    /// The line with another part at its end.
    pub(crate) fn with(mut self, text: &str, style: Style) -> Self {
        self.0.push((escape(text).into_owned(), style));
        self
    }

    /// The parts with their styles.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, Style)> {
        self.0.iter().map(|(text, style)| (text.as_str(), *style))
    }

    /// Whether the text contains a text in lower case, whatever the case of its own letters.
    pub(crate) fn contains(&self, needle: &str) -> bool {
        let text: String = self.0.iter().map(|(text, _)| text.as_str()).collect();
        text.to_lowercase().contains(needle)
    }

    /// The width in columns.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.width()).sum()
    }
}

/// `text` in exactly `columns` columns: cut, or filled with blanks at its end.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let cut = crate::render::table::cut(text, columns);
    let missing = columns.saturating_sub(cut.width());
    cut + &" ".repeat(missing)
}

/// Like [`padded`], with the blanks before the text.
pub(crate) fn right_aligned(text: &str, columns: usize) -> String {
    let cut = crate::render::table::cut(text, columns);
    " ".repeat(columns.saturating_sub(cut.width())) + &cut
}
