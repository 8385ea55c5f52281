//! The figures of a timeline in words: what a person asks first after a bad night.

use std::{
    cell::Cell,
    io::{self, Write},
};

use apm2_lanes::{
    actions::UnobservedEnd,
    grid::Grid,
    lanes::Lane,
    mark::Mark,
    outage::{Outage, OutageEnd},
    requests::{Request, requests as grouped},
    summary::Summary,
    watch::Gap,
};
use apm2_model::event::stream_id::StreamId;
use chrono::{TimeZone as _, Utc};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    period_lanes::{Spender, Timeline},
    render::{
        agent,
        color::Style,
        ends::{end_with_cause, last_line, no_last_line, supervision_ended, why_down},
        escape::escape,
        event::rule_words,
        requests::{self, DAEMON, asked_by, bracketed, did},
        stats::nanos,
        table::Layout,
        timeline::glyph::Glyphs,
        words::{self, counted},
        wrap::wrapped,
        zone::Zone,
    },
};

/// How much of a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Most lines of one figure, such as of the times without a daemon.
    lines: usize,
    /// Most names in one line.
    names: usize,
}

impl Extent {
    /// What fits on a screen.
    pub(crate) const SHORT: Self = Self { lines: 5, names: 4 };

    /// What fits in a text that is scrolled.
    pub(crate) const LONG: Self = Self { lines: 50, names: 100 };

    /// All that the lanes have.
    pub(crate) const ALL: Self = Self { lines: usize::MAX, names: usize::MAX };
}

/// Where what is left out is written.
const SHORTER_HINT: &str = "a shorter period, of --since and --until, has what is left out here";
const ALL_HINT: &str = "`apm2-ledger timeline --limit all` has what is left out here";

/// Columns between the name of a figure and its text.
const GAP: usize = 2;

/// What is before the last line that a process wrote.
const QUOTE_INDENT: &str = "  ";

/// A figure: its name and its lines.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// A line of a figure. Its text is escaped.
pub(crate) struct Line {
    pub(crate) text: String,
    /// The last line that the process wrote, or that there is none, if it is of interest.
    pub(crate) below: Option<String>,
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self { text, below: None }
    }
}

/// The figures of the period. One without a value is left out.
pub(crate) fn figures(timeline: &Timeline, extent: Extent, zone: Zone) -> Vec<Figure> {
    let is_cut = Cell::new(false);
    let words = Words { timeline, zone, extent, is_cut: &is_cut };
    let lanes = &timeline.lanes;
    let summary = Summary::new(lanes);
    let mut refusals = lanes.refusals.first.iter().map(|refusal| {
        let rule = escape(&rule_words(&refusal.rule)).into_owned();
        Line::from(format!("{} at {}: {rule}", words.name_of(refusal.stream), words.time(refusal.at_ns)))
    });
    let requests = grouped(&lanes.actions.first);
    let unlisted = lanes.actions.count.saturating_sub(lanes.actions.first.len() as u64);
    let request_count = unlisted.saturating_add(requests.len() as u64);
    let mut down = summary.down.iter().map(|found| words.down(found));
    let mut unseen = lanes.unobserved.first.iter().map(|end| words.unseen(end));
    let mut people = requests.iter().rev().map(|request| words.request(request));
    let spenders = timeline.spenders();
    let listed = |lines: &mut dyn Iterator<Item = Line>, count| words.listed(lines, count);
    let one = |line: Option<Line>| listed(&mut line.into_iter(), 1);
    let mut figures: Vec<Figure> = [
        ("summary", one(Some(Line::from(counts(&summary, timeline))))),
        ("first to fail", one(summary.first_death.map(|(lane, mark)| words.death(lane, &mark)))),
        ("most restarts", one(words.most_restarts(&summary))),
        ("longest outage", one(summary.longest_outage.as_ref().map(|found| words.outage(found)))),
        ("slowest recovery", one(summary.slowest_recovery.as_ref().map(|found| words.outage(found)))),
        ("still down", listed(&mut down, summary.down.len() as u64)),
        ("gave up", listed(&mut refusals, lanes.refusals.count)),
        ("spent most", listed(&mut words.spenders(&spenders), spenders.len() as u64)),
        ("no daemon", listed(&mut words.gaps(), timeline.watch.count)),
        ("ended unseen", listed(&mut unseen, lanes.unobserved.count)),
        // The latest is the first.
        ("by people", listed(&mut people, request_count)),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(name, lines)| Figure { name, lines })
    .collect();
    if is_cut.get() {
        let hint = if extent == Extent::ALL { SHORTER_HINT } else { ALL_HINT };
        figures.push(Figure { name: "and more", lines: vec![Line::from(hint.to_owned())] });
    }
    figures
}

