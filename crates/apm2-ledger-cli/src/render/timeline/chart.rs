//! The chart of a timeline: the axis, a line for each process, one for the daemon, and the number of processes that were alive.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use apm2_lanes::{
    grid::Grid,
    lane_state::LaneState,
    lanes::{Lane, Lanes},
    watch::Watch,
};
use chrono::{TimeZone as _, Utc};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    period_lanes::Timeline,
    render::{
        color::Style,
        escape::escape,
        sparkline::sparkline,
        table::{Layout, cut},
        timeline::{
            axis::ticks,
            glyph::{Glyphs, Shown, end_words, style_of},
        },
        words::count,
    },
};

/// The widest name, as a part of the width and in columns.
const NAME_SHARE: usize = 4;
const NAME_MAX: usize = 28;

/// Columns of the text at the end of a line: a state and the number of restarts.
const END_WIDTH: usize = 15;

/// Columns that lanes have at least.
const LANE_MIN: usize = 10;

/// From this part of a column on (one of so many), it is shown that no supervisor ran.
const UNWATCHED_SHARE: u64 = 4;

/// The blanks on both sides of the lanes.
const GAP: usize = 1;

/// A part of the line of the daemon in which it ran.
const WATCHED: char = '.';

/// In the place of the number of processes that were alive while no daemon ran.
pub(crate) const NOT_KNOWN: char = '?';

/// The names of the lines that are no processes.
const DAEMON: &str = "daemon";
const ALIVE: &str = "alive";

/// Columns for the names, and for the lanes, of `width` columns.
pub(crate) fn columns<'a>(names: impl Iterator<Item = &'a str>, width: usize) -> (usize, u32) {
    let longest = names.map(|name| escape(name).width()).max().unwrap_or(0).max(DAEMON.len());
    let name = longest.min(NAME_MAX).min(width / NAME_SHARE);
    let lane = width.saturating_sub(name + END_WIDTH + 2 * GAP).max(LANE_MIN);
    (name, u32::try_from(lane).unwrap_or(u32::MAX))
}

/// One character of a line.
type Character = (char, Style);

/// A chart of some lanes.
pub(crate) struct Chart<'a> {
    lanes: &'a Lanes,
    watch: &'a Watch,
    shown: Vec<&'a Lane>,
    glyphs: Glyphs,
    name_width: usize,
    width: usize,
}

impl<'a> Chart<'a> {
    pub(crate) fn new(timeline: &'a Timeline, shown: &[usize], glyphs: Glyphs, width: usize) -> Self {
        let lanes = &timeline.lanes;
        let names: Vec<String> = lanes.lanes.iter().map(|lane| lane.handle.display_name()).collect();
        let (name_width, _) = columns(names.iter().map(String::as_str), width);
        let shown = shown.iter().filter_map(|place| lanes.lanes.get(*place)).collect();
        Self { lanes, watch: &timeline.watch, shown, glyphs, name_width, width }
    }

    pub(crate) fn write(&self, out: &mut dyn Write, layout: Layout) -> io::Result<()> {
        self.write_axis(out, layout)?;
        for lane in &self.shown {
            let cells = self.cells(lane).map(|(shown, style)| (self.glyphs.character(shown), style));
            self.write_line(out, &lane.handle.display_name(), cells, &end(lane), layout)?;
        }
        let daemon = self.unwatched().map(|nanos| {
            if nanos > 0 { (self.glyphs.character(Shown::NoDaemon), Style::Bad) } else { (WATCHED, Style::Quiet) }
        });
        let (words, style) =
            if self.watch.open_gap().is_some() { ("not running", Style::Bad) } else { ("", Style::Quiet) };
        self.write_line(out, DAEMON, daemon, &(words.to_owned(), style), layout)?;
        self.write_alive(out, layout)
    }

    /// What the shown lanes have, for the legend.
    pub(crate) fn used(&self) -> BTreeSet<Shown> {
        let mut used: BTreeSet<Shown> =
            self.shown.iter().flat_map(|lane| self.cells(lane)).map(|(shown, _)| shown).collect();
        if self.unwatched().any(|nanos| nanos > 0) {
            used.insert(Shown::NoDaemon);
        }
        used
    }

    fn unwatched(&self) -> impl Iterator<Item = u64> {
        self.watch.buckets_ns.iter().copied()
    }

    /// The columns of a lane.
    fn cells(&self, lane: &Lane) -> impl Iterator<Item = (Shown, Style)> {
        let grid = self.lanes.grid;
        (0..grid.buckets()).zip(self.unwatched()).map(move |(bucket, unwatched_ns)| {
            let Some(span) = lane.span(bucket) else { return (Shown::State(LaneState::Absent), Style::Quiet) };
            let shown = Shown::of(span, is_unwatched(&grid, bucket, unwatched_ns));
            (shown, shown.style(span.mix.longest().unwrap_or(LaneState::Absent)))
        })
    }

