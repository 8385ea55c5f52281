//! What happened lately, for all processes: the figures of `timeline`.

use crate::{
    period_lanes::Timeline,
    render::{
        color::Style,
        table::Layout,
        timeline::{
            figures::{self, Extent, figures, period_words},
            glyph::Glyphs,
        },
        zone::Zone,
    },
    top::text::StyledLine,
};

/// The lines, in so many columns.
pub(crate) fn lines(timeline: &Timeline, zone: Zone, columns: usize) -> Vec<StyledLine> {
    let layout = Layout { width_columns: Some(columns), color: false, zone };
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = figures::write(&mut page, &figures(timeline, Extent::LONG, zone), Glyphs::Unicode, (layout, columns));
    let text = String::from_utf8_lossy(&page);
    let line = |line: &str| match line.split_once("  ") {
        Some((name, rest)) if !name.is_empty() => {
            StyledLine::new(name, Style::Heading).with(&format!("  {rest}"), Style::Plain)
        }
        _ => StyledLine::new(line, Style::Plain),
    };
    let period = StyledLine::new(&period_words(&timeline.lanes.grid, zone), Style::Quiet);
    [period, StyledLine::default()].into_iter().chain(text.lines().map(line)).collect()
}
