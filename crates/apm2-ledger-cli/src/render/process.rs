//! Human-readable output for processes: a table of all processes, and a page about one process.

use std::{
    io::{self, Write},
    time::Duration,
};

use apm2_model::{
    event::{exit::RunEnd, timestamp::Timestamp},
    spec::{
        ProcessSpec,
        config::restart::{BackoffConfig, RestartPolicy},
    },
    state::agent::AgentState,
};

use chrono::{DateTime, Utc};

use crate::{
    history::{InstanceHistory, LastOutput, Run},
    render::{
        self,
        color::Style,
        escape::escape,
        event, status,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table, cut,
        },
        words::{self, NOTHING, counted, trigger},
        zone::Zone,
    },
    status::InstanceStatus,
};

/// Number of characters of an id that a list shows. Commands accept any unique prefix of an id.
pub(crate) const ID_PREFIX_CHARS: usize = 8;

/// Minimum terminal width, in columns, at which a list shows start times. On a narrower terminal, only the uptime is
/// shown.
const WIDE_COLUMNS_MIN: usize = 120;

/// The table of a list of instances. A row takes much less memory than the state that it is made of.
pub(crate) struct ListTable {
    columns: ListColumns,
    layout: Layout,
}

enum ListColumns {
    Wide(Table<8>),
    /// Without the start times.
    Narrow(Table<7>),
}

impl ListTable {
    /// An empty list for a terminal, or another output, with this layout.
    pub(crate) fn new(layout: Layout) -> Self {
        let columns = [("NAME", Left), ("ID", Left), ("STATE", Left), ("PID", Right), ("RESTARTS", Right)];
        let [name, id, state, pid, restarts] = columns;
        let (started, uptime, command) = (("STARTED", Left), ("UPTIME", Right), ("COMMAND", Left));
        let is_narrow = layout.width_columns.is_some_and(|width| width < WIDE_COLUMNS_MIN);
        let columns = if is_narrow {
            ListColumns::Narrow(Table::new([name, id, state, pid, restarts, uptime, command]))
        } else {
            ListColumns::Wide(Table::new([name, id, state, pid, restarts, started, uptime, command]))
        };
        Self { columns, layout }
    }

    /// Adds the row of an instance.
    pub(crate) fn push(&mut self, status: &InstanceStatus<'_>) {
        let row = row(status, self.layout.zone);
        match &mut self.columns {
            ListColumns::Wide(table) => table.push(row),
            ListColumns::Narrow(table) => {
                let [name, id, state, pid, restarts, _, uptime, command] = row;
                table.push([name, id, state, pid, restarts, uptime, command]);
            }
        }
    }

    /// Prints these rows, counted from 0 in the order in which they were added, in this order.
    pub(crate) fn write(&self, rows: &[usize], out: &mut dyn Write) -> io::Result<()> {
        match &self.columns {
            _ if rows.is_empty() => Ok(()),
            ListColumns::Wide(table) => table.write_some(rows, out, self.layout),
            ListColumns::Narrow(table) => table.write_some(rows, out, self.layout),
        }
    }
}

