//! Draws the last line: a text for the user, or else the most important keys.

use ratatui::{layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    render::{color::Style, escape::escape, table::cut},
    top::{
        app::App,
        draw::canvas::Canvas,
        keys::{FOOTER_LIVE, FOOTER_PAST},
    },
};

/// Draws the line.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    if let Some(note) = app.note() {
        let style = canvas.style(if note.is_error { Style::Bad } else { Style::Heading });
        let text = cut(&escape(&note.text), usize::from(area.width.saturating_sub(2)));
        canvas.write(area, 1, &text, style);
        return;
    }
    let mut column = 1;
    if !app.list.filter.is_empty() {
        let text = format!("filter {:?} ", app.list.filter);
        let style = canvas.style(Style::Busy);
        column = canvas.write(area, column, &cut(&escape(&text), 30), style) + 1;
    }
    let keys = if app.past.is_some() { FOOTER_PAST } else { FOOTER_LIVE };
    for (key, what) in keys {
        let width = u16::try_from(key.width() + what.width() + 1).unwrap_or(u16::MAX);
        if column.saturating_add(width) > area.width {
            break;
        }
        let style = canvas.style(Style::Heading).add_modifier(Modifier::REVERSED);
        column = canvas.write(area, column, key, style);
        let style = canvas.style(Style::Plain);
        column = canvas.write(area, column, &format!(" {what}"), style) + 2;
    }
}
