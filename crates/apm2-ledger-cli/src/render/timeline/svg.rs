//! Draws the lanes of a period as a picture, for a browser or a document.
//!
//! The picture has no scripts and loads nothing. Its colours follow the light or dark mode of the viewer, and each state has a shape of
//! its own. Recorded text is escaped twice: invisible and control characters as on a terminal, then what XML gives a meaning.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use apm2_lanes::{
    grid::Grid,
    lane_state::LaneState,
    lanes::Lane,
    mark::{Mark, MarkClass},
};
use chrono::{TimeZone as _, Utc};

use crate::{
    period_lanes::Timeline,
    render::{
        ends::mark_words,
        escape::escape,
        table::cut,
        timeline::{
            axis::ticks,
            figures::{Extent, Figure, figures, period_words, short_time},
            glyph::{Shown, end_words, state_words},
        },
        words::{count, counted},
        zone::Zone,
    },
};

/// The number of parts of the period, two units of width each.
pub(crate) const BUCKETS: u32 = 360;

// In units of the picture, which are pixels at its natural size.
const WIDTH: u32 = 1000;
const MARGIN: u32 = 16;
const NAME_WIDTH: u32 = 150;
const LANE_WIDTH: u32 = 690;
const LANE_LEFT: u32 = MARGIN + NAME_WIDTH;
const ROW_HEIGHT: u32 = 22;
const BAR_HEIGHT: u32 = 14;
const BAR_TOP: u32 = 4;
const AXIS_HEIGHT: u32 = 40;
const LINE_HEIGHT: u32 = 18;

/// The width of a character of the legend, at most.
const LEGEND_CHARACTER_WIDTH: u32 = 7;

/// Most characters of a name, and of a line of text.
const NAME_CHARACTERS: usize = 19;
const TEXT_CHARACTERS: usize = 128;

/// Characters between labels of the axis: one takes about seven units.
const AXIS_CHARACTERS: usize = (LANE_WIDTH / 7) as usize;

const STYLE: &str = "\
svg{color-scheme:light dark;--bg:#fff;--fg:#1f2328;--dim:#59636e;--line:#d1d9e0;--good:#1a7f37;--busy:#9a6700;--bad:#cf222e;--soft:#afb8c1}\
@media(prefers-color-scheme:dark){svg{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;--good:#3fb950;--busy:#d29922;--bad:#f85149;--soft:#656c76}}\
text{font:13px ui-sans-serif,system-ui,sans-serif;fill:var(--fg)}\
.dim{fill:var(--dim);font-size:12px}.h{font-weight:600}.bg{fill:var(--bg);stroke:var(--line)}.tick{stroke:var(--line)}\
.running{fill:var(--good)}.starting,.stopping{fill:var(--busy)}.waiting{fill:none;stroke:var(--busy);stroke-dasharray:2 2}\
.unhealthy{fill:url(#unhealthy)}.down{fill:var(--bad)}.stopped{fill:var(--soft)}.terminated{fill:none;stroke:var(--soft);stroke-dasharray:5 4}\
.mark{fill:none;stroke:var(--fg);stroke-width:2;stroke-linecap:round}.bad{stroke:var(--bad)}.busy{stroke:var(--busy)}\
.halo{stroke:var(--bg);stroke-width:5}.count{font-size:10px;font-weight:700;fill:var(--bad);stroke:var(--bg);stroke-width:3;paint-order:stroke}\
.hatch{fill:url(#hatch)}.alive{fill:var(--dim)}.textbad{fill:var(--bad)}";

/// Writes the picture. `shown` has the places of the lanes.
pub(crate) fn write(
    out: &mut dyn Write,
    timeline: &Timeline,
    (shown, extent): (&[usize], Extent),
    zone: Zone,
) -> io::Result<()> {
    let lanes: Vec<&Lane> = shown.iter().filter_map(|place| timeline.lanes.lanes.get(*place)).collect();
    let figures = figures(timeline, extent, zone);
    let picture = Picture { timeline, lanes, figures, zone };
    picture.write(out)
}

struct Picture<'a> {
    timeline: &'a Timeline,
    lanes: Vec<&'a Lane>,
    figures: Vec<Figure>,
    zone: Zone,
}

