//! The lists of a document: when no daemon ran, what ended then, requests, refusals; and how many processes were alive.

use apm2_lanes::{actions::UnobservedEnd, alive::Alive, lanes::Lanes, watch::Watch};
use apm2_page::document::{
    Gap, Refusal, Request, UnseenEnd,
    limits::{LISTED_MAX, REQUESTED_MAX},
};

use crate::{
    period_lanes::Timeline,
    render::{
        ends::{end_with_cause, supervision_ended},
        escape::escape,
        event::rule_words,
        requests::asked_by,
    },
    report::{MILLI_NS, millis, process_name},
};

/// When no daemon ran.
pub(crate) fn gaps(watch: &Watch) -> Vec<Gap> {
    let converted = |gap: &apm2_lanes::watch::Gap| Gap {
        from_ms: millis(gap.from.wall_ns),
        to_ms: millis(gap.to.wall_ns),
        length_ms: gap.nanos() / MILLI_NS.unsigned_abs(),
        cause: supervision_ended(&gap.cause),
        is_open: gap.is_open,
    };
    watch.gaps.iter().map(converted).collect()
}

/// The runs that ended while no daemon ran.
pub(crate) fn unseen(timeline: &Timeline) -> Vec<UnseenEnd> {
    let lanes = &timeline.lanes;
    let converted = |end: &UnobservedEnd| UnseenEnd {
        process: process_name(lanes, end.stream),
        from_ms: millis(end.not_before.wall_ns),
        to_ms: millis(end.not_after.wall_ns),
        text: end.mark.map(|mark| end_with_cause(&mark, &timeline.details)).unwrap_or_default(),
    };
    lanes.unobserved.first.iter().take(LISTED_MAX).map(converted).collect()
}

/// What persons asked for. `requests` are in the order of the page.
pub(crate) fn requests(requests: &[apm2_lanes::requests::Request<'_>], lanes: &Lanes) -> Vec<Request> {
    let converted = |request: &apm2_lanes::requests::Request<'_>| {
        let named = request.streams.iter().take(REQUESTED_MAX);
        let (who, reason) = asked_by(request);
        Request {
            at_ms: millis(request.first.at_ns),
            who,
            what: request.kind.name(),
            processes: named.map(|id| process_name(lanes, *id)).collect(),
            more: request.streams.len().saturating_sub(REQUESTED_MAX) as u64,
            reason: reason.map(|reason| escape(&reason).into_owned()),
        }
    };
    requests.iter().take(LISTED_MAX).map(converted).collect()
}

/// The restarts that were refused.
pub(crate) fn refusals(lanes: &Lanes) -> Vec<Refusal> {
    let converted = |refusal: &apm2_lanes::actions::Refusal| Refusal {
        at_ms: millis(refusal.at_ns),
        process: process_name(lanes, refusal.stream),
        text: escape(&rule_words(&refusal.rule)).into_owned(),
    };
    lanes.refusals.first.iter().take(LISTED_MAX).map(converted).collect()
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
