//! Prints the sessions of agents.

use std::io::{self, Write};

use apm2_model::{event::agent::outcome::AgentOutcome, state::agent::AgentEnd};

use crate::{
    agents::sessions::{SessionRecord, Sessions},
    render::{
        agent,
        color::Style,
        escape::escape,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table,
        },
        words::{self, NOTHING},
    },
};

/// Prints a row for each session, and below the row how to go on with it. That line is not truncated, so that it can be copied.
pub(crate) fn table(out: &mut dyn Write, sessions: &Sessions, layout: Layout) -> io::Result<()> {
    let mut table = Table::new([
        ("NAME", Left),
        ("AGENT", Left),
        ("MODEL", Left),
        ("LAST SEEN", Left),
        ("RUNS", Right),
        ("TURNS", Right),
        ("INPUT", Right),
        ("OUTPUT", Right),
        ("COST", Right),
        ("OUTCOME", Left),
        ("FIRST SEEN", Left),
    ]);
    let mut resumes = Vec::new();
    for session in &sessions.all {
        let Some(stream) = sessions.agents.get(&session.stream) else { continue };
        let totals = session.spent.totals;
        table.push([
            stream.handle.display_name().into(),
            session.kind.name().into(),
            session.model.as_ref().map_or(NOTHING, |model| model.as_str()).into(),
            layout.zone.time(session.last_seen.wall()).into(),
            words::count(session.runs).into(),
            words::count(totals.turns.into()).into(),
            words::count(totals.usage.input).into(),
            words::count(totals.usage.output).into(),
            session.spent.cost_micros().map_or_else(|| NOTHING.to_owned(), agent::cost).into(),
            outcome(session.end),
            layout.zone.time(session.first_seen.wall()).into(),
        ]);
        resumes.push(resume(session));
    }
    let mut rows = Vec::new();
    table.write(&mut rows, "", layout)?;
    let rows = String::from_utf8_lossy(&rows);
    // The heading has no line below it.
    let below = std::iter::once(None).chain(resumes.iter().map(Some));
    for (row, below) in rows.lines().zip(below) {
        writeln!(out, "{row}")?;
        if let Some(resume) = below {
            writeln!(out, "  {resume}")?;
        }
    }
    Ok(())
}

fn outcome(end: Option<AgentEnd>) -> Cell {
    let Some(end) = end else { return Cell::new(NOTHING) };
    let text = end.class.map_or_else(|| end.outcome.name().to_owned(), |class| class.name().to_owned());
    let style = if end.outcome == AgentOutcome::Failure { Style::Bad } else { Style::Plain };
    Cell::new(text).styled(style)
}

/// The command as it can be typed in a shell; only the identifier where the command is not known.
fn resume(session: &SessionRecord) -> String {
    let words = session.resume().unwrap_or_default();
    match words.split_first() {
        Some((command, args)) => {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            words::command_line(command, &args)
        }
        None => format!("session {}", escape(session.id.as_str())),
    }
}
