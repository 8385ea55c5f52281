//! The summary of a document: what a person asks after a bad night.

use std::{collections::BTreeMap, time::Duration};

use apm2_lanes::{
    actions::Action,
    lanes::{Lane, Lanes},
    outage::Outage,
    summary::Summary,
    watch::{Gap, GapCause, Watch},
};
use apm2_model::event::stream_id::StreamId;
use apm2_page::document::{Fact, tone::Tone};

use crate::{
    agents::Spent,
    render::{
        agent::cost,
        escape::escape,
        words::{self, count, counted, duration},
    },
    report::{key, lists::what, millis, process::details},
};

/// Largest number of names in an answer.
const NAMES_MAX: usize = 6;

/// The summary. It has an answer to each question, also if the answer is that there was nothing.
pub(crate) fn facts(
    summary: &Summary<'_>,
    lanes: &Lanes,
    watch: &Watch,
    spent: &BTreeMap<StreamId, Spent>,
) -> Vec<Fact> {
    vec![
        down(summary),
        first_death(summary),
        most_restarts(summary),
        unwatched(watch),
        outage("What was the longest outage?", summary.longest_outage.as_ref()),
        outage("What recovered most slowly?", summary.slowest_recovery.as_ref()),
        refusals(lanes),
        most_spent(lanes, spent),
        requests(lanes),
        whole(summary, lanes),
    ]
}

fn fact(question: &'static str, answer: impl Into<String>, tone: Tone) -> Fact {
    let answer = escape(&answer.into()).into_owned();
    Fact { question, answer, at_ms: None, until_ms: None, process: None, tone }
}

/// The fact of one lane.
fn of_lane(question: &'static str, answer: impl Into<String>, tone: Tone, lane: &Lane) -> Fact {
    Fact { process: Some(key(lane.id)), ..fact(question, answer, tone) }
}

fn length(nanos: u64) -> String {
    duration(Duration::from_nanos(nanos))
}

fn down(summary: &Summary<'_>) -> Fact {
    let question = "What is down now?";
    let names = summary.down.iter().take(NAMES_MAX).map(|(lane, _)| lane.handle.display_name());
    let names = names.collect::<Vec<_>>().join(", ");
    match summary.down.as_slice() {
        [] => fact(question, "nothing that should run", Tone::Good),
        [(lane, outage)] => {
            let down = of_lane(question, format!("{names}, for {}", length(outage.nanos())), Tone::Bad, lane);
            Fact { at_ms: Some(millis(outage.from.wall_ns)), ..down }
        }
        all if all.len() > NAMES_MAX => {
            let more = count((all.len() - NAMES_MAX) as u64);
            fact(question, format!("{names} and {more} more"), Tone::Bad)
        }
        _ => fact(question, names, Tone::Bad),
    }
}

fn first_death(summary: &Summary<'_>) -> Fact {
    let question = "What died first?";
    let Some((lane, mark)) = summary.first_death else { return fact(question, "nothing", Tone::Good) };
    let details = details(&mark).map(|details| format!(": {details}")).unwrap_or_default();
    let answer = format!("{}{details}", lane.handle.display_name());
    Fact { at_ms: Some(millis(mark.at_ns)), ..of_lane(question, answer, Tone::Bad, lane) }
}

fn most_restarts(summary: &Summary<'_>) -> Fact {
    let question = "What restarted most?";
    let Some(lane) = summary.most_restarts.first() else { return fact(question, "nothing", Tone::Good) };
    let restarts = lane.runs.restarts;
    let answer =
        format!("{}: {} of {}", lane.handle.display_name(), count(restarts), counted(summary.restarts, "restart"));
    of_lane(question, answer, Tone::Warn, lane)
}

