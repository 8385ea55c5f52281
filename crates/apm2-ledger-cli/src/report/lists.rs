//! The lists of a document: when no supervisor ran, requests, refusals; and how many processes were alive.

use apm2_lanes::{
    alive::Alive,
    lanes::Lanes,
    watch::{GapCause, Watch},
};
use apm2_model::event::stream_id::StreamId;
use apm2_page::document::{Action, Gap, Refusal, limits::LISTED_MAX};

use crate::{
    render::{escape::escape, event::rule_words, words},
    report::{key, millis},
};

/// When no supervisor ran.
pub(crate) fn gaps(watch: &Watch) -> Vec<Gap> {
    let converted = |gap: &apm2_lanes::watch::Gap| Gap {
        from_ms: millis(gap.from.wall_ns),
        to_ms: millis(gap.to.wall_ns),
        cause: match gap.cause {
            GapCause::Stopped => "stopped",
            GapCause::Died => "died",
        },
        is_open: gap.is_open,
    };
    watch.gaps.iter().map(converted).collect()
}

/// What persons asked for.
pub(crate) fn actions(lanes: &Lanes) -> Vec<Action> {
    let converted = |action: &apm2_lanes::actions::Action| Action {
        at_ms: millis(action.at_ns),
        who: words::actor(&action.actor),
        what: what(action.kind),
        process: key(action.stream),
        name: name(lanes, action.stream),
        reason: action.reason.as_ref().map(|reason| escape(reason).into_owned()),
    };
    lanes.actions.first.iter().take(LISTED_MAX).map(converted).collect()
}

/// The restarts that were refused.
pub(crate) fn refusals(lanes: &Lanes) -> Vec<Refusal> {
    let converted = |refusal: &apm2_lanes::actions::Refusal| Refusal {
        at_ms: millis(refusal.at_ns),
        process: key(refusal.stream),
        name: name(lanes, refusal.stream),
        text: escape(&rule_words(&refusal.rule)).into_owned(),
    };
    lanes.refusals.first.iter().take(LISTED_MAX).map(converted).collect()
}

fn name(lanes: &Lanes, id: StreamId) -> String {
    lanes.lane(id).map(|lane| escape(&lane.handle.display_name()).into_owned()).unwrap_or_default()
}

/// The request that an event of this kind records.
pub(crate) fn what(kind: &'static str) -> &'static str {
    match kind {
        "registered" => "register",
        "spec_changed" => "change",
        "unregistered" => "remove",
        "start_requested" => "start",
        "stopping" => "stop",
        other => other,
    }
}

/// The greatest number of processes that were alive at the same time, in at most `max` parts of equal numbers of buckets.
pub(crate) fn alive(buckets: &[Alive], max: usize) -> Vec<u32> {
    // Parts of unequal length would be drawn at wrong times, so the last part is left out unless it is whole.
    let length = buckets.len().div_ceil(max.max(1)).max(1);
    let length = (length..=buckets.len()).find(|length| buckets.len().is_multiple_of(*length)).unwrap_or(1);
    buckets.chunks(length).map(|part| part.iter().map(|alive| alive.max).max().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_chart_are_equal_and_no_more_than_allowed() {
        let buckets: Vec<Alive> = (0..60).map(|max| Alive { min: 0, max }).collect();
        assert_eq!(alive(&buckets, 480).len(), 60);
        assert_eq!(alive(&buckets, 7), [9, 19, 29, 39, 49, 59]);
        assert_eq!(alive(&[], 7), [0_u32; 0]);
    }
}
