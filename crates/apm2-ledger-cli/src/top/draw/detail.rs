//! Draws the detail pane: its tabs, and the visible part of its text.

use ratatui::{layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    render::{color::Style, escape::escape, table::cut},
    top::{app::App, draw::canvas::Canvas, regions::Focus, tabs::Tab},
};

/// Draws the line of the tabs, with the name of the process at its end.
pub(crate) fn tabs(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let rule = "─".repeat(usize::from(area.width));
    let style = canvas.style(if app.focus == Focus::Detail { Style::Heading } else { Style::Quiet });
    canvas.write(area, 0, &rule, style);
    let mut end = 0;
    for tab in Tab::ALL {
        let (first, width) = tab.place();
        let label = Rect { x: area.x + first - 1, width: width + 2, ..area };
        let is_shown = tab == app.detail.tab;
        let style = if is_shown { Style::Heading } else { Style::Plain };
        let style = canvas.style(style);
        canvas.write(label, 0, &format!(" {} ", tab.label()), style);
        if is_shown {
            canvas.tint(label, canvas.style(Style::Heading).add_modifier(Modifier::REVERSED));
        }
        end = first + width + 1;
    }
    let text = title(app);
    if text.is_empty() {
        return;
    }
    let room = area.width.saturating_sub(end + 4);
    let text = cut(&text, usize::from(room));
    let at = area.width.saturating_sub(u16::try_from(text.width() + 3).unwrap_or(0));
    let style = canvas.style(Style::Heading);
    canvas.write(area, at, &format!(" {text} "), style);
}

/// The process, and which part of its text is visible.
fn title(app: &App) -> String {
    let Some(stream) = app.selected() else { return String::new() };
    let name = escape(&stream.handle.display_name()).into_owned();
    let height = app.regions().map_or(0, |regions| usize::from(regions.text.height));
    let (lines, view) = (app.detail.lines.len(), app.detail.view);
    let mut parts = vec![name];
    if app.detail.is_loading() {
        parts.push("reading…".to_owned());
    }
    if lines > height {
        parts.push(format!("{}-{} of {lines}", view.top + 1, (view.top + height).min(lines)));
    }
    if view.follows && app.past.is_none() && matches!(app.detail.tab, Tab::Events | Tab::Logs) {
        parts.push("follows".to_owned());
    }
    parts.join("  ")
}

/// Draws the visible part of the text.
pub(crate) fn text(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let lines = app.detail.lines.iter().enumerate().skip(app.detail.view.top);
    for ((index, line), row) in lines.zip(area.rows()) {
        canvas.write_line(row, line, app.detail.view.left);
        if app.detail.search.matches(line) {
            let style = canvas.style(Style::Heading).add_modifier(Modifier::UNDERLINED);
            let is_found = app.detail.search.found() == Some(index);
            canvas.tint(row, if is_found { style.add_modifier(Modifier::REVERSED) } else { style });
        }
    }
}
