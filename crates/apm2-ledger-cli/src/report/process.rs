//! One process of a document.

use std::collections::BTreeMap;

use apm2_lanes::{
    lane_state::LaneState,
    lanes::Lane,
    mark::{Mark, MarkKind},
    span::Span,
};
use apm2_model::state::statistics::{EndState, Measured, RunStatistics};
use apm2_page::document::{
    process::{Agent, End, LastOutput, MarkPoint, Process, Series, Story},
    tone::Tone,
};

use crate::{
    agents::Spent,
    render::{
        agent::doing,
        color::Style,
        ends::{requester, stopped},
        escape::escape,
        event::rule_words,
        stats::end_words,
        status::status as status_words,
        words::{self, counted},
        zone::Zone,
    },
    report::{key, millis},
    stats::{InstanceStatistics, series},
    status::InstanceStatus,
};

/// The document of one instance, for a period of `buckets` parts. `spent` is what it used as an agent.
pub(crate) fn converted(
    instance: &InstanceStatistics,
    lane: Option<&Lane>,
    status: &InstanceStatus<'_>,
    spent: Option<&Spent>,
    story: Option<(Story, Option<LastOutput>)>,
    buckets: u32,
) -> Process {
    let (stream, runs, series) = (&instance.stream, &instance.runs, &instance.series);
    let handle = &stream.handle;
    let (story, last_output) = story.map_or((None, None), |(story, output)| (Some(story), output));
    let outages = lane.map(|lane| lane.outages).unwrap_or_default();
    let has_samples = runs.memory_bytes.count > 0;
    Process {
        key: key(stream.id),
        name: escape(&handle.display_name()).into_owned(),
        command: words::command_line(&handle.spec.command, &handle.spec.args),
        status: escape(&status_words(status, Zone::Utc)).into_owned(),
        tone: tone(status),
        // An instance without a lane had failed before the period.
        is_down: lane.is_none_or(Lane::is_down),
        spans: lane.map_or_else(|| vec![0, buckets.saturating_sub(1), LaneState::of(Some(stream)) as u32], spans),
        marks: lane.map(marks).unwrap_or_default(),
        restarts: runs.restarts,
        crashes: runs.ended(EndState::Crashed),
        refusals: runs.given_up,
        ends: ends(runs, lane),
        up_share: lane.and_then(up_share),
        outage_ms: outages.total_ns / 1_000_000,
        longest_outage_ms: outages.longest.map_or(0, |outage| outage.nanos() / 1_000_000),
        cpu: has_samples.then(|| converted_series(&series.cpu_centipercent)),
        cpu_mean: runs.cpu_centipercent.mean(),
        cpu_max: greatest(&runs.cpu_centipercent),
        memory: has_samples.then(|| converted_series(&series.memory_bytes)),
        memory_mean: runs.memory_bytes.mean(),
        memory_max: greatest(&runs.memory_bytes),
        agent: stream.agent.as_deref().map(|agent| {
            let spent = spent.copied().unwrap_or_default();
            let session = agent.session.as_ref();
            Agent {
                kind: agent.kind.to_string(),
                model: session.and_then(|session| session.model.as_ref()).map(ToString::to_string),
                session: session.map(|session| session.id.to_string()),
                activity: doing(agent),
                turns: spent.totals.turns,
                tool_calls: spent.totals.tool_calls,
                input_tokens: spent.totals.usage.input,
                output_tokens: spent.totals.usage.output,
                cost_micros: spent.cost_micros(),
            }
        }),
        story,
        last_output,
    }
}

