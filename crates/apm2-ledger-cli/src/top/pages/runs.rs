//! An instance in short, its runs, the last one first, and the last lines of its latest failed run.

use apm2_model::event::exit::RunEnd;
use chrono::{DateTime, Utc};

use crate::{
    history::{InstanceHistory, LastOutput, Run},
    render::{
        color::Style,
        process::ID_PREFIX_CHARS,
        words::{self, NOTHING, trigger},
        zone::Zone,
    },
    status::InstanceStatus,
    top::text::{StyledLine, padded, right_aligned},
};

/// The heading of the columns.
const HEADING: &str = " RUN  WHY         STARTED              LASTED      END";

/// The lines.
pub(crate) fn lines(history: &InstanceHistory, status: &InstanceStatus<'_>, zone: Zone) -> Vec<StyledLine> {
    let now = status.now;
    let mut lines = facts(status);
    if let Some(agent) = &history.stream.agent {
        let ago = (now - agent.reported_at.wall()).to_std().unwrap_or_default();
        let ago = words::duration(std::time::Duration::from_secs(ago.as_secs()));
        let spent = crate::render::agent::spent(agent.all.usage, Some(agent.all.cost_micros).filter(|cost| *cost > 0));
        let turns = words::counted(u64::from(agent.all.turns), "turn");
        let doing = crate::render::agent::doing(agent);
        lines.push(fact("agent", &format!("{} {doing}; last report {ago} ago; {turns}, {spent}", agent.kind.name())));
    }
    lines.push(StyledLine::new(HEADING, Style::Heading));
    lines.extend(history.runs.iter().rev().map(|run| line(run, zone, now)));
    let earlier = history.stream.run.saturating_sub(history.runs.len() as u64);
    if earlier > 0 {
        let text = format!("     and {} before these", words::counted(earlier, "run"));
        lines.push(StyledLine::new(&text, Style::Quiet));
    }
    lines.extend(history.last_output.iter().flat_map(last_output));
    lines
}

fn facts(status: &InstanceStatus<'_>) -> Vec<StyledLine> {
    let spec = &status.stream.handle.spec;
    let pid = status.pid().map(|pid| format!("pid {pid}, ")).unwrap_or_default();
    let id = status.stream.id.process_id.to_string();
    let id = id.get(..ID_PREFIX_CHARS).unwrap_or(&id);
    let run = words::counted(status.stream.run, "run");
    vec![
        fact("command", &words::command_line(&spec.command, &spec.args)),
        fact("process", &format!("{pid}{run}, {}, id {id}", restarts(status))),
    ]
}

fn restarts(status: &InstanceStatus<'_>) -> String {
    let config = &status.stream.handle.spec.restart;
    let by_policy = words::counted(u64::from(status.stream.handle.restart_count), "restart");
    match config.policy {
        apm2_model::spec::config::restart::RestartPolicy::Never => "never restarted".to_owned(),
        _ => {
            let window = words::duration(config.restart_window);
            format!("{by_policy} by policy (at most {} in {window})", config.max_restarts)
        }
    }
}

fn fact(name: &str, value: &str) -> StyledLine {
    StyledLine::new(&padded(name, 9), Style::Heading).with(value, Style::Plain)
}

fn line(run: &Run, zone: Zone, now: DateTime<Utc>) -> StyledLine {
    let started = run.started.map_or_else(|| NOTHING.to_owned(), |started| zone.short_time(started.wall(), now));
    let lasted = run.duration().map_or_else(|| NOTHING.to_owned(), words::duration);
    let (end, style) = match &run.end {
        None => ("runs".to_owned(), Style::Good),
        Some(end) => (end_words(end, run, zone, now), end_style(end)),
    };
    let number = right_aligned(&run.number.to_string(), 4);
    let (why, started) = (padded(&trigger(run.trigger), 10), padded(&started, 19));
    StyledLine::new(&format!("{number}  {why}  {started}  {}  ", padded(&lasted, 10)), Style::Plain).with(&end, style)
}

fn end_style(end: &RunEnd) -> Style {
    if matches!(end, RunEnd::Exit(exit) if exit.is_success()) { Style::Quiet } else { Style::Bad }
}

fn end_words(end: &RunEnd, run: &Run, zone: Zone, now: DateTime<Utc>) -> String {
    match run.ended {
        None => end.to_string(),
        Some(ended) if run.unobserved.is_some() => {
            format!("{end}, found at {}", zone.short_time(ended.wall(), now))
        }
        Some(ended) => format!("{end} at {}", zone.short_time(ended.wall(), now)),
    }
}

fn last_output(output: &LastOutput) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    for (name, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if text.is_empty() {
            continue;
        }
        lines.push(StyledLine::new(&format!("Last lines of run {}, {name}", output.run), Style::Heading));
        lines.extend(text.iter().map(|line| StyledLine::new(&format!("  {line}"), Style::Plain)));
    }
    lines
}