/// How many processes there were, and how they are at the end of the period.
pub(crate) fn counts(summary: &Summary<'_>, timeline: &Timeline) -> String {
    let lanes = &timeline.lanes;
    let down = match summary.given_up {
        0 => format!("{} down", words::count(summary.down.len() as u64)),
        given_up => format!("{} down ({} gave up)", words::count(summary.down.len() as u64), words::count(given_up)),
    };
    let all = lanes.lanes.len() as u64;
    let present = summary.alive.saturating_add(summary.down.len() as u64).saturating_add(summary.ended);
    let removed = match all.saturating_sub(present) {
        0 => String::new(),
        removed => format!(", {} removed", words::count(removed)),
    };
    let as_of = if timeline.is_last_known() { "last known, without a daemon: " } else { "" };
    format!(
        "{}: {as_of}{} alive, {down}, {} ended{removed}; {}, {}",
        counted(all, "process"),
        words::count(summary.alive),
        words::count(summary.ended),
        counted(summary.crashes, "failure"),
        counted(summary.restarts, "restart"),
    )
}

/// The name of a process, escaped.
fn name(lane: &Lane) -> String {
    escape(&lane.handle.display_name()).into_owned()
}

/// The figures of processes in words.
struct Words<'a> {
    timeline: &'a Timeline,
    zone: Zone,
    extent: Extent,
    /// Whether something was left out.
    is_cut: &'a Cell<bool>,
}

impl Words<'_> {
    /// The first lines, and how many of `count` are not among them.
    fn listed(&self, lines: &mut dyn Iterator<Item = Line>, count: u64) -> Vec<Line> {
        let mut lines: Vec<Line> = lines.take(self.extent.lines).collect();
        let more = count.saturating_sub(lines.len() as u64);
        if more > 0 && !lines.is_empty() {
            self.is_cut.set(true);
            lines.push(Line::from(format!("and {} more", words::count(more))));
        }
        lines
    }

    /// The first names, and the number of the others.
    fn names(&self, names: impl ExactSizeIterator<Item = String>) -> String {
        self.is_cut.set(self.is_cut.get() || names.len() > self.extent.names);
        requests::names(names, self.extent.names)
    }

    /// The processes with the most restarts; `None` without any restart.
    fn most_restarts(&self, summary: &Summary<'_>) -> Option<Line> {
        let most = &summary.most_restarts;
        let restarts = counted(most.first()?.runs.restarts, "restart");
        let each = if most.len() > 1 { " each" } else { "" };
        Some(Line::from(format!("{}: {restarts}{each}", self.names(most.iter().map(|lane| name(lane))))))
    }

    /// The times without a daemon, the longest first.
    fn gaps(&self) -> impl Iterator<Item = Line> {
        let mut gaps: Vec<&Gap> = self.timeline.watch.gaps.iter().collect();
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.nanos()));
        gaps.into_iter().map(|gap| {
            let to = if gap.is_open { "the end".to_owned() } else { self.time(gap.to.wall_ns) };
            let (length, from) = (nanos(gap.nanos()), self.time(gap.from.wall_ns));
            Line::from(format!("{length} from {from} to {to}: {}", supervision_ended(&gap.cause)))
        })
    }

    fn time(&self, wall_ns: i64) -> String {
        short_time(wall_ns, &self.timeline.lanes.grid, self.zone)
    }

    fn name_of(&self, id: StreamId) -> String {
        if id.is_system() {
            return DAEMON.to_owned();
        }
        self.timeline.lanes.lane(id).map_or_else(|| id.process_id.to_string(), name)
    }

    /// How a run ended, with its cause.
    fn end(&self, mark: &Mark) -> String {
        end_with_cause(mark, &self.timeline.details)
    }

    fn quote(&self, mark: &Mark) -> Option<String> {
        Some(format!("last line: {}", last_line(mark, &self.timeline.details)?))
    }

    fn death(&self, lane: &Lane, mark: &Mark) -> Line {
        let text = format!("{} at {}: {}", name(lane), self.time(mark.at_ns), self.end(mark));
        Line { text, below: self.quote(mark) }
    }

    fn outage(&self, found: &(&Lane, Outage)) -> Line {
        let end = match found.1.end {
            OutageEnd::Recovered => "",
            OutageEnd::Withdrawn => "; then stopped on request",
            OutageEnd::Open if found.0.is_down() => "; still down",
            OutageEnd::Open => "; it is being started",
        };
        Line::from(format!("{}{end}", self.begun(found)))
    }

    fn down(&self, found: &(&Lane, Outage)) -> Line {
        let (lane, outage) = found;
        let is_watched = !self.timeline.is_last_known();
        let text = format!("{}; {}", self.begun(found), why_down(lane, is_watched));
        let no_line = |mark| no_last_line(lane, mark, &self.timeline.details);
        let below = outage.mark.as_ref().and_then(|mark| self.quote(mark).or_else(|| no_line(mark)));
        Line { text, below }
    }

    /// The length of an outage and how it began.
    fn begun(&self, (lane, outage): &(&Lane, Outage)) -> String {
        let begin = match outage.mark {
            Some(mark) => format!("from {}: {}", self.time(outage.from.wall_ns), self.end(&mark)),
            None => "since before this time".to_owned(),
        };
        format!("{}: {} {begin}", name(lane), nanos(outage.nanos()))
    }

    fn unseen(&self, end: &UnobservedEnd) -> Line {
        let (from, to) = (self.time(end.not_before.wall_ns), self.time(end.not_after.wall_ns));
        let how = end.mark.map(|mark| format!(": {}", self.end(&mark))).unwrap_or_default();
        Line::from(format!("{} between {from} and {to}{how}", self.name_of(end.stream)))
    }

    fn request(&self, request: &Request<'_>) -> Line {
        let (at, (who, why)) = (self.time(request.first.at_ns), asked_by(request));
        let (what, names) = (did(request.kind), self.names(request.streams.iter().map(|id| self.name_of(*id))));
        Line::from(format!("{at} {who} {what} {names}{}", bracketed(why.as_deref())))
    }

    fn spenders<'b>(&'b self, spenders: &'b [Spender]) -> impl Iterator<Item = Line> + 'b {
        spenders.iter().map(|one| {
            let spent = agent::spent(one.spent.totals.usage, one.spent.cost_micros());
            let stopped = one.stopped.as_ref().map(|(at, text)| format!("; {} {}", self.time(*at), escape(text)));
            Line::from(format!("{}: {spent}{}", self.name_of(one.id), stopped.unwrap_or_default()))
        })
    }
}

