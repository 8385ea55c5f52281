//! Prints what changed between two moments: a line for each instance, and below it the settings that differ.

use std::io::{self, Write};

use apm2_model::state::stream::FollowUp;
use serde_json::Value;

use crate::{
    comparison::{Change, InstanceChange},
    moment::Moment,
    render::{
        color::Style,
        status,
        table::{Cell, Layout, Table},
        words::{NOTHING, counted, duration},
        zone::Zone,
    },
    status::{Restart, StatusContext},
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
        table.push(line(change, from, to, layout.zone));
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
        if let Some((before, after)) = change.follow_ups() {
            let follow_up = |follow_up, context: &StatusContext| follow_up_words(follow_up, &context.moment);
            settings.push([
                "follow-up".into(),
                follow_up(before, from).into(),
                "->".into(),
                follow_up(after, to).into(),
            ]);
        }
        settings.write(out, "    ", layout)?;
    }
    Ok(())
}

fn line(change: &InstanceChange<'_>, from: &StatusContext, to: &StatusContext, zone: Zone) -> [Cell; 3] {
    let (sign, style) = match change.change {
        Change::Added => ("+", Style::Good),
        Change::Removed => ("-", Style::Bad),
        Change::Changed => ("~", Style::Plain),
    };
    let words = |context: &StatusContext, stream| status::status(&context.status(stream), zone);
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

/// What remains to be done after a run.
fn follow_up_words(follow_up: FollowUp, moment: &Moment) -> String {
    match (follow_up, Restart::of(follow_up, moment)) {
        (FollowUp::Restart { attempt, .. }, Some(restart)) if restart.left.is_zero() => {
            format!("restart {attempt} is due")
        }
        (FollowUp::Restart { attempt, .. }, Some(restart)) => {
            format!("restart {attempt} in {}", duration(restart.left))
        }
        (FollowUp::Undecided { .. }, _) => "not decided yet".to_owned(),
        (FollowUp::Nothing | FollowUp::Restart { .. }, _) => NOTHING.to_owned(),
    }
}

/// A value of a setting as text.
fn text(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        value => value.to_string(),
    }
}
