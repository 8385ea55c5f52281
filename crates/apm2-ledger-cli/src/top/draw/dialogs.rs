//! Draws the dialogue that is open.

use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    render::{color::Style, escape::escape, words, wrap::wrapped},
    status::Supervision,
    top::{
        app::{
            App,
            dialog::{Change, Dialog},
            field::TextField,
        },
        draw::canvas::Canvas,
        keys,
        regions::{DIALOG_EDGE_COLUMNS, overview_columns},
        text::StyledLine,
    },
};

/// Width of a dialogue with a text field.
const FIELD_DIALOG_COLUMNS: u16 = 72;

/// Width of the page of keys.
const HELP_COLUMNS: u16 = 66;

/// Draws a dialogue in the middle of `area`. Returns the place of the cursor, if text is typed.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, dialog: &Dialog, app: &App) -> Option<Position> {
    match dialog {
        Dialog::Help(top) => {
            help(canvas, area, *top);
            None
        }
        Dialog::Overview(top) => {
            overview(canvas, area, *top, app);
            None
        }
        Dialog::Filter { field, .. } => {
            let found = words::counted(app.list.rows.len() as u64, "process");
            let lines = [plain("Processes whose name, state (down, gave up), command, id or agent contains:")];
            with_field(
                canvas,
                (area, below),
                "Filter",
                &lines,
                field,
                &format!("{found} found.  Enter: keep it   Esc: as it was"),
            )
        }
        Dialog::Search(field) => {
            let lines = [plain("Lines that contain, in upper or lower case:")];
            with_field(canvas, (area, below), "Search", &lines, field, "Enter: search; n and N go on   Esc: cancel")
        }
        Dialog::Jump { field, error } => {
            let forms = "14:00, yesterday 23:30, 2h ago, 2026-01-31 14:00, or an event's number:";
            let mut lines = vec![plain(forms)];
            let error = error.iter().flat_map(|error| wrapped(error, ("", ""), Some(inner_columns())));
            lines.extend(error.map(|line| StyledLine::new(&line, Style::Bad)));
            with_field(canvas, (area, in_the_middle), "Jump to a time", &lines, field, "Enter: jump   Esc: cancel")
        }
        Dialog::Confirm { change, name, reason, .. } => {
            let mut lines: Vec<_> = consequence(*change, app)
                .iter()
                .flat_map(|text| wrapped(text, ("", ""), Some(inner_columns())))
                .map(|line| plain(&line))
                .collect();
            lines.push(StyledLine::default());
            lines.push(StyledLine::new("Reason to record (optional):", Style::Heading));
            let verb = change.verb();
            let title = format!(
                "{}{} {name}?",
                verb.get(..1).unwrap_or_default().to_uppercase(),
                verb.get(1..).unwrap_or_default()
            );
            with_field(
                canvas,
                (area, in_the_middle),
                &escape(&title),
                &lines,
                reason,
                &format!("Enter: {verb}   Esc: cancel"),
            )
        }
    }
}

fn plain(text: &str) -> StyledLine {
    StyledLine::new(text, Style::Plain)
}

fn inner_columns() -> usize {
    usize::from(FIELD_DIALOG_COLUMNS.saturating_sub(4))
}

/// What follows from a change.
fn consequence(change: Change, app: &App) -> Vec<String> {
    let Some(stream) = app.selected() else { return Vec::new() };
    let shutdown = &stream.handle.spec.shutdown;
    let stop = format!("{}, and SIGKILL after {}", shutdown.signal, words::duration(shutdown.timeout));
    let mut texts = vec![match change {
        Change::Start => "It is started if it does not run, and its restart budget begins anew.".to_owned(),
        Change::Stop => {
            format!("It and its descendants get {stop}. It stays supervised and is not started again by the policy.")
        }
        Change::Restart => format!("It is stopped ({stop}) and started again."),
    }];
    if app.live.as_ref().is_some_and(|live| live.context.supervision == Some(Supervision::Absent)) {
        texts.push(
            "No daemon runs: one is started, which also takes over or starts what it supervised before.".to_owned(),
        );
    }
    texts
}

