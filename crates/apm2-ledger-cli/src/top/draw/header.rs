//! Draws the header: which ledger this is, whether a daemon runs, totals, and the banner of the past.

use std::time::Duration;

use ratatui::{layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    render::{self, color::Style, escape::escape, table::cut, words},
    status::Supervision,
    top::{
        app::{App, past::Past, totals::Totals},
        draw::{canvas::Canvas, cells},
    },
};

/// Draws the header.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        first(canvas, row, app);
    }
    if let Some(row) = rows.next() {
        totals(canvas, row, app);
    }
}

/// The ledger and its daemon.
fn first(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let (daemon, style) = match app.live.as_ref().map(|live| live.context.supervision) {
        None => ("reading…", Style::Quiet),
        Some(Some(Supervision::Answered)) => ("● daemon runs", Style::Good),
        Some(Some(Supervision::Unanswered)) => ("? daemon does not answer: last known states", Style::Bad),
        Some(Some(Supervision::Absent) | None) => ("○ no daemon: nothing is supervised or recorded", Style::Bad),
    };
    // Whether a daemon runs is always that of the present.
    let daemon = if app.past.is_some() { format!("now: {daemon}") } else { daemon.to_owned() };
    let width = u16::try_from(daemon.width()).unwrap_or(0);
    let at = area.width.saturating_sub(width + 1);
    let style = canvas.style(style);
    canvas.write(area, at, &daemon, style);
    let title = canvas.style(Style::Heading);
    let column = canvas.write(area, 1, "apm2-ledger", title);
    let ledger = escape(&app.setting.ledger.to_string_lossy()).into_owned();
    let room = usize::from(at.saturating_sub(column + 4));
    canvas.write(area, column + 2, &cut_front(&ledger, room), canvas.style(Style::Quiet));
}

/// The end of a path: its last part says more than its first.
fn cut_front(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut tail = String::new();
    for character in text.chars().rev() {
        if tail.width() + 2 > room {
            break;
        }
        tail.insert(0, character);
    }
    format!("…{tail}")
}

/// How many processes are in which state, and what they use.
fn totals(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let Some(snapshot) = app.shown() else { return };
    let totals = app.totals;
    let plain = canvas.style(Style::Plain);
    let mut column = canvas.write(area, 1, &words::counted(totals.instances, "process"), plain);
    let mut between = if snapshot.context.moment.is_unwatched { ", last known: " } else { ", " };
    for (count, name, style) in states(&totals) {
        if count > 0 {
            column = canvas.write(area, column, std::mem::replace(&mut between, ", "), plain);
            let style = canvas.style(style);
            let given_up = match totals.gave_up {
                gave_up if gave_up > 0 && name == "down" => format!(" ({} gave up)", words::count(gave_up)),
                _ => String::new(),
            };
            column = canvas.write(area, column, &format!("{} {name}{given_up}", words::count(count)), style);
        }
    }
    let mut parts = Vec::new();
    if totals.memory_bytes > 0 {
        parts.push(format!("cpu {}", cells::percent(totals.cpu_percent)));
        parts.push(words::bytes(totals.memory_bytes));
    }
    if totals.agents > 0 {
        let cost = if totals.cost_micros > 0 {
            format!(", {}", render::agent::cost(totals.cost_micros))
        } else {
            String::new()
        };
        let agents = words::counted(totals.agents, "agent");
        parts.push(format!("{agents}: {} tokens{cost}", cells::short_count(totals.tokens)));
    }
    parts.push(format!("event {}", words::count(snapshot.seq)));
    let room = usize::from(area.width.saturating_sub(column + 2));
    // The least important is left out where there is no room.
    while parts.join("  ").width() > room {
        parts.pop();
    }
    let text = parts.join("  ");
    let at = area.width.saturating_sub(u16::try_from(text.width() + 1).unwrap_or(0));
    canvas.write(area, at, &text, plain);
}

const fn states(totals: &Totals) -> [(u64, &'static str, Style); 7] {
    [
        (totals.down, "down", Style::Bad),
        (totals.doubtful, "gone or unknown", Style::Bad),
        (totals.unhealthy, "unhealthy", Style::Bad),
        (totals.running, "running", Style::Good),
        (totals.starting, "starting", Style::Busy),
        (totals.stopping, "stopping", Style::Busy),
        (totals.stopped, "stopped", Style::Quiet),
    ]
}

/// Says that the past is shown, which moment of it, and whether no daemon ran then.
pub(crate) fn banner(canvas: &mut Canvas<'_>, area: Rect, past: &Past, app: &App) {
    let moment = past.snapshot.context.moment;
    let ago = (app.now.wall - moment.now).to_std().unwrap_or_default();
    let ago = words::duration(Duration::from_secs(ago.as_secs()));
    let busy = if past.is_stepping() || app.is_jumping { "  reading…" } else { "" };
    let time = app.setting.zone.short_time(moment.now, app.now.wall);
    let event = match &past.event {
        Some(event) => {
            let of = past.snapshot.states.get(&event.stream).map(|stream| stream.handle.display_name());
            let of = of.map(|name| format!(" of {name}")).unwrap_or_default();
            format!("after event {}, {}{of}", words::count(event.seq), event.kind.name())
        }
        None => format!("after event {}", words::count(past.snapshot.seq)),
    };
    let text = format!(" THE PAST  {time}, {ago} ago  {event}{busy}");
    let text = cut(&escape(&text), usize::from(area.width));
    canvas.write(area, 0, &text, canvas.style(Style::Heading));
    if past.is_unwatched()
        && let Some(row) = area.rows().nth(1)
    {
        canvas.write(row, 0, &format!(" {}", words::NO_DAEMON_THEN), canvas.style(Style::Heading));
    }
    canvas.tint(area, canvas.style(Style::Busy).add_modifier(Modifier::BOLD | Modifier::REVERSED));
}
