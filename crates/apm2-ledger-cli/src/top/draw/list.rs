//! Draws the list of instances.

use ratatui::{layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    render::{
        color::Style,
        escape::escape,
        sparkline::sparkline,
        status,
        words::{self, NOTHING},
    },
    status::InstanceStatus,
    top::{
        app::{App, sort::tokens},
        draw::{
            canvas::Canvas,
            cells,
            columns::{Column, GAP_COLUMNS, VALUE_COLUMNS, columns},
        },
        feed::samples::Sample,
        regions::{Focus, Regions},
        text::{padded, right_aligned},
    },
};

/// The values of measurements, with a gap between two runs: what follows was measured of other processes.
fn with_gaps(samples: impl Iterator<Item = Sample>, of: fn(&Sample) -> u64) -> impl Iterator<Item = Option<u64>> {
    let mut run = None;
    samples.flat_map(move |sample| {
        let is_other = run.replace(sample.run).is_some_and(|before| before != sample.run);
        is_other.then_some(None).into_iter().chain([Some(of(&sample))])
    })
}

/// Draws the titles and the visible rows.
pub(crate) fn draw(canvas: &mut Canvas<'_>, regions: Regions, app: &App) {
    let columns = columns(usize::from(regions.rows.width), app.totals.agents > 0);
    titles(canvas, regions.titles, &columns, app);
    let Some(snapshot) = app.shown() else {
        canvas.write(regions.rows, 2, "reading the ledger…", canvas.style(Style::Quiet));
        return;
    };
    if app.list.rows.is_empty() {
        canvas.write(regions.rows, 2, &nothing(app), canvas.style(Style::Quiet));
    }
    let visible = app.list.rows.iter().enumerate().skip(app.list.top);
    for ((index, id), area) in visible.zip(regions.rows.rows()) {
        let Some(stream) = snapshot.states.get(id) else { continue };
        row(canvas, area, &columns, &snapshot.status(stream), app);
        if index == app.list.selected {
            let style = canvas.style(Style::Plain);
            canvas.tint(
                area,
                match app.focus {
                    Focus::List => style.add_modifier(Modifier::REVERSED),
                    Focus::Detail => style.add_modifier(Modifier::UNDERLINED),
                },
            );
        }
    }
    more(canvas, regions.rows, app);
}

/// Why the list is empty, and what to do.
fn nothing(app: &App) -> String {
    let over = app.shown().map_or(0, |snapshot| snapshot.states.len() + snapshot.left_out);
    match (app.list.filter.as_str(), over) {
        ("", 0) if app.past.is_some() => "there were no processes then".to_owned(),
        ("", 0) => "no processes yet: `apm2-ledger run -- COMMAND` or `apm2-ledger up` starts some".to_owned(),
        ("", over) => format!("no processes; a shows {} that are over or removed", words::count(over as u64)),
        (filter, _) => format!("no process matches {filter:?}; Esc clears the filter"),
    }
}

/// Says how many rows are outside of the visible ones.
fn more(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let below = app.list.rows.len().saturating_sub(app.list.top + usize::from(area.height));
    let edge = |count: usize, arrow: &str| format!(" {arrow}{count} ");
    let mut put = |y: u16, text: String| {
        let width = u16::try_from(text.chars().count()).unwrap_or(0);
        let row = Rect { y, height: 1, ..area };
        let style = canvas.style(Style::Heading);
        canvas.write(row, area.width.saturating_sub(width), &text, style);
    };
    if app.list.top > 0 {
        put(area.y, edge(app.list.top, "↑"));
    }
    if below > 0 {
        put(area.bottom().saturating_sub(1), edge(below, "↓"));
    }
}

fn titles(canvas: &mut Canvas<'_>, area: Rect, columns: &[(Column, usize)], app: &App) {
    let mut at = 2;
    for (column, width) in columns {
        let mark = match column.sort() {
            Some(sort) if sort == app.list.sort => {
                if app.list.is_reversed {
                    "▲"
                } else {
                    "▼"
                }
            }
            _ => "",
        };
        let text = format!("{}{mark}", column.title());
        let text = if column.is_number() { right_aligned(&text, *width) } else { padded(&text, *width) };
        let style = canvas.style(Style::Heading);
        canvas.write(area, at, &text, style);
        at += u16::try_from(width + GAP_COLUMNS).unwrap_or(u16::MAX);
    }
    canvas.tint(area, canvas.style(Style::Heading).add_modifier(Modifier::UNDERLINED));
}

fn row(canvas: &mut Canvas<'_>, area: Rect, columns: &[(Column, usize)], status: &InstanceStatus<'_>, app: &App) {
    let style = Style::of(status);
    canvas.write(area, 0, cells::mark(status), canvas.style(style));
    let mut at = 2;
    for (column, width) in columns {
        let text = text(*column, *width, status, app);
        let text = if column.is_number() { right_aligned(&text, *width) } else { padded(&text, *width) };
        let style = match column {
            Column::State => canvas.style(style),
            Column::Restarts if status.stream.handle.restart_count > 0 => canvas.style(Style::Busy),
            Column::Command => canvas.style(Style::Quiet),
            _ => canvas.style(Style::Plain),
        };
        canvas.write(area, at, &text, style);
        at += u16::try_from(width + GAP_COLUMNS).unwrap_or(u16::MAX);
    }
}

/// The state, in short words where the column is narrow.
fn state(status: &InstanceStatus<'_>, width: usize, app: &App) -> String {
    let words = status::status(status, app.setting.zone);
    if words.width() <= width { words } else { status::short_status(status, app.setting.zone) }
}

/// The text of a cell, which is escaped.
fn text(column: Column, width: usize, status: &InstanceStatus<'_>, app: &App) -> String {
    let handle = &status.stream.handle;
    let agent = status.stream.agent.as_ref();
    let (cpu, memory) = status.usage();
    let measured = |value: Option<String>, of: fn(&Sample) -> u64| {
        let value = value.unwrap_or_else(|| NOTHING.to_owned());
        let room = width.saturating_sub(VALUE_COLUMNS + 1);
        let upto = app.shown().map_or(u64::MAX, |snapshot| snapshot.seq);
        let samples = app.samples.of(status.stream.id, upto, room);
        let values: Vec<_> = with_gaps(samples.copied(), of).collect();
        let chart = sparkline(values.iter().copied().skip(values.len().saturating_sub(room)));
        format!("{} {chart}", right_aligned(&value, VALUE_COLUMNS))
    };
    let text = match column {
        Column::Name => handle.display_name(),
        Column::State => state(status, width, app),
        Column::Restarts => handle.restart_count.to_string(),
        Column::Uptime => cells::uptime(status),
        Column::Cpu => measured(cpu.map(cells::percent), |sample| u64::from(sample.cpu_centipercent)),
        Column::Memory => measured(memory.map(cells::short_bytes), |sample| sample.memory_bytes),
        Column::Activity => cells::activity(status),
        Column::Tokens => agent.map_or_else(String::new, |_| cells::short_count(tokens(status))),
        Column::Cost => agent.map_or_else(String::new, |agent| cells::cost(agent)),
        Column::Command => words::command_line(&handle.spec.command, &handle.spec.args),
    };
    escape(&text).into_owned()
}