    fn write_axis(&self, out: &mut dyn Write, layout: Layout) -> io::Result<()> {
        let grid = &self.lanes.grid;
        let room = usize::try_from(grid.buckets()).unwrap_or(usize::MAX);
        let mut axis = vec![' '; room];
        for tick in ticks(grid, layout.zone, room) {
            let column = usize::try_from(grid.bucket(tick.at_ns)).unwrap_or(usize::MAX);
            let text = std::iter::once('|').chain(tick.label.chars());
            // A label that does not fit at the end is left out, and its line stays.
            let fits = column.saturating_add(tick.label.len()) < room;
            for (place, character) in axis.iter_mut().skip(column).zip(text.take(if fits { usize::MAX } else { 1 })) {
                *place = character;
            }
        }
        let zone = layout.zone.name(Utc.timestamp_nanos(grid.from_ns()));
        // Without a daemon, the states at the end are the last known ones.
        let heading = if self.watch.open_gap().is_some() { "LAST KNOWN" } else { "AT THE END" };
        let cells = axis.into_iter().map(|character| (character, Style::Quiet));
        self.write_line(out, &zone, cells, &(heading.to_owned(), Style::Heading), layout)
    }

    /// The smallest number of processes that were alive, as digits or, where these do not suffice, as blocks.
    fn write_alive(&self, out: &mut dyn Write, layout: Layout) -> io::Result<()> {
        let numbers = || self.lanes.alive.iter().map(|alive| alive.min);
        let max = self.lanes.alive.iter().map(|alive| alive.max).max().unwrap_or(0);
        let text: String = match numbers().max().unwrap_or(0) {
            0..=9 => numbers().map(|number| char::from_digit(number, 10).unwrap_or('+')).collect(),
            10.. if self.glyphs == Glyphs::Ascii => {
                numbers().map(|number| char::from_digit(number, 10).unwrap_or('+')).collect()
            }
            10.. => sparkline(numbers().map(|number| Some(u64::from(number))).collect::<Vec<_>>()),
        };
        let cells = text.chars().zip(self.unwatched()).enumerate().map(|(bucket, (character, unwatched_ns))| {
            let bucket = u32::try_from(bucket).unwrap_or(u32::MAX);
            if is_unwatched(&self.lanes.grid, bucket, unwatched_ns) {
                return (NOT_KNOWN, Style::Quiet);
            }
            let is_none = matches!(character, '0' | '·');
            (character, if is_none { Style::Bad } else { Style::Plain })
        });
        let end = (format!("up to {}", count(u64::from(max))), Style::Quiet);
        self.write_line(out, ALIVE, cells, &end, layout)
    }

    fn write_line(
        &self,
        out: &mut dyn Write,
        name: &str,
        cells: impl Iterator<Item = Character>,
        (end, end_style): &(String, Style),
        layout: Layout,
    ) -> io::Result<()> {
        let name = self.glyphs.cut(&escape(name), self.name_width);
        let pad = self.name_width.saturating_sub(name.width()) + GAP;
        let mut line = format!("{name}{:pad$}", "");
        let cells: Vec<Character> = cells.collect();
        let lane_width = cells.len();
        push_painted(&mut line, &cells, layout.color);
        let room = self.width.saturating_sub(self.name_width + lane_width + 2 * GAP);
        let end = cut(end, room);
        if end.is_empty() {
            line.truncate(line.trim_end().len());
        } else {
            line.extend(std::iter::repeat_n(' ', GAP));
            line.push_str(&if layout.color { end_style.paint(&end) } else { end });
        }
        writeln!(out, "{line}")
    }
}

/// Appends the characters, with one pair of escape sequences for neighbours of the same colour.
fn push_painted(line: &mut String, cells: &[Character], color: bool) {
    for group in cells.chunk_by(|one, other| one.1 == other.1) {
        let text: String = group.iter().map(|(character, _)| character).collect();
        let style = group.first().map_or(Style::Plain, |(_, style)| *style);
        if color && style != Style::Plain && !text.trim().is_empty() {
            line.push_str(&style.paint(&text));
        } else {
            line.push_str(&text);
        }
    }
}

/// Whether it is shown that no supervisor ran in a bucket.
pub(crate) fn is_unwatched(grid: &Grid, bucket: u32, unwatched_ns: u64) -> bool {
    let length = grid.end(bucket).abs_diff(grid.start(bucket));
    unwatched_ns > 0 && unwatched_ns >= length / UNWATCHED_SHARE
}

/// The state at the end of the period, and the number of restarts.
fn end(lane: &Lane) -> (String, Style) {
    let state = end_words(lane);
    let style = if lane.gave_up.is_some() { Style::Bad } else { style_of(lane.state) };
    let restarts = match lane.runs.restarts {
        0 => String::new(),
        restarts => format!(" +{}", count(restarts)),
    };
    (format!("{state}{restarts}"), style)
}
