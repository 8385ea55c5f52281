//! The figures of a timeline in words: what a person asks first after a bad night.

use std::io::{self, Write};

use apm2_lanes::{
    actions::UnobservedEnd,
    grid::Grid,
    lanes::{Lane, Lanes},
    mark::Mark,
    outage::{Outage, OutageEnd},
    requests::{Request, requests},
    summary::Summary,
    watch::{Gap, GapCause},
};
use apm2_model::event::{stream_id::StreamId, timestamp::Timestamp};
use chrono::{TimeZone as _, Utc};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    period_lanes::Timeline,
    render::{
        agent,
        color::Style,
        ends::{end_with_cause, last_line, why_down},
        escape::escape,
        event::rule_words,
        requests::{done, names, reason},
        stats::nanos,
        table::Layout,
        timeline::glyph::Glyphs,
        words::{self, counted},
        wrap::wrapped,
        zone::Zone,
    },
};

/// Most lines of one figure, such as of the times without a daemon.
const LINES_MAX: usize = 5;

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
    /// The last line that the process wrote, if it is of interest.
    pub(crate) last_line: Option<String>,
}

impl Line {
    /// The last line that the process wrote, with what it is.
    pub(crate) fn quoted(&self) -> Option<String> {
        self.last_line.as_ref().map(|line| format!("last line: {line}"))
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self { text, last_line: None }
    }
}

/// The figures of the period. One without a value is left out.
pub(crate) fn figures(timeline: &Timeline, zone: Zone) -> Vec<Figure> {
    let words = Words { timeline, zone };
    let lanes = &timeline.lanes;
    let summary = Summary::new(lanes);
    let refusals = lanes.refusals.first.iter().map(|refusal| {
        let rule = escape(&rule_words(&refusal.rule)).into_owned();
        Line::from(format!("{} at {}: {rule}", words.name_of(refusal.stream), words.time(refusal.at_ns)))
    });
    let requests = requests(&lanes.actions.first);
    let unlisted = lanes.actions.count.saturating_sub(lanes.actions.first.len() as u64);
    let request_count = unlisted.saturating_add(requests.len() as u64);
    let down = summary.down.iter().map(|found| words.down(found));
    [
        ("summary", listed([Line::from(counts(&summary, lanes))], 1)),
        ("first to fail", listed(summary.first_death.map(|(lane, mark)| words.death(lane, &mark)), 1)),
        ("most restarts", listed(most_restarts(&summary).map(Line::from), 1)),
        ("longest outage", listed(summary.longest_outage.as_ref().map(|found| words.outage(found)), 1)),
        ("slowest recovery", listed(summary.slowest_recovery.as_ref().map(|found| words.outage(found)), 1)),
        ("still down", listed(down, summary.down.len() as u64)),
        ("gave up", listed(refusals, lanes.refusals.count)),
        ("spent most", listed(words.spent_most(), 1)),
        ("no daemon", listed(gaps(timeline, zone), timeline.watch.count)),
        ("ended unseen", listed(lanes.unobserved.first.iter().map(|end| words.unseen(end)), lanes.unobserved.count)),
        // The latest is the first.
        ("by people", listed(requests.iter().rev().map(|request| words.request(request)), request_count)),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(name, lines)| Figure { name, lines })
    .collect()
}

/// How many processes there were, and how they are at the end of the period.
pub(crate) fn counts(summary: &Summary<'_>, lanes: &Lanes) -> String {
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
    format!(
        "{}: {} alive, {down}, {} ended{removed}; {}, {}",
        counted(all, "process"),
        words::count(summary.alive),
        words::count(summary.ended),
        counted(summary.crashes, "failure"),
        counted(summary.restarts, "restart"),
    )
}

/// The processes with the most restarts; `None` without any restart. It is escaped.
fn most_restarts(summary: &Summary<'_>) -> Option<String> {
    let most = &summary.most_restarts;
    let restarts = counted(most.first()?.runs.restarts, "restart");
    let each = if most.len() > 1 { " each" } else { "" };
    Some(format!("{}: {restarts}{each}", names(most.iter().map(|lane| name(lane)))))
}

/// The name of a process, escaped.
fn name(lane: &Lane) -> String {
    escape(&lane.handle.display_name()).into_owned()
}

/// The figures of processes in words.
struct Words<'a> {
    timeline: &'a Timeline,
    zone: Zone,
}

impl Words<'_> {
    fn time(&self, wall_ns: i64) -> String {
        short_time(wall_ns, &self.timeline.lanes.grid, self.zone)
    }

    fn name_of(&self, id: StreamId) -> String {
        self.timeline.lanes.lane(id).map_or_else(|| id.process_id.to_string(), name)
    }

    /// How a run ended, with its cause.
    fn end(&self, mark: &Mark) -> String {
        end_with_cause(mark, &self.timeline.details)
    }

    fn quote(&self, mark: Option<&Mark>) -> Option<String> {
        last_line(mark?, &self.timeline.details)
    }

    fn death(&self, lane: &Lane, mark: &Mark) -> Line {
        let text = format!("{} at {}: {}", name(lane), self.time(mark.at_ns), self.end(mark));
        Line { text, last_line: self.quote(Some(mark)) }
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
        let text = format!("{}; {}", self.begun(found), why_down(lane));
        Line { text, last_line: self.quote(outage.mark.as_ref()) }
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
        let (at, who) = (self.time(request.first.at_ns), words::actor(&request.first.actor));
        let (what, names) = (done(request.kind), names(request.streams.iter().map(|id| self.name_of(*id))));
        Line::from(format!("{at} {who} {what} {names}{}", reason(request)))
    }

    fn spent_most(&self) -> Option<Line> {
        let most = self.timeline.most_spent()?;
        let spent = agent::spent(most.spent.totals.usage, most.spent.cost_micros());
        let stopped = most.stopped.map(|(at_ns, text)| format!("; {} {}", self.time(at_ns), escape(&text)));
        Some(Line::from(format!("{}: {spent}{}", self.name_of(most.id), stopped.unwrap_or_default())))
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

/// The first lines, and how many of `count` are not among them.
fn listed(lines: impl IntoIterator<Item = Line>, count: u64) -> Vec<Line> {
    let mut lines: Vec<Line> = lines.into_iter().take(LINES_MAX).collect();
    let more = count.saturating_sub(lines.len() as u64);
    if more > 0 && !lines.is_empty() {
        lines.push(Line::from(format!("and {} more", words::count(more))));
    }
    lines
}

/// The times without a daemon, the longest first.
fn gaps(timeline: &Timeline, zone: Zone) -> Vec<Line> {
    let mut gaps: Vec<&Gap> = timeline.watch.gaps.iter().collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.nanos()));
    let text = |gap: &Gap| {
        let cause = match gap.cause {
            GapCause::Stopped => "it was ended in order",
            GapCause::Died => "it died",
        };
        let time = |stamp: Timestamp| short_time(stamp.wall_ns, &timeline.lanes.grid, zone);
        let to = if gap.is_open { "the end".to_owned() } else { time(gap.to) };
        Line::from(format!("{} from {} to {to}: {cause}", nanos(gap.nanos()), time(gap.from)))
    };
    gaps.into_iter().map(text).collect()
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
            if let Some(quoted) = line.quoted() {
                let quoted = glyphs.cut(&quoted, width.saturating_sub(name_width + QUOTE_INDENT.len()));
                let quoted = if layout.color { Style::Quiet.paint(&quoted) } else { quoted };
                writeln!(out, "{blank}{QUOTE_INDENT}{quoted}")?;
            }
        }
    }
    Ok(())
}