/// Draws a dialogue with a line to type into. Returns the place of the cursor.
fn with_field(
    canvas: &mut Canvas<'_>,
    (area, place): (Rect, fn(Rect, u16) -> Rect),
    title: &str,
    lines: &[StyledLine],
    field: &TextField,
    keys: &str,
) -> Option<Position> {
    let height = u16::try_from(lines.len()).unwrap_or(0).saturating_add(5);
    let dialog = place(area, height);
    canvas.clear(dialog);
    canvas.frame(dialog, title);
    let mut rows = dialog.rows().skip(1).map(|row| Rect { x: row.x + 2, width: row.width.saturating_sub(4), ..row });
    for line in lines {
        canvas.write_line(rows.next()?, line, 0);
    }
    let row = rows.next()?;
    let cursor = type_line(canvas, row, field);
    let _blank = rows.next()?;
    let style = canvas.style(Style::Heading);
    canvas.write(rows.next()?, 0, keys, style);
    Some(cursor)
}

/// Draws the line that is typed, scrolled so that the cursor is visible. Returns the place of the cursor.
fn type_line(canvas: &mut Canvas<'_>, row: Rect, field: &TextField) -> Position {
    let (before, after) = field.halves();
    let prompt = "> ";
    let room = usize::from(row.width).saturating_sub(prompt.width() + 1);
    let before = escape(before).into_owned();
    let skipped = before.width().saturating_sub(room);
    let start = canvas.write(row, 0, prompt, canvas.style(Style::Heading));
    let text = StyledLine::new(&before, Style::Plain).with(after, Style::Plain);
    let rest = Rect { x: row.x + start, width: row.width.saturating_sub(start), ..row };
    canvas.write_line(rest, &text, skipped);
    let column = u16::try_from(before.width() - skipped).unwrap_or(0);
    Position::new(rest.x + column.min(rest.width.saturating_sub(1)), row.y)
}

/// The place of a dialogue of this height that lets the list be seen.
fn below(area: Rect, height: u16) -> Rect {
    let dialog = middle(area, FIELD_DIALOG_COLUMNS, height);
    Rect { y: area.bottom().saturating_sub(dialog.height + 1).max(area.y), ..dialog }
}

fn in_the_middle(area: Rect, height: u16) -> Rect {
    middle(area, FIELD_DIALOG_COLUMNS, height)
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height)
}

/// Draws the page of keys, from the line `top` on if it is longer than the screen.
fn help(canvas: &mut Canvas<'_>, area: Rect, top: usize) {
    let mut lines = Vec::new();
    for (heading, keys) in keys::HELP {
        lines.push(StyledLine::new(heading, Style::Heading));
        for (key, what) in keys {
            lines.push(
                StyledLine::new(&format!("  {}", crate::top::text::padded(key, 12)), Style::Good)
                    .with(what, Style::Plain),
            );
        }
    }
    scrolled(canvas, (area, HELP_COLUMNS), "Keys   Esc: close", &lines, top);
}

/// Draws what happened lately.
fn overview(canvas: &mut Canvas<'_>, area: Rect, top: usize, app: &App) {
    let width = overview_columns(app.size).saturating_add(DIALOG_EDGE_COLUMNS);
    let mut lines = app.overview_lines();
    if lines.is_empty() {
        lines.push(StyledLine::new("reading…", Style::Quiet));
    }
    scrolled(canvas, (area, width), "Overview   v: read again   Esc: close", &lines, top);
}

/// Draws lines in a dialogue of this width, from the line `top` on if there are more than the screen has.
fn scrolled(canvas: &mut Canvas<'_>, (area, width): (Rect, u16), title: &str, lines: &[StyledLine], top: usize) {
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let dialog = middle(area, width, height);
    canvas.clear(dialog);
    let room = usize::from(dialog.height.saturating_sub(2));
    let top = top.min(lines.len().saturating_sub(room));
    let scroll = if lines.len() > room { "   ↑ ↓: scroll" } else { "" };
    canvas.frame(dialog, &format!("{title}{scroll}"));
    let rows = dialog.rows().skip(1).map(|row| Rect { x: row.x + 2, width: row.width.saturating_sub(4), ..row });
    for (line, row) in lines.iter().skip(top).zip(rows.take(room)) {
        canvas.write_line(row, line, 0);
    }
}
