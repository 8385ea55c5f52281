//! Prints tables of text in columns.
//!
//! The text of a cell is escaped when the cell is created, so no table contains a control character, on a terminal or
//! in a pipe.

use std::{
    borrow::Cow,
    io::{self, Write},
    iter,
    ops::Range,
};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::render::{color::Style, escape::escape, zone::Zone};

/// The blanks between two columns.
const GAP: &str = "  ";

/// Their width in columns.
const GAP_WIDTH: usize = GAP.len();

/// The mark at the end of truncated text.
const ELLIPSIS: &str = "…";

/// The layout of tables for the current output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Width of the terminal in columns. No line is longer. `None` when the output is not a terminal: nothing is
    /// truncated.
    pub(crate) width_columns: Option<usize>,
    /// Whether styles are written as escape sequences.
    pub(crate) color: bool,
    /// The time zone in which times are displayed.
    pub(crate) zone: Zone,
}

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    /// The width of the text in columns.
    width: usize,
    style: Style,
}

/// A cell whose text is in the text of its table. A list has tens of thousands of cells, and no allocation for each.
#[derive(Debug, Clone)]
struct PlacedCell {
    text: Range<usize>,
    /// The width of the text in columns.
    width: usize,
    style: Style,
}

impl Cell {
    /// A cell with the text `text`, which is escaped.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        // Most text is of these characters, and lists have thousands of cells.
        if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Self { width: text.len(), text, style: Style::Plain };
        }
        if let Cow::Owned(escaped) = escape(&text) {
            text = escaped;
        }
        Self { width: text.width(), text, style: Style::Plain }
    }

    pub(crate) fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// A table: rows with an optional heading.
#[derive(Debug, Clone)]
pub(crate) struct Table<const N: usize> {
    align: [Align; N],
    headings: Option<[PlacedCell; N]>,
    rows: Vec<[PlacedCell; N]>,
    /// The texts of all cells.
    text: String,
}

impl<const N: usize> Table<N> {
    /// An empty table with these columns and a heading.
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        let mut table = Self { align: columns.map(|(_, align)| align), ..Self::untitled() };
        table.headings = Some(table.placed(columns.map(|(heading, _)| Cell::new(heading).styled(Style::Heading))));
        table
    }

    /// An empty table of left-aligned columns without a heading.
    pub(crate) const fn untitled() -> Self {
        Self { align: [Align::Left; N], headings: None, rows: Vec::new(), text: String::new() }
    }

    pub(crate) fn push(&mut self, row: [Cell; N]) {
        let row = self.placed(row);
        self.rows.push(row);
    }

    fn placed(&mut self, row: [Cell; N]) -> [PlacedCell; N] {
        row.map(|Cell { text, width, style }| {
            let start = self.text.len();
            self.text.push_str(&text);
            PlacedCell { text: start..self.text.len(), width, style }
        })
    }

    /// Writes the table with `indent` at the beginning of each line.
    pub(crate) fn write(&self, out: &mut dyn Write, indent: &str, layout: Layout) -> io::Result<()> {
        self.write_rows(self.rows.iter(), out, indent, layout)
    }

    /// Writes these rows of the table, counted from 0, in this order.
    pub(crate) fn write_some(&self, rows: &[usize], out: &mut dyn Write, layout: Layout) -> io::Result<()> {
        self.write_rows(rows.iter().filter_map(|row| self.rows.get(*row)), out, "", layout)
    }

    fn write_rows<'a>(
        &'a self,
        rows: impl Iterator<Item = &'a [PlacedCell; N]> + Clone,
        out: &mut dyn Write,
        indent: &str,
        layout: Layout,
    ) -> io::Result<()> {
        let rows = self.headings.iter().chain(rows);
        let mut widths = [0; N];
        for row in rows.clone() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width.max(*width);
            }
        }
        let mut line = String::new();
        for row in rows {
            indent.clone_into(&mut line);
            self.push_row(&mut line, row, &widths, layout);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// Appends the cells of a row to `line`, which contains the indent.
    fn push_row(&self, line: &mut String, row: &[PlacedCell; N], widths: &[usize; N], layout: Layout) {
        let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        let mut room = layout.width_columns.unwrap_or(usize::MAX).saturating_sub(line.width());
        for (index, ((cell, align), width)) in row.iter().zip(self.align).zip(widths).take(filled).enumerate() {
            let is_last = index + 1 == filled;
            // The last column gets no padding. A column without space for text is left out.
            let padded = if is_last && align == Align::Left { 0 } else { *width };
            self.push_cell(line, cell, align, (padded, room), layout.color);
            room = room.saturating_sub(*width);
            if is_last || room <= GAP_WIDTH {
                break;
            }
            line.push_str(GAP);
            room -= GAP_WIDTH;
        }
    }

    /// Appends the cell to `line`, padded to `width` columns and truncated to `room` columns.
    fn push_cell(
        &self,
        line: &mut String,
        cell: &PlacedCell,
        align: Align,
        (width, room): (usize, usize),
        color: bool,
    ) {
        let text = self.text.get(cell.text.clone()).unwrap_or_default();
        let (text, text_width) = if cell.width <= room {
            (Cow::Borrowed(text), cell.width)
        } else {
            let text = cut(text, room);
            let width = text.width();
            (Cow::Owned(text), width)
        };
        let pad = iter::repeat_n(' ', width.min(room).saturating_sub(text_width));
        if align == Align::Right {
            line.extend(pad.clone());
        }
        if color && cell.style != Style::Plain {
            line.push_str(&cell.style.paint(&text));
        } else {
            line.push_str(&text);
        }
        if align == Align::Left {
            line.extend(pad);
        }
    }
}

/// The text `text`. If it is longer than `room` columns, it is truncated and ends with a mark.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let Some(room) = room.checked_sub(ELLIPSIS.width()) else { return String::new() };
    let mut width = 0;
    let fits = |character: &char| {
        width += character.width().unwrap_or(0);
        width <= room
    };
    text.chars().take_while(fits).chain(ELLIPSIS.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(layout: Layout) -> String {
        let mut table = Table::new([("NAME", Align::Left), ("RUNS", Align::Right), ("WHY", Align::Left)]);
        table.push(["worker".into(), "7".into(), "exit code 1".into()]);
        table.push(["日本".into(), "12".into(), Cell::default()]);
        let mut out = Vec::new();
        table.write(&mut out, "", layout).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let expected = "NAME    RUNS  WHY\nworker     7  exit code 1\n日本      12\n";
        assert_eq!(text(Layout::default()), expected);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        for width in 1..40 {
            let text = text(Layout { width_columns: Some(width), ..Layout::default() });
            assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
        }
        assert!(text(Layout { width_columns: Some(20), ..Layout::default() }).contains("worker     7  exit …"));
    }

    #[test]
    fn colour_surrounds_text_and_not_its_padding() {
        let text = text(Layout { color: true, ..Layout::default() });
        assert!(text.starts_with("\x1b[1mNAME\x1b[0m    \x1b[1mRUNS\x1b[0m"), "{text:?}");
    }

    #[test]
    fn a_cell_cannot_carry_a_control_character() {
        assert_eq!(Cell::new("a\x1b[2Jb\r").text, "a\\x1b[2Jb\\r");
    }

    #[test]
    fn what_is_cut_off_is_marked() {
        assert_eq!((cut("abc", 3), cut("abc", 2), cut("日本", 3)), ("abc".into(), "a…".into(), "日…".into()));
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), String::new()));
    }
}
