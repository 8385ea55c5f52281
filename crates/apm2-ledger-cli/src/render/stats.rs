//! Prints statistics: a table with a row for each instance, or the page of one instance.

use std::{
    io::{self, Write},
    time::Duration,
};

use apm2_model::{
    event::timestamp::Timestamp,
    state::statistics::{EndCause, EndState, Measured},
};

use crate::{
    render::{
        color::Style,
        sparkline::sparkline,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table,
        },
        words::{self, NOTHING, counted},
    },
    stats::{InstanceStatistics, period::Period, series::PARTS},
};

/// Prints the statistics of several instances.
pub(crate) fn table(
    out: &mut dyn Write,
    all: &[InstanceStatistics],
    period: &Period,
    layout: Layout,
) -> io::Result<()> {
    writeln!(out, "{}", interval(period.from, period.to, layout))?;
    let mut table = Table::new([
        ("NAME", Left),
        ("RUNS", Right),
        ("RESTARTS", Right),
        ("CRASHES", Right),
        ("UP", Right),
        ("RECOVERY", Right),
        ("CPU", Right),
        ("MEMORY", Right),
        ("CRASHES OVER TIME", Left),
    ]);
    for one in all {
        let runs = &one.runs;
        let crashes = runs.ended(EndState::Crashed);
        let style = if crashes > 0 { Style::Bad } else { Style::Plain };
        table.push([
            one.stream.handle.display_name().into(),
            words::count(runs.runs).into(),
            words::count(runs.restarts).into(),
            Cell::new(words::count(crashes)).styled(style),
            share(one, period.to).into(),
            runs.recovery_ns.mean().map_or_else(|| NOTHING.to_owned(), nanos).into(),
            runs.cpu_centipercent.mean().map_or_else(|| NOTHING.to_owned(), percent).into(),
            maximum(&runs.memory_bytes, words::bytes).into(),
            sparkline(one.series.crashes.map(Some)).into(),
        ]);
    }
    table.write(out, "", layout)
}

/// Prints the statistics of one instance.
pub(crate) fn page(out: &mut dyn Write, one: &InstanceStatistics, period: &Period, layout: Layout) -> io::Result<()> {
    let runs = &one.runs;
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    fact("name", one.stream.handle.display_name().into());
    fact("period", interval(one.from, period.to, layout).into());
    fact("runs", format!("{}, of which {}", words::count(runs.runs), counted(runs.restarts, "restart")).into());
    for (state, name, style) in [
        (EndState::Stopped, "stopped", Style::Plain),
        (EndState::Crashed, "crashed", Style::Bad),
        (EndState::Terminated, "killed", Style::Bad),
    ] {
        if runs.ended(state) > 0 {
            fact(name, Cell::new(ends(one, state)).styled(style));
        }
    }
    if runs.given_up > 0 {
        fact("gave up", Cell::new(counted(runs.given_up, "time")).styled(Style::Bad));
    }
    fact("up", format!("{}, {}", share(one, period.to), nanos(runs.up_ns)).into());
    if let Some(mean) = runs.recovery_ns.mean() {
        fact("recovery", format!("{} on average, {} at most", nanos(mean), nanos(runs.recovery_ns.max)).into());
    }
    for (name, measured, text) in
        [("cpu", &runs.cpu_centipercent, percent as fn(u64) -> String), ("memory", &runs.memory_bytes, words::bytes)]
    {
        if let Some(mean) = measured.mean() {
            fact(name, format!("{} on average, {} at most", text(mean), text(measured.max)).into());
        }
    }
    facts.write(out, "", layout)?;
    charts(out, one, layout)
}

/// A line for each quantity that developed over the period.
fn charts(out: &mut dyn Write, one: &InstanceStatistics, layout: Layout) -> io::Result<()> {
    let series = &one.series;
    let part = nanos(series.part_ns());
    writeln!(out, "\nOver time, {part} a character")?;
    let means = |measured: &[Measured; PARTS]| measured.map(|part| part.mean());
    let maxima = |measured: &[Measured; PARTS]| measured.map(|part| Some(part.max).filter(|_| part.count > 0));
    let mut table = Table::untitled();
    let counts = |values: [u64; PARTS]| (values.map(Some), values.iter().max().copied());
    for (name, (values, max), text) in [
        ("starts", counts(series.starts), words::count as fn(u64) -> String),
        ("crashes", counts(series.crashes), words::count),
        (
            "cpu",
            (means(&series.cpu_centipercent), means(&series.cpu_centipercent).into_iter().flatten().max()),
            percent,
        ),
        (
            "memory",
            (maxima(&series.memory_bytes), maxima(&series.memory_bytes).into_iter().flatten().max()),
            words::bytes,
        ),
    ] {
        if let Some(max) = max.filter(|max| *max > 0) {
            table.push([
                Cell::new(name).styled(Style::Heading),
                sparkline(values).into(),
                format!("up to {}", text(max)).into(),
            ]);
        }
    }
    table.write(out, "", layout)
}

/// A period with its length.
pub(crate) fn interval(from: Timestamp, to: Timestamp, layout: Layout) -> String {
    let length = u64::try_from(to.wall_ns.saturating_sub(from.wall_ns)).unwrap_or(0);
    format!("{} to {} ({})", layout.zone.time(from.wall()), layout.zone.time(to.wall()), nanos(length))
}

/// The ends in one state by their causes, the most frequent first.
fn ends(one: &InstanceStatistics, state: EndState) -> String {
    let mut causes: Vec<_> = one.runs.ends.iter().filter(|((found, _), _)| *found == state).collect();
    causes.sort_by_key(|((_, cause), count)| (std::cmp::Reverse(**count), *cause));
    let causes: Vec<_> = causes
        .into_iter()
        .map(|((_, cause), count)| format!("{} × {}", words::count(*count), end_words(*cause)))
        .collect();
    format!("{}: {}", counted(one.runs.ended(state), "time"), causes.join(", "))
}

/// The end of a run, in words.
pub(crate) fn end_words(cause: EndCause) -> String {
    match cause {
        EndCause::Code(code) => format!("exit code {code}"),
        EndCause::Signal(signal) => signal.to_string(),
        EndCause::Unknown => "exit unknown".to_owned(),
        EndCause::SpawnFailed => "not started".to_owned(),
        EndCause::NeverConfirmed => "start never confirmed".to_owned(),
    }
}

fn share(one: &InstanceStatistics, to: Timestamp) -> String {
    one.up_share(to).map_or_else(|| NOTHING.to_owned(), |share| format!("{:.2}%", share * 100.0))
}

fn maximum(measured: &Measured, text: fn(u64) -> String) -> String {
    if measured.count > 0 { text(measured.max) } else { NOTHING.to_owned() }
}

/// Hundredths of a percent as percent.
fn percent(centipercent: u64) -> String {
    format!("{}.{}%", centipercent / 100, centipercent % 100 / 10)
}

/// Nanoseconds as a duration in words.
pub(crate) fn nanos(nanos: u64) -> String {
    words::duration(Duration::from_nanos(nanos))
}