/// How the runs ended, and who stopped those that were stopped.
fn ends(runs: &RunStatistics, lane: Option<&Lane>) -> Vec<End> {
    let no_stops = BTreeMap::new();
    let stops = lane.map_or(&no_stops, |lane| &lane.stops);
    let stopped_with = |end| stops.iter().filter(|((_, other), _)| *other == end).map(|(_, count)| count).sum();
    let by_themselves = runs.ends.iter().filter_map(|((state, cause), count)| {
        let (text, count) = match state {
            EndState::Stopped => (end_words(*cause), count.saturating_sub(stopped_with(*cause))),
            EndState::Crashed => (format!("failed: {}", end_words(*cause)), *count),
            EndState::Terminated => return None,
        };
        (count > 0).then_some(End { text, count })
    });
    let stopped = stops.iter().map(|((by, cause), count)| End { text: stopped(requester(*by), *cause), count: *count });
    by_themselves.chain(stopped).collect()
}

fn tone(status: &InstanceStatus<'_>) -> Tone {
    match Style::of(status) {
        Style::Good => Tone::Good,
        Style::Bad => Tone::Bad,
        Style::Busy => Tone::Warn,
        Style::Plain | Style::Heading | Style::Quiet => Tone::Calm,
    }
}

/// The states of the lane: in each span the one with the most time.
fn spans(lane: &Lane) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for span in &lane.spans {
        let Some(state) = span.mix.longest().map(|state| state as u32) else { continue };
        match found.as_mut_slice() {
            [.., last, before] if *before == state && last.saturating_add(1) == span.first => *last = span.last,
            _ => found.extend([span.first, span.last, state]),
        }
    }
    found
}

fn marks(lane: &Lane) -> Vec<MarkPoint> {
    let point = |span: &Span| {
        let mark = span.mark?;
        let total: u32 = span.counts.present().map(|(_, count)| count).sum();
        let class = mark.kind.class();
        Some(MarkPoint(millis(mark.at_ns), class as u8, mark.seq, mark.run, details(&mark), total))
    };
    lane.spans.iter().filter_map(point).collect()
}

/// The details of a mark in words.
pub(crate) fn details(mark: &Mark) -> Option<String> {
    match &mark.kind {
        MarkKind::Stop(cause, by) | MarkKind::Kill(cause, by) => Some(stopped(requester(*by), *cause)),
        MarkKind::StopRequest(by) => Some(format!("by {}", requester(*by))),
        MarkKind::FailedStart(cause) | MarkKind::Crash(cause) => Some(end_words(*cause)),
        MarkKind::Unhealthy { failures } => Some(counted(u64::from(*failures), "failed check")),
        MarkKind::Refusal(rule) => Some(escape(&rule_words(rule)).into_owned()),
        _ => None,
    }
}

/// The part of the time since its registration in which the process was alive.
fn up_share(lane: &Lane) -> Option<f64> {
    let (mut alive, mut known) = (0_u64, 0_u64);
    for (state, nanos) in lane.spans.iter().flat_map(|span| span.mix.present()) {
        if state != LaneState::Absent {
            known = known.saturating_add(nanos);
            alive = alive.saturating_add(if state.is_alive() { nanos } else { 0 });
        }
    }
    let seconds = |nanos| std::time::Duration::from_nanos(nanos).as_secs_f64();
    (known > 0).then(|| seconds(alive) / seconds(known))
}

fn converted_series(parts: &[Measured; series::PARTS]) -> Series {
    Series { mean: parts.iter().map(Measured::mean).collect(), max: parts.iter().map(greatest).collect() }
}

fn greatest(measured: &Measured) -> Option<u64> {
    Some(measured.max).filter(|_| measured.count > 0)
}

#[cfg(test)]
mod tests {
    use apm2_lanes::{lane_state::LaneState, mark::MarkClass};
    use apm2_page::assets::SCRIPT;

    use crate::render::words::NO_DAEMON_THEN;

    #[test]
    fn the_script_has_the_states_and_the_marks_at_their_places() {
        let list = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let states = list(&LaneState::ALL.map(LaneState::name));
        let classes = list(&MarkClass::ALL.map(MarkClass::name));
        assert!(SCRIPT.contains(&format!("const STATES = [{states}];")));
        assert!(SCRIPT.contains(&format!("const CLASSES = [{classes}];")));
        assert!(SCRIPT.contains(&format!("const NO_DAEMON_THEN = \"{NO_DAEMON_THEN}\";")));
    }
}
