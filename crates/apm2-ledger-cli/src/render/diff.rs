//! Prints what changed between two moments: a line for each instance, and below it the settings that differ.

use std::io::{self, Write};

use serde_json::Value;

use crate::{
    comparison::{Change, InstanceChange},
    render::{
        color::Style,
        status,
        table::{Cell, Layout, Table},
        words::{NOTHING, counted},
    },
    status::StatusContext,
    view::diff::changed_settings,
};

/// Prints a sentence about the interval, and then the changes.
pub(crate) fn diff(
    out: &mut dyn Write,
    changes: &[InstanceChange<'_>],
    (from, to): (&StatusContext, &StatusContext),
    seqs: (u64, u64),
    layout: Layout,
) -> io::Result<()> {
    let time = |context: &StatusContext, seq| format!("{} (event {seq})", layout.zone.time(context.moment.now));
    let changed = counted(changes.len() as u64, "change");
    writeln!(out, "{changed} from {} to {}", time(from, seqs.0), time(to, seqs.1))?;
    for change in changes {
        let mut table = Table::untitled();
        table.push(line(change, from, to));
        table.write(out, "", layout)?;
        let mut settings = Table::untitled();
        for setting in changed_settings(change) {
            settings.push([
                setting.setting.into(),
                text(&setting.before).into(),
                "->".into(),
                text(&setting.after).into(),
            ]);
        }
        settings.write(out, "    ", layout)?;
    }
    Ok(())
}

fn line(change: &InstanceChange<'_>, from: &StatusContext, to: &StatusContext) -> [Cell; 3] {
    let (sign, style) = match change.change {
        Change::Added => ("+", Style::Good),
        Change::Removed => ("-", Style::Bad),
        Change::Changed => ("~", Style::Plain),
    };
    let words = |context: &StatusContext, stream| status::status(&context.status(stream));
    let after = words(to, change.after);
    let mut text = match change.before.map(|before| words(from, before)) {
        Some(before) if before != after => format!("{before} -> {after}"),
        Some(_) | None => after,
    };
    for (number, noun) in [(change.runs(), "run"), (u64::from(change.restarts()), "restart")] {
        if number > 0 {
            text += &format!(", {}", counted(number, noun));
        }
    }
    [Cell::new(sign).styled(style), Cell::new(change.after.handle.display_name()).styled(style), text.into()]
}

/// A value of a setting as text.
fn text(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        value => value.to_string(),
    }
}