/// Prints all instances with their states.
pub(crate) fn list(out: &mut dyn Write, statuses: &[InstanceStatus<'_>], layout: Layout) -> io::Result<()> {
    let mut table = ListTable::new(layout);
    statuses.iter().for_each(|status| table.push(status));
    table.write(&(0..statuses.len()).collect::<Vec<_>>(), out)
}

fn row(status: &InstanceStatus<'_>, zone: Zone) -> [Cell; 8] {
    let handle = &status.stream.handle;
    let id = status.stream.id.process_id.to_string();
    [
        handle.display_name().into(),
        id.get(..ID_PREFIX_CHARS).unwrap_or(&id).into(),
        Cell::new(status::status(status, zone)).styled(Style::of(status)),
        status.pid().map_or_else(|| NOTHING.to_owned(), |pid| pid.to_string()).into(),
        handle.restart_count.to_string().into(),
        zone.time_or_nothing(handle.started_at).into(),
        uptime(status).into(),
        words::command_line(&handle.spec.command, &handle.spec.args).into(),
    ]
}

fn uptime(status: &InstanceStatus<'_>) -> String {
    let seconds = status.uptime_secs().and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or_else(|| NOTHING.to_owned(), |seconds| words::duration(Duration::from_secs(seconds)))
}

/// Prints one process: its current facts, its last runs, and its last events.
pub(crate) fn show(
    out: &mut dyn Write,
    history: &InstanceHistory,
    status: &InstanceStatus<'_>,
    layout: Layout,
) -> io::Result<()> {
    facts(status, layout.zone).write(out, "", layout)?;
    let InstanceHistory { stream, steps, runs: last, .. } = history;
    if !last.is_empty() {
        let more = match stream.run.saturating_sub(last.len() as u64) {
            0 => String::new(),
            earlier => format!(" (after {earlier} more, see --runs all)"),
        };
        heading(out, &format!("Runs{more}"), layout)?;
        runs(last, layout.zone).write(out, "  ", layout)?;
    }
    last_output(out, history, layout)?;
    if !steps.is_empty() {
        let more = match stream.version.saturating_sub(steps.len() as u64) {
            0 => String::new(),
            earlier => format!(" (after {} more, see --events all)", words::count(earlier)),
        };
        heading(out, &format!("Events{more}"), layout)?;
        event::table(steps, layout.zone).write(out, "  ", layout)?;
    }
    Ok(())
}

/// Prints the last lines of the latest failed run, which often contain the cause of the failure.
fn last_output(out: &mut dyn Write, history: &InstanceHistory, layout: Layout) -> io::Result<()> {
    let Some(LastOutput { run: number, stdout, stderr }) = &history.last_output else { return Ok(()) };
    for (name, lines) in [("stdout", stdout), ("stderr", stderr)] {
        if lines.is_empty() {
            continue;
        }
        heading(out, &format!("Last lines of run {number}, {name}"), layout)?;
        for line in lines {
            let line = format!("  {}", escape(line));
            writeln!(out, "{}", cut(&line, layout.width_columns.unwrap_or(usize::MAX)))?;
        }
    }
    Ok(())
}

fn heading(out: &mut dyn Write, text: &str, layout: Layout) -> io::Result<()> {
    let text = cut(text, layout.width_columns.unwrap_or(usize::MAX));
    let style = if layout.color { Style::Heading } else { Style::Plain };
    writeln!(out, "\n{}", style.paint(&text))
}

/// Prints the current facts of a process, one fact per line.
fn facts(status: &InstanceStatus<'_>, zone: Zone) -> Table<2> {
    let stream = status.stream;
    let handle = &stream.handle;
    let spec = &handle.spec;
    let mut table = Table::untitled();
    let mut fact = |name: &str, value: Cell| table.push([Cell::new(name).styled(Style::Heading), value]);
    fact("name", handle.display_name().into());
    fact("id", stream.id.process_id.to_string().into());
    fact("state", Cell::new(status::status(status, zone)).styled(Style::of(status)));
    if let Some(pid) = status.pid() {
        fact("pid", pid.to_string().into());
        fact("uptime", uptime(status).into());
    }
    fact("started", zone.time_or_nothing(handle.started_at).into());
    fact("restarts", handle.restart_count.to_string().into());
    if handle.last_restart.is_some() {
        fact("last restart", zone.time_or_nothing(handle.last_restart).into());
    }
    if let (Some(cpu), Some(memory)) = status.usage() {
        fact("use", format!("{cpu:.1}% cpu, {} bytes", words::count(memory)).into());
    }
    fact("command", words::command_line(&spec.command, &spec.args).into());
    if let Some(cwd) = &spec.cwd {
        fact("directory", cwd.to_string_lossy().into());
    }
    if !spec.env.is_empty() {
        fact("environment", variables(spec).into());
    }
    fact("policy", policy(spec).into());
    if let Some(agent) = &stream.agent {
        for (name, value) in agent_facts(agent, status.now) {
            fact(name, value.into());
        }
    }
    table
}

/// The facts about an agent: its session, what it does, and what it has used in all runs.
fn agent_facts(agent: &AgentState, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(session) = &agent.session {
        let model = session.model.as_ref().map(|model| format!(", model {model}")).unwrap_or_default();
        facts.push(("session", format!("{} of {}{model}", session.id, agent.kind)));
    }
    let ago = (now - agent.reported_at.wall()).to_std().unwrap_or_default();
    let ago = words::duration(Duration::from_secs(ago.as_secs()));
    let doing = render::agent::doing(agent);
    facts.push(("agent", format!("{doing}; last report {ago} ago")));
    let all = agent.all;
    let (turns, tools) = (counted(u64::from(all.turns), "turn"), counted(u64::from(all.tool_calls), "tool call"));
    let spent = render::agent::spent(all.usage, Some(all.cost_micros).filter(|cost| *cost > 0));
    facts.push(("used", format!("{turns}, {tools}, {spent}")));
    facts
}

/// The names of the environment variables. Their values are not recorded.
fn variables(spec: &ProcessSpec) -> String {
    let mut names: Vec<_> = spec.env.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

fn policy(spec: &ProcessSpec) -> String {
    let restart = &spec.restart;
    let limits = || {
        let window = words::duration(restart.restart_window);
        format!("{}, at most {} in {window}", backoff(&restart.backoff), restart.max_restarts)
    };
    let restarts = match restart.policy {
        RestartPolicy::Never => "never restarted".to_owned(),
        RestartPolicy::OnFailure => format!("restarted on failure {}", limits()),
        RestartPolicy::Always => format!("always restarted {}", limits()),
    };
    let shutdown = &spec.shutdown;
    format!("{restarts}; stopped with {}, {} until SIGKILL", shutdown.signal, words::duration(shutdown.timeout))
}

fn backoff(backoff: &BackoffConfig) -> String {
    let text = |time: &Duration| words::duration(*time);
    match backoff {
        BackoffConfig::Fixed { delay } => format!("after {}", text(delay)),
        BackoffConfig::Linear { initial, step, max } => {
            format!("after {}, {} more each time up to {}", text(initial), text(step), text(max))
        }
        BackoffConfig::Exponential { initial, factor, max } => {
            format!("after {}, {factor} times longer each time up to {}", text(initial), text(max))
        }
    }
}

fn runs(runs: &[Run], zone: Zone) -> Table<7> {
    let mut table = Table::new([
        ("RUN", Right),
        ("WHY", Left),
        ("PID", Right),
        ("STARTED", Left),
        ("ENDED", Left),
        ("DURATION", Right),
        ("END", Left),
    ]);
    for run in runs {
        table.push([
            run.number.to_string().into(),
            trigger(run.trigger).into(),
            run.pid.map_or_else(|| NOTHING.to_owned(), |pid| pid.to_string()).into(),
            zone.time_or_nothing(run.started.map(|stamp| stamp.wall())).into(),
            ended(run, zone).into(),
            run.duration().map_or_else(|| NOTHING.to_owned(), words::duration).into(),
            run.end.as_ref().map_or_else(Cell::default, |how| end(how, run, zone)),
        ]);
    }
    table
}

/// When a run ended; `None` when a supervisor did not observe the exit.
fn ended(run: &Run, zone: Zone) -> String {
    zone.time_or_nothing(run.ended.filter(|_| run.unobserved.is_none()).map(|stamp| stamp.wall()))
}

/// How a run ended. If the exit was not observed, the text contains the time at which it was found, and the earliest
/// and latest time of the exit.
fn end(end: &RunEnd, run: &Run, zone: Zone) -> Cell {
    let well = matches!(end, RunEnd::Exit(exit) if exit.is_success());
    let time = |stamp: Timestamp| zone.time(stamp.wall());
    let text = match (run.unobserved, run.ended) {
        (Some((not_before, not_after)), Some(found)) => {
            let (not_before, not_after) = (time(not_before), time(not_after));
            format!("{end}; found at {}, ended between {not_before} and {not_after}", time(found))
        }
        _ => end.to_string(),
    };
    Cell::new(text).styled(if well { Style::Plain } else { Style::Bad })
}