/// The period in words, with the zone and its length.
pub(crate) fn period_words(grid: &Grid, zone: Zone) -> String {
    let (from, to) = (grid.from().wall(), grid.to().wall());
    let begin = zone.formatted(from, "%Y-%m-%d %H:%M:%S");
    format!("{begin} to {} {} ({})", zone.short_time(to, from), zone.name(to), nanos(grid.length_ns()))
}

/// A time of the period to the second, with its day if that is not the day of the end of the period.
pub(crate) fn short_time(wall_ns: i64, grid: &Grid, zone: Zone) -> String {
    zone.short_time(Utc.timestamp_nanos(wall_ns), grid.to().wall())
}

/// Writes the figures in lines of `width` columns at most.
pub(crate) fn write(
    out: &mut dyn Write,
    figures: &[Figure],
    glyphs: Glyphs,
    (layout, width): (Layout, usize),
) -> io::Result<()> {
    let name_width = figures.iter().map(|figure| figure.name.width()).max().unwrap_or(0) + GAP;
    for figure in figures {
        for (number, line) in figure.lines.iter().enumerate() {
            let (name, blank) = (if number == 0 { figure.name } else { "" }, " ".repeat(name_width));
            let padded = format!("{name:name_width$}");
            for text in wrapped(&line.text, (&padded, &blank), Some(width)) {
                let is_named = layout.color && !name.is_empty() && text.starts_with(name);
                match text.strip_prefix(name).filter(|_| is_named) {
                    Some(rest) => writeln!(out, "{}{rest}", Style::Heading.paint(name))?,
                    None => writeln!(out, "{text}")?,
                }
            }
            if let Some(below) = &line.below {
                let quoted = glyphs.cut(below, width.saturating_sub(name_width + QUOTE_INDENT.len()));
                let quoted = if layout.color { Style::Quiet.paint(&quoted) } else { quoted };
                writeln!(out, "{blank}{QUOTE_INDENT}{quoted}")?;
            }
        }
    }
    Ok(())
}
