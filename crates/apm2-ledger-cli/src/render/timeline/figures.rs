//! The figures of a timeline in words: what a person asks first after a bad night.

use std::io::{self, Write};

use apm2_lanes::{
    actions::Action,
    grid::Grid,
    lanes::Lane,
    mark::{Mark, MarkKind},
    outage::{Outage, OutageEnd},
    summary::Summary,
    watch::{Gap, GapCause},
};
use apm2_model::{
    event::{stream_id::StreamId, timestamp::Timestamp},
    state::agent::AgentTotals,
};
use chrono::{TimeZone as _, Utc};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    agents::Spent,
    period_lanes::Timeline,
    render::{
        agent,
        color::Style,
        escape::escape,
        event::rule_words,
        stats::{end_words, nanos},
        table::Layout,
        words::{self, counted},
        wrap::wrapped,
        zone::Zone,
    },
};

/// Most lines of one figure, such as of the times without a daemon.
const LINES_MAX: usize = 5;

/// Nanoseconds between actions that count as asked for at once.
const AT_ONCE_NS: i64 = 2_000_000_000;

/// Most names in one line.
const NAMES_MAX: usize = 4;

/// Columns between the name of a figure and its text.
const GAP: usize = 2;

/// A figure: its name and its lines.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<String>,
}

/// The figures of the period. One without a value is left out.
pub(crate) fn figures(timeline: &Timeline, zone: Zone) -> Vec<Figure> {
    let summary = Summary::new(&timeline.lanes);
    let time = |wall_ns| short_time(wall_ns, &timeline.lanes.grid, zone);
    let name = |lane: &Lane| escape(&lane.handle.display_name()).into_owned();
    let name_of = |id: StreamId| timeline.lanes.lane(id).map_or_else(|| id.process_id.to_string(), name);
    let outage = |(lane, outage): &(&Lane, Outage)| {
        let begin = match outage.mark {
            Some(mark) => format!("from {} ({})", time(outage.from.wall_ns), mark_words(&mark)),
            None => "since before this time".to_owned(),
        };
        let end = match outage.end {
            OutageEnd::Recovered => "",
            OutageEnd::Withdrawn => ", then stopped on request",
            OutageEnd::Open => ", still down",
        };
        format!("{}: {} {begin}{end}", name(lane), nanos(outage.nanos()))
    };
    let death = |(lane, mark): (&Lane, Mark)| format!("{} at {}: {}", name(lane), time(mark.at_ns), mark_words(&mark));
    let refusals = timeline.lanes.refusals.first.iter().map(|refusal| {
        format!("{} at {}: {}", name_of(refusal.stream), time(refusal.at_ns), rule_words(&refusal.rule))
    });
    let actions = grouped(&timeline.lanes.actions.first);
    let unlisted = timeline.lanes.actions.count.saturating_sub(timeline.lanes.actions.first.len() as u64);
    let action_count = unlisted.saturating_add(actions.len() as u64);
    // The latest is the first.
    let actions = actions.iter().rev().filter_map(|group| {
        let action = group.last()?;
        let reason = action.reason.as_ref().map(|reason| format!(" ({})", escape(reason))).unwrap_or_default();
        let who = words::actor(&action.actor);
        let names: Vec<String> = group.iter().take(NAMES_MAX).map(|action| name_of(action.stream)).collect();
        let more = match group.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (what, names) = (action_words(action.kind), names.join(", "));
        Some(format!("{} {who} {what} {names}{more}{reason}", time(action.at_ns)))
    });
    let unseen = timeline.lanes.unobserved.first.iter().map(|end| {
        let (from, to) = (time(end.not_before.wall_ns), time(end.not_after.wall_ns));
        let how = end.mark.map(|mark| format!(": {}", mark_words(&mark))).unwrap_or_default();
        format!("{} between {from} and {to}{how}", name_of(end.stream))
    });
    let down = summary.down.iter().map(outage);
    let restarts = |(lane, restarts): (&Lane, u64)| format!("{}: {}", name(lane), counted(restarts, "restart"));
    [
        ("first to fail", listed(summary.first_death.map(death), 1)),
        ("most restarts", listed(summary.most_restarts.map(restarts), 1)),
        ("longest outage", listed(summary.longest_outage.as_ref().map(outage), 1)),
        ("slowest recovery", listed(summary.slowest_recovery.as_ref().map(outage), 1)),
        ("still down", listed(down, summary.down.len() as u64)),
        ("gave up", listed(refusals, timeline.lanes.refusals.count)),
        ("spent most", listed(spent_most(timeline).map(|(id, text)| format!("{}: {text}", name_of(id))), 1)),
        ("no daemon", listed(gaps(timeline, zone), timeline.watch.count)),
        ("ended unseen", listed(unseen, timeline.lanes.unobserved.count)),
        ("by people", listed(actions, action_count)),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(name, lines)| Figure { name, lines })
    .collect()
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

/// The actions that are one line each: those of the same kind that an operator asked for at once, for example by `up`.
fn grouped(actions: &[Action]) -> Vec<Vec<&Action>> {
    let is_at_once = |one: &Action, other: &Action| {
        let is_near = other.at_ns.saturating_sub(one.at_ns) <= AT_ONCE_NS;
        is_near && (&one.actor, &one.reason) == (&other.actor, &other.reason)
    };
    let mut groups: Vec<Vec<&Action>> = Vec::new();
    for part in actions.chunk_by(is_at_once) {
        let before = groups.len();
        for action in part {
            let of_part = groups.get_mut(before..).into_iter().flatten();
            let same = of_part.into_iter().find(|group| group.first().is_some_and(|first| first.kind == action.kind));
            match same {
                Some(group) => group.push(action),
                None => groups.push(vec![action]),
            }
        }
    }
    groups
}

/// The first lines, and how many of `count` are not among them.
fn listed(lines: impl IntoIterator<Item = String>, count: u64) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().take(LINES_MAX).collect();
    let more = count.saturating_sub(lines.len() as u64);
    if more > 0 && !lines.is_empty() {
        lines.push(format!("and {} more", words::count(more)));
    }
    lines
}