fn unwatched(watch: &Watch) -> Fact {
    let question = "When did no supervisor run?";
    let Some(longest) = watch.gaps.iter().max_by_key(|gap| gap.nanos()) else {
        return fact(question, "no such time is on record", Tone::Good);
    };
    let answer = match watch.count {
        1 => length(longest.nanos()),
        several => format!(
            "{}, {} together; the longest, {}:",
            counted(several, "time"),
            length(watch.total_ns),
            length(longest.nanos())
        ),
    };
    let died = watch.gaps.iter().any(|gap: &Gap| gap.cause == GapCause::Died);
    let tone = if died { Tone::Bad } else { Tone::Warn };
    let (at_ms, until_ms) = (Some(millis(longest.from.wall_ns)), Some(millis(longest.to.wall_ns)));
    Fact { at_ms, until_ms, ..fact(question, answer, tone) }
}

fn outage(question: &'static str, found: Option<&(&Lane, Outage)>) -> Fact {
    let Some((lane, outage)) = found else { return fact(question, "nothing", Tone::Good) };
    let answer = format!("{}, {}", lane.handle.display_name(), length(outage.nanos()));
    let (at_ms, until_ms) = (Some(millis(outage.from.wall_ns)), Some(millis(outage.to.wall_ns)));
    Fact { at_ms, until_ms, ..of_lane(question, answer, Tone::Warn, lane) }
}

fn refusals(lanes: &Lanes) -> Fact {
    let question = "Which restarts were refused?";
    let Some(first) = lanes.refusals.first.first() else { return fact(question, "none", Tone::Good) };
    let name = lanes.lane(first.stream).map(|lane| lane.handle.display_name()).unwrap_or_default();
    let answer = match lanes.refusals.count {
        1 => name,
        several => format!("{}; the first one: {name}", count(several)),
    };
    Fact { at_ms: Some(millis(first.at_ns)), process: Some(key(first.stream)), ..fact(question, answer, Tone::Bad) }
}

fn most_spent(lanes: &Lanes, spent: &BTreeMap<StreamId, Spent>) -> Fact {
    let question = "Which agent spent most?";
    let measure = |spent: &Spent| {
        let usage = spent.totals.usage;
        (spent.cost_micros(), usage.input.saturating_add(usage.output))
    };
    let Some((id, most)) = spent.iter().max_by_key(|(_, spent)| measure(spent)) else {
        return fact(question, "no agent reported anything", Tone::Calm);
    };
    let name = lanes.lane(*id).map(|lane| lane.handle.display_name()).unwrap_or_default();
    let mut total = Spent::default();
    spent.values().for_each(|one| total.add(*one));
    let answer = match (most.cost_micros(), total.cost_micros()) {
        (Some(of_one), Some(of_all)) => format!("{name}: {} of {}", cost(of_one), cost(of_all)),
        _ => format!("{name}: {} of {} tokens", count(measure(most).1), count(measure(&total).1)),
    };
    Fact { process: Some(key(*id)), ..fact(question, answer, Tone::Calm) }
}

fn requests(lanes: &Lanes) -> Fact {
    let question = "What did a person do?";
    let Some(last) = lanes.actions.first.last() else { return fact(question, "nothing", Tone::Calm) };
    let Action { stream, actor, at_ns, .. } = last;
    let name = lanes.lane(*stream).map(|lane| lane.handle.display_name()).unwrap_or_default();
    let (requests, who) = (counted(lanes.actions.count, "request"), words::actor(actor));
    let answer = format!("{requests}; the last one listed: {who}, {} {name}", what(last.kind));
    Fact { at_ms: Some(millis(*at_ns)), process: Some(key(*stream)), ..fact(question, answer, Tone::Calm) }
}

fn whole(summary: &Summary<'_>, lanes: &Lanes) -> Fact {
    let processes = lanes.lanes.len() as u64;
    let processes = if processes == 1 { "1 process".to_owned() } else { format!("{} processes", count(processes)) };
    let answer = format!(
        "{processes}: {} alive, {} down, {} ended; {}",
        count(summary.alive),
        count(summary.down.len() as u64),
        count(summary.ended),
        if summary.crashes == 1 { "1 failure".to_owned() } else { format!("{} failures", count(summary.crashes)) },
    );
    fact("How much was there?", answer, Tone::Calm)
}