impl Picture<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX).max(1);
        let lanes_bottom = AXIS_HEIGHT + MARGIN + rows.saturating_mul(ROW_HEIGHT);
        let alive_bottom = lanes_bottom + 2 * ROW_HEIGHT;
        let lines = self.figures.iter().flat_map(|figure| &figure.lines);
        let lines: usize = lines.map(|line| 1 + usize::from(line.below.is_some())).sum();
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        let legend = self.legend();
        let legend_rows = legend_places(&legend).last().map_or(0, |(_, row)| row + 1);
        let lines = lines.saturating_add(legend_rows).saturating_add(1);
        let height = alive_bottom + lines.saturating_mul(LINE_HEIGHT) + 2 * MARGIN;
        let period = period_words(&self.grid(), self.zone);
        let title = format!("Timeline of {}, {period}", counted(self.lanes.len() as u64, "process"));
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">"
        )?;
        writeln!(out, "<title id=\"title\">{}</title>", xml(&title))?;
        writeln!(out, "<desc id=\"desc\">{}</desc>", xml(&self.description()))?;
        writeln!(out, "<style>{STYLE}</style>")?;
        write_patterns(out)?;
        writeln!(
            out,
            "<rect class=\"bg\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
            WIDTH - 1,
            height - 1
        )?;
        writeln!(out, "<text class=\"h\" x=\"{MARGIN}\" y=\"{}\">{}</text>", MARGIN + 8, xml(&period))?;
        self.write_axis(out, alive_bottom)?;
        for (row, lane) in (0..).zip(&self.lanes) {
            self.write_lane(out, lane, AXIS_HEIGHT + MARGIN + row * ROW_HEIGHT)?;
        }
        if self.lanes.is_empty() {
            let y = AXIS_HEIGHT + MARGIN + LINE_HEIGHT;
            writeln!(out, "<text class=\"dim\" x=\"{LANE_LEFT}\" y=\"{y}\">no process was alive or had events</text>")?;
        }
        self.write_gaps(out, lanes_bottom)?;
        self.write_alive(out, lanes_bottom)?;
        let figures_top = self.write_legend(out, &legend, alive_bottom + MARGIN + 8)?;
        self.write_figures(out, figures_top + LINE_HEIGHT / 2)?;
        writeln!(out, "</svg>")
    }

    const fn grid(&self) -> Grid {
        self.timeline.lanes.grid
    }

    /// The figures as one text, for those who do not see the picture.
    fn description(&self) -> String {
        let figures = self.figures.iter().map(|figure| {
            let lines: Vec<&str> = figure.lines.iter().map(|line| line.text.as_str()).collect();
            format!("{}: {}.", figure.name, lines.join("; "))
        });
        let at = if self.timeline.is_last_known() { "as last known" } else { "at the end" };
        let states = self.lanes.iter().map(|lane| format!("{} {at}: {}.", lane.handle.display_name(), end_words(lane)));
        figures.chain(states).collect::<Vec<_>>().join(" ")
    }

    /// The horizontal place of the beginning of a bucket.
    fn left(&self, bucket: u32) -> f64 {
        f64::from(LANE_LEFT) + f64::from(bucket) * f64::from(LANE_WIDTH) / f64::from(self.grid().buckets())
    }

    fn write_axis(&self, out: &mut dyn Write, bottom: u32) -> io::Result<()> {
        let name = self.zone.name(Utc.timestamp_nanos(self.grid().from_ns()));
        writeln!(out, "<text class=\"dim\" x=\"{MARGIN}\" y=\"{}\">{}</text>", AXIS_HEIGHT + 8, xml(&name))?;
        for tick in ticks(&self.grid(), self.zone, AXIS_CHARACTERS) {
            let x = self.left(self.grid().bucket(tick.at_ns));
            writeln!(
                out,
                "<path class=\"tick\" d=\"M{x:.1} {AXIS_HEIGHT}V{bottom}\"/><text class=\"dim\" x=\"{:.1}\" y=\"{}\">{}</text>",
                x + 3.0,
                AXIS_HEIGHT + 8,
                xml(&tick.label)
            )?;
        }
        Ok(())
    }

    fn write_lane(&self, out: &mut dyn Write, lane: &Lane, top: u32) -> io::Result<()> {
        let name = lane.handle.display_name();
        let base = top + BAR_TOP + 11;
        let label = xml_cut(&name, NAME_CHARACTERS);
        writeln!(out, "<g><text x=\"{MARGIN}\" y=\"{base}\">{label}<title>{}</title></text>", xml(&name))?;
        // Neighbours that show the same state are one bar.
        let spans: Vec<(LaneState, u32, u32)> = lane
            .spans
            .iter()
            .filter_map(|span| Some((span.mix.longest()?, span.first, span.last)))
            .filter(|(state, _, _)| *state != LaneState::Absent)
            .collect();
        for bar in spans.chunk_by(|one, other| one.0 == other.0 && one.2.saturating_add(1) == other.1) {
            let (Some((state, first, _)), Some((_, _, last))) = (bar.first(), bar.last()) else { continue };
            self.write_bar(out, *state, (*first, *last), top)?;
        }
        for span in &lane.spans {
            if let Some(mark) = &span.mark {
                let crashes = span.counts.of(MarkClass::Crash).saturating_add(span.counts.of(MarkClass::FailedStart));
                let x = (self.left(span.first) + self.left(span.last.saturating_add(1))) / 2.0;
                self.write_mark(out, mark, crashes, (x, top))?;
            }
        }
        let restarts = match lane.runs.restarts {
            0 => String::new(),
            restarts => format!(", {}", counted(restarts, "restart")),
        };
        let is_bad = lane.outages.open.is_some();
        let class = if is_bad { "textbad" } else { "dim" };
        let text = format!("{}{restarts}", end_words(lane));
        let x = LANE_LEFT + LANE_WIDTH + 8;
        writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{base}\">{}</text></g>", xml(&text))
    }

    fn write_bar(&self, out: &mut dyn Write, state: LaneState, (first, last): (u32, u32), top: u32) -> io::Result<()> {
        let (x, right) = (self.left(first), self.left(last.saturating_add(1)));
        let (offset, height) = bar(state);
        writeln!(
            out,
            "<rect class=\"{}\" x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{height}\"><title>{} from {} to {}</title></rect>",
            state.name(),
            top + BAR_TOP + offset,
            right - x,
            state_words(state),
            xml(&self.time(self.grid().start(first))),
            xml(&self.time(self.grid().end(last))),
        )
    }

    fn write_mark(&self, out: &mut dyn Write, mark: &Mark, crashes: u32, (x, top): (f64, u32)) -> io::Result<()> {
        let y = f64::from(top + BAR_TOP) + f64::from(BAR_HEIGHT) / 2.0;
        let Some((path, class)) = mark_path(mark.kind.class()) else { return Ok(()) };
        let title = xml(&format!("{} {}", self.time(mark.at_ns), mark_words(mark))).into_owned();
        write!(out, "<g transform=\"translate({x:.1} {y:.1})\"><title>{title}</title>")?;
        write!(out, "<path class=\"mark halo\" d=\"{path}\"/><path class=\"mark {class}\" d=\"{path}\"/>")?;
        if crashes > 1 {
            write!(out, "<text class=\"count\" x=\"5\" y=\"-2\">{}</text>", count(u64::from(crashes)))?;
        }
        writeln!(out, "</g>")
    }

    fn time(&self, wall_ns: i64) -> String {
        short_time(wall_ns, &self.grid(), self.zone)
    }

    /// The times without a daemon, across all lanes.
    fn write_gaps(&self, out: &mut dyn Write, bottom: u32) -> io::Result<()> {
        let grid = self.grid();
        let place = |wall_ns: i64| {
            let offset = grid.clamp(wall_ns).abs_diff(grid.from_ns());
            let share = std::time::Duration::from_nanos(offset).as_secs_f64()
                / std::time::Duration::from_nanos(grid.length_ns()).as_secs_f64();
            f64::from(LANE_LEFT) + share * f64::from(LANE_WIDTH)
        };
        for gap in &self.timeline.watch.gaps {
            let (x, right) = (place(gap.from.wall_ns), place(gap.to.wall_ns));
            let top = AXIS_HEIGHT + MARGIN;
            writeln!(
                out,
                "<rect class=\"hatch\" x=\"{x:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"><title>no daemon ran from {} to {}</title></rect>",
                (right - x).max(2.0),
                bottom - top,
                xml(&self.time(gap.from.wall_ns)),
                xml(&self.time(gap.to.wall_ns)),
            )?;
        }
        Ok(())
    }

    /// The smallest number of processes that were alive, as bars.
    fn write_alive(&self, out: &mut dyn Write, top: u32) -> io::Result<()> {
        let alive = &self.timeline.lanes.alive;
        let max = alive.iter().map(|alive| alive.max).max().unwrap_or(0);
        let bottom = top + 2 * ROW_HEIGHT - 4;
        let height = f64::from(ROW_HEIGHT) + 8.0;
        writeln!(out, "<text x=\"{MARGIN}\" y=\"{bottom}\">alive</text>")?;
        let mut bucket = 0;
        for group in alive.chunk_by(|one, other| one.min == other.min) {
            let next = bucket + u32::try_from(group.len()).unwrap_or(0);
            let min = group.first().map_or(0, |alive| alive.min);
            if min > 0 {
                let bar = height * f64::from(min) / f64::from(max.max(1));
                let (x, right) = (self.left(bucket), self.left(next));
                let y = f64::from(bottom) - bar;
                writeln!(
                    out,
                    "<rect class=\"alive\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{bar:.1}\"><title>{} alive from {}</title></rect>",
                    right - x,
                    counted(u64::from(min), "process"),
                    xml(&self.time(self.grid().start(bucket))),
                )?;
            }
            bucket = next;
        }
        let x = LANE_LEFT + LANE_WIDTH + 8;
        writeln!(out, "<text class=\"dim\" x=\"{x}\" y=\"{bottom}\">up to {}</text>", count(u64::from(max)))
    }

    /// The shapes that occur, with their meanings.
    fn legend(&self) -> Vec<(String, &'static str)> {
        let spans = || self.lanes.iter().flat_map(|lane| &lane.spans);
        let has_state = |state: LaneState| spans().any(|span| span.mix.longest() == Some(state));
        let has_mark = |class: MarkClass| spans().any(|span| span.mark.is_some_and(|mark| mark.kind.class() == class));
        let states = LaneState::ALL.into_iter().filter(|state| *state != LaneState::Absent && has_state(*state));
        let states = states.map(|state| {
            let (offset, height) = bar(state);
            let (class, y) = (state.name(), i64::from(offset) - 7);
            (format!("<rect class=\"{class}\" y=\"{y}\" width=\"14\" height=\"{height}\"/>"), state_words(state))
        });
        let hatch = "<rect class=\"hatch\" y=\"-7\" width=\"14\" height=\"14\"/>".to_owned();
        let gaps = (!self.timeline.watch.gaps.is_empty()).then(|| (hatch, Shown::NoDaemon.words()));
        let marks = MarkClass::ALL.into_iter().filter(|class| has_mark(*class)).filter_map(|class| {
            let (path, style) = mark_path(class)?;
            let shape = format!("<path class=\"mark {style}\" transform=\"translate(7 0)\" d=\"{path}\"/>");
            Some((shape, Shown::Mark(class).words()))
        });
        states.chain(gaps).chain(marks).collect()
    }

    /// Writes the legend. Returns the place of the next line.
    fn write_legend(&self, out: &mut dyn Write, legend: &[(String, &str)], top: u32) -> io::Result<u32> {
        let places = legend_places(legend);
        for ((shape, words), (x, row)) in legend.iter().zip(&places) {
            let y = top + row * LINE_HEIGHT;
            writeln!(
                out,
                "<g transform=\"translate({x} {y})\">{shape}<text class=\"dim\" x=\"20\" y=\"4\">{words}</text></g>"
            )?;
        }
        Ok(top + places.last().map_or(0, |(_, row)| row + 1) * LINE_HEIGHT)
    }

    fn write_figures(&self, out: &mut dyn Write, top: u32) -> io::Result<()> {
        let mut y = top;
        for figure in &self.figures {
            for (number, line) in figure.lines.iter().enumerate() {
                if number == 0 {
                    writeln!(out, "<text class=\"h\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", figure.name)?;
                }
                let text = xml_cut(&line.text, TEXT_CHARACTERS);
                writeln!(out, "<text x=\"{LANE_LEFT}\" y=\"{y}\">{text}</text>")?;
                y += LINE_HEIGHT;
                if let Some(below) = &line.below {
                    let text = xml_cut(below, TEXT_CHARACTERS);
                    writeln!(out, "<text class=\"dim\" x=\"{LANE_LEFT}\" y=\"{y}\">{text}</text>")?;
                    y += LINE_HEIGHT;
                }
            }
        }
        Ok(())
    }
}