/// The times without a daemon, the longest first.
fn gaps(timeline: &Timeline, zone: Zone) -> Vec<String> {
    let mut gaps: Vec<&Gap> = timeline.watch.gaps.iter().collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.nanos()));
    let text = |gap: &Gap| {
        let cause = match gap.cause {
            GapCause::Stopped => "it was ended in order",
            GapCause::Died => "it died",
        };
        let time = |stamp: Timestamp| short_time(stamp.wall_ns, &timeline.lanes.grid, zone);
        let to = if gap.is_open { "the end".to_owned() } else { time(gap.to) };
        format!("{} from {} to {to}: {cause}", nanos(gap.nanos()), time(gap.from))
    };
    gaps.into_iter().map(text).collect()
}

/// The agent with the greatest cost, or with the most tokens if none has a cost.
fn spent_most(timeline: &Timeline) -> Option<(StreamId, String)> {
    let tokens = |totals: &AgentTotals| totals.usage.input.saturating_add(totals.usage.output);
    let order = |spent: &Spent| (spent.cost_micros().unwrap_or(0), tokens(&spent.totals));
    let (id, spent) = timeline.spent.iter().max_by_key(|(_, spent)| order(spent))?;
    (order(spent) > (0, 0)).then(|| (*id, agent::spent(spent.totals.usage, spent.cost_micros())))
}

/// What happened at a mark, in words.
pub(crate) fn mark_words(mark: &Mark) -> String {
    match &mark.kind {
        MarkKind::Success => "succeeded".to_owned(),
        MarkKind::Start => "started".to_owned(),
        MarkKind::Restart => "restarted".to_owned(),
        MarkKind::StopRequest { .. } => "stop requested".to_owned(),
        MarkKind::Unhealthy { failures } => {
            format!("unhealthy after {}", counted(u64::from(*failures), "failed check"))
        }
        MarkKind::Refusal(rule) => format!("gave up: {}", rule_words(rule)),
        MarkKind::Stop(cause) => format!("stopped, {}", end_words(*cause)),
        MarkKind::Kill(cause) => format!("killed after its stop timeout, {}", end_words(*cause)),
        MarkKind::FailedStart(cause) | MarkKind::Crash(cause) => end_words(*cause),
    }
}

/// What an operator did, in words.
fn action_words(kind: &str) -> &'static str {
    match kind {
        "registered" => "added",
        "spec_changed" => "changed",
        "unregistered" => "removed",
        "start_requested" => "started",
        _ => "stopped",
    }
}

/// Writes the figures in lines of `width` columns at most.
pub(crate) fn write(out: &mut dyn Write, figures: &[Figure], (layout, width): (Layout, usize)) -> io::Result<()> {
    let name_width = figures.iter().map(|figure| figure.name.width()).max().unwrap_or(0) + GAP;
    for figure in figures {
        for (number, line) in figure.lines.iter().enumerate() {
            let (name, blank) = (if number == 0 { figure.name } else { "" }, " ".repeat(name_width));
            let padded = format!("{name:name_width$}");
            for text in wrapped(line, (&padded, &blank), Some(width)) {
                let is_named = layout.color && !name.is_empty() && text.starts_with(name);
                match text.strip_prefix(name).filter(|_| is_named) {
                    Some(rest) => writeln!(out, "{}{rest}", Style::Heading.paint(name))?,
                    None => writeln!(out, "{text}")?,
                }
            }
        }
    }
    Ok(())
}
