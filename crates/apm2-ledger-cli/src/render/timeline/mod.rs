//! Prints the lanes of a period: a line for each process, with its states as shapes and colours and its marks as characters.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod figures;
pub(crate) mod glyph;
pub(crate) mod legend;
pub(crate) mod svg;

use std::io::{self, Write};

use crate::{
    period_lanes::Timeline,
    render::{
        table::{Layout, cut},
        timeline::{chart::Chart, figures::Extent, glyph::Glyphs},
        words::{count, counted},
        wrap::wrapped,
    },
};

/// Prints the timeline. No line is wider than `width` columns.
pub(crate) fn page(
    out: &mut dyn Write,
    timeline: &Timeline,
    (layout, width): (Layout, usize),
    glyphs: Glyphs,
    (shown, extent): (&[usize], Extent),
) -> io::Result<()> {
    let grid = timeline.lanes.grid;
    for line in wrapped(&figures::period_words(&grid, layout.zone), ("", "  "), Some(width)) {
        writeln!(out, "{line}")?;
    }
    let chart = Chart::new(timeline, shown, glyphs, width);
    chart.write(out, layout)?;
    let hidden = timeline.lanes.lanes.len() - shown.len();
    if hidden > 0 {
        let text = format!("and {}, see --limit all", counted(hidden as u64, "more process"));
        writeln!(out, "{}", cut(&text, width))?;
    }
    writeln!(out)?;
    legend::write(out, &chart.used(), glyphs, (layout, width))?;
    let figures = figures::figures(timeline, extent, layout.zone);
    if !figures.is_empty() {
        writeln!(out)?;
    }
    figures::write(out, &figures, glyphs, (layout, width))
}

/// The lanes that are shown if their number is limited: those with the most outages, restarts and marks, in the order of the timeline.
pub(crate) fn chosen(timeline: &Timeline, limit: u64) -> Vec<usize> {
    let lanes = &timeline.lanes.lanes;
    let mut places: Vec<usize> = (0..lanes.len()).collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit < places.len() {
        let interest = |place: &usize| {
            let lane = lanes.get(*place);
            let outages = lane.map_or(0, |lane| lane.outages.count);
            let restarts = lane.map_or(0, |lane| lane.runs.restarts);
            (outages, restarts, lane.is_some_and(|lane| lane.state.is_alive()))
        };
        places.sort_by_key(|place| std::cmp::Reverse(interest(place)));
        places.truncate(limit);
        places.sort_unstable();
    }
    places
}

/// The message for a period without any process.
pub(crate) fn nothing(events: u64) -> String {
    match events {
        0 => "the ledger is empty: nothing has been recorded yet".to_owned(),
        _ => {
            format!("no process was alive or had events in this period; the ledger has {} events", count(events))
        }
    }
}