/// The distance of the bar of a state from the top, and its height. Each state has its own.
const fn bar(state: LaneState) -> (u32, u32) {
    match state {
        LaneState::Starting => (7, 7),
        LaneState::Stopping => (0, 7),
        LaneState::Down => (11, 3),
        LaneState::Stopped | LaneState::Absent => (6, 2),
        LaneState::Terminated => (7, 1),
        LaneState::Waiting => (4, 6),
        LaneState::Running | LaneState::Unhealthy => (0, BAR_HEIGHT),
    }
}

/// The shape of a mark around its middle, and its class. `None` for a mark that is not drawn.
const fn mark_path(class: MarkClass) -> Option<(&'static str, &'static str)> {
    match class {
        // A start shows as the begin of a bar, and a requested stop as its state.
        MarkClass::Start | MarkClass::StopRequest => None,
        MarkClass::Success => Some(("M-4 0L-1 3L4 -4", "")),
        MarkClass::Restart => Some(("M-2 -4L3 0L-2 4", "busy")),
        MarkClass::Stop => Some(("M-3 -3H3V3H-3Z", "")),
        MarkClass::Unhealthy => Some(("M0 -5V1M0 4.5V4.6", "bad")),
        MarkClass::Kill => Some(("M-3 -3H3V3H-3Z", "bad")),
        MarkClass::FailedStart => Some(("M-4 4L0 -4L4 4Z", "bad")),
        MarkClass::Crash => Some(("M-4 -4L4 4M4 -4L-4 4", "bad")),
        MarkClass::Refusal => Some(("M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0M-3.5 3.5L3.5 -3.5", "bad")),
    }
}

