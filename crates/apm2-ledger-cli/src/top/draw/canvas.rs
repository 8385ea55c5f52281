//! The cells of a frame, and the styles in which text is written on them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style as CellStyle},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::{render::color::Style, top::text::StyledLine};

/// The cells of a frame.
pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    has_color: bool,
}

impl<'a> Canvas<'a> {
    pub(crate) const fn new(buffer: &'a mut Buffer, has_color: bool) -> Self {
        Self { buffer, has_color }
    }

    /// How text with a meaning looks. Without colours, what is bad is bold, and what is quiet is dim.
    pub(crate) fn style(&self, style: Style) -> CellStyle {
        let plain = CellStyle::default();
        let colored = |color| if self.has_color { plain.fg(color) } else { plain };
        match style {
            Style::Plain => plain,
            Style::Heading => plain.add_modifier(Modifier::BOLD),
            Style::Good => colored(Color::Green),
            Style::Busy => colored(Color::Yellow),
            Style::Bad if self.has_color => colored(Color::Red),
            Style::Bad => plain.add_modifier(Modifier::BOLD),
            Style::Quiet => plain.add_modifier(Modifier::DIM),
        }
    }

    /// Writes text at a column of the first row of `area`, and cuts it at the end of the area. Returns the column after it.
    pub(crate) fn write(&mut self, area: Rect, column: u16, text: &str, style: CellStyle) -> u16 {
        let Some(room) = area.width.checked_sub(column).filter(|room| *room > 0 && area.height > 0) else {
            return column;
        };
        let (end, _) = self.buffer.set_stringn(area.x + column, area.y, text, usize::from(room), style);
        end - area.x
    }

    /// Writes a line from its column `left` on. A line that goes on beyond the area ends with a mark.
    pub(crate) fn write_line(&mut self, area: Rect, line: &StyledLine, left: usize) {
        let mut skipped = left;
        let mut column = 0;
        for (text, style) in line.parts() {
            let rest = after(text, &mut skipped);
            column = self.write(area, column, rest, self.style(style));
        }
        if line.width().saturating_sub(left) > usize::from(area.width) {
            self.write(area, area.width.saturating_sub(1), "…", CellStyle::default());
        }
    }

    /// Gives a style to each cell of an area, in addition to the styles of its text.
    pub(crate) fn tint(&mut self, area: Rect, style: CellStyle) {
        self.buffer.set_style(area, style);
    }

    /// Fills an area with blanks.
    pub(crate) fn clear(&mut self, area: Rect) {
        let blanks = " ".repeat(usize::from(area.width));
        for row in area.rows() {
            self.tint(row, CellStyle::reset());
            self.write(row, 0, &blanks, CellStyle::reset());
        }
    }

    /// Draws a frame along the edge of an area, with a title in its first row.
    pub(crate) fn frame(&mut self, area: Rect, title: &str) {
        let style = self.style(Style::Heading);
        let inner = usize::from(area.width.saturating_sub(2));
        let title = crate::render::table::cut(title, inner.saturating_sub(4));
        let rule = "─".repeat(inner.saturating_sub(title.width() + 3));
        self.write(area, 0, &format!("┌─ {title} {rule}┐"), style);
        for row in area.rows().skip(1).take(usize::from(area.height.saturating_sub(2))) {
            self.write(row, 0, "│", style);
            self.write(row, area.width.saturating_sub(1), "│", style);
        }
        let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        self.write(last, 0, &format!("└{}┘", "─".repeat(inner)), style);
    }
}

/// The text without its first `skipped` columns, which are then counted down.
fn after<'t>(text: &'t str, skipped: &mut usize) -> &'t str {
    let mut start = 0;
    for character in text.chars() {
        if *skipped == 0 {
            break;
        }
        *skipped = skipped.saturating_sub(character.width().unwrap_or(0).max(1));
        start += character.len_utf8();
    }
    text.get(start..).unwrap_or_default()
}
