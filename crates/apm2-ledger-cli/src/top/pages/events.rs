//! The events of an instance, the last one at the end.

use chrono::{DateTime, Utc};

use crate::{
    history::InstanceHistory,
    render::{
        color::Style,
        event::{details, name},
        words,
        zone::Zone,
    },
    steps::Step,
    top::text::{StyledLine, padded, right_aligned},
};

/// The heading of the columns.
const HEADING: &str = "     SEQ  TIME      RUN  EVENT                    DETAILS";

/// The lines.
pub(crate) fn lines(history: &InstanceHistory, zone: Zone, now: DateTime<Utc>) -> Vec<StyledLine> {
    let earlier = history.stream.version.saturating_sub(history.steps.len() as u64);
    let note = (earlier > 0).then(|| {
        let name = history.stream.handle.display_name();
        let text = format!("{} before these: apm2-ledger show {name} --events all", words::counted(earlier, "event"));
        StyledLine::new(&text, Style::Quiet)
    });
    let heading = StyledLine::new(HEADING, Style::Heading);
    note.into_iter().chain([heading]).chain(history.steps.iter().map(|step| line(step, zone, now))).collect()
}

fn line(step: &Step, zone: Zone, now: DateTime<Utc>) -> StyledLine {
    let event = &step.event;
    let seq = right_aligned(&event.seq.to_string(), 8);
    let time = padded(&zone.short_time(event.stamp.wall(), now), 8);
    let name = name(step);
    let style = match step.transition {
        Some((_, "crashed" | "terminated" | "unhealthy")) => Style::Bad,
        Some((_, "running")) => Style::Good,
        Some(_) => Style::Busy,
        None if ["restart_refused", "signal_failed"].contains(&event.kind.name()) => Style::Bad,
        None => Style::Plain,
    };
    let actor = words::actor(&event.actor);
    let details = match (details(event, zone), actor.as_str()) {
        (details, "system") => details,
        (details, actor) if details.is_empty() => format!("by {actor}"),
        (details, actor) => format!("{details}  (by {actor})"),
    };
    StyledLine::new(&format!("{seq}  {time}  {:>3}  ", event.run), Style::Quiet)
        .with(&padded(&name, 23), style)
        .with("  ", Style::Plain)
        .with(&details, Style::Plain)
}