/// The horizontal place and the row of each entry of a legend.
fn legend_places(legend: &[(String, &str)]) -> Vec<(u32, u32)> {
    let (mut x, mut row) = (MARGIN, 0);
    let place = |(_, words): &(String, &str)| {
        let width = 20 + u32::try_from(words.len()).unwrap_or(0) * LEGEND_CHARACTER_WIDTH;
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, row) = (MARGIN, row + 1);
        }
        let place = (x, row);
        x += width + MARGIN;
        place
    };
    legend.iter().map(place).collect()
}

fn write_patterns(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <path d=\"M0 0V6\" style=\"stroke:var(--fg);stroke-width:2;opacity:.45\"/></pattern>\
         <pattern id=\"unhealthy\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
         <path d=\"M0 1H4\" style=\"stroke:var(--bad);stroke-width:2.5\"/></pattern></defs>"
    )
}

/// The text in a picture: without control and invisible characters, and without characters that XML gives a meaning or refuses.
fn xml(text: &str) -> Cow<'_, str> {
    let is_special = |character: char| matches!(character, '&' | '<' | '>' | '"' | '\'' | '\u{fffe}' | '\u{ffff}');
    let safe = escape(text);
    if !safe.contains(is_special) {
        return safe;
    }
    let mut escaped = String::with_capacity(safe.len() + 16);
    for character in safe.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// The beginning of the text, with a mark if it is not the whole.
fn xml_cut(text: &str, characters: usize) -> String {
    xml(&cut(&escape(text), characters)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(xml("<script>\"&'"), "&lt;script&gt;&quot;&amp;&#39;");
        assert_eq!(xml("a\u{202e}b\x1b[2J\0\u{ffff}"), "a\\u202eb\\x1b[2J\\x00\u{fffd}");
        assert!(matches!(xml("plain – text"), Cow::Borrowed(_)));
        assert_eq!(xml_cut("<<<<<", 3), "&lt;&lt;…");
    }
}
