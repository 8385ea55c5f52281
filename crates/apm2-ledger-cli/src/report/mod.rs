//! The document of a page, from what is recorded of a period. [`gathered`] reads; the other modules convert.

pub(crate) mod evidence;
pub(crate) mod facts;
pub(crate) mod gathered;
pub(crate) mod lists;
pub(crate) mod process;
pub(crate) mod spending;

use std::time::Instant;

use apm2_lanes::{lanes::Lanes, requests::requests};
use apm2_model::{
    clock::SystemClock,
    event::{stream_id::StreamId, timestamp::Clock as _},
};
use apm2_page::document::limits::ALIVE_PARTS_MAX;
use apm2_page::document::{Document, LedgerFacts, Period, ProcessName};

use crate::{
    context::Context,
    error::CliError,
    period_lanes::Timeline,
    render::{escape::escape, requests::DAEMON, zone::Zone},
    report::gathered::{Gathered, Range},
    status::{StatusContext, Supervision},
};

/// Nanoseconds in a millisecond.
const MILLI_NS: i64 = 1_000_000;

/// Milliseconds since 1970.
pub(crate) const fn millis(wall_ns: i64) -> i64 {
    wall_ns.div_euclid(MILLI_NS)
}

/// Identifies an instance in a document.
pub(crate) fn key(id: StreamId) -> String {
    format!("{}/{}", id.process_id, id.instance)
}

/// The key and the name of an instance, or of the daemon for the stream of the ledger. The name is empty if the instance has no lane.
pub(crate) fn process_name(lanes: &Lanes, id: StreamId) -> ProcessName {
    let name = match lanes.lane(id) {
        _ if id.is_system() => Some(DAEMON.to_owned()),
        Some(lane) => Some(escape(&lane.handle.display_name()).into_owned()),
        None => None,
    };
    ProcessName { key: key(id), name: name.unwrap_or_default() }
}

/// The instance that [`key`] identifies in this way; `None` for any other text.
pub(crate) fn stream_of_key(text: &str) -> Option<StreamId> {
    let (process_id, instance) = text.split_once('/')?;
    let id = StreamId { process_id: process_id.parse().ok()?, instance: instance.parse().ok()? };
    (key(id) == text).then_some(id)
}

/// Reads the range and makes its document, without evidence.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) fn document(range: Range, context: &Context) -> Result<Document, CliError> {
    let begun = Instant::now();
    let (gathered, supervision) = context.read(|source| Gathered::read(source, range, context))?;
    let recorded_until = gathered.recorded_until;
    let status_context = context.status_context(gathered.moment, supervision, recorded_until)?;
    let document =
        Document { ledger: ledger(&gathered, context)?, ..converted(gathered, supervision, status_context, context) };
    let made_in_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Document { made_in_ms, ..document }.within_limits())
}

fn ledger(gathered: &Gathered, context: &Context) -> Result<LedgerFacts, CliError> {
    let path = context.ledger_dir()?.display().to_string();
    Ok(LedgerFacts { path: escape(&path).into_owned(), events: gathered.events })
}

fn converted(
    gathered: Gathered,
    supervision: Supervision,
    mut status_context: StatusContext,
    context: &Context,
) -> Document {
    let Gathered { instances, lanes, left_out, spending_by_day, spending_by_model, stories, .. } = gathered;
    let timeline = lanes.finish(supervision);
    status_context.moment.is_unwatched = !status_context.moment.is_present && timeline.is_last_known();
    let Timeline { lanes, spent, watch, .. } = &timeline;
    let period = Period {
        from_ms: millis(lanes.grid.from_ns()),
        // A period without length could not be drawn.
        to_ms: millis(lanes.grid.to_ns()).max(millis(lanes.grid.from_ns()) + 1),
        buckets: lanes.grid.buckets(),
    };
    let mut processes = Vec::new();
    for instance in &instances {
        let status = status_context.status(&instance.stream);
        let story = stories.get(&instance.stream.id).map(|told| told.converted(&status));
        let of_lane = lanes.lane(instance.stream.id);
        let of_agent = spent.get(&instance.stream.id);
        processes.push(process::converted(instance, of_lane, &status, of_agent, story, period.buckets));
    }
    let mut requests = requests(&lanes.actions.first);
    requests.reverse();
    let unlisted = lanes.actions.count.saturating_sub(lanes.actions.first.len() as u64);
    let requests_count = unlisted.saturating_add(requests.len() as u64);
    let streams: Vec<_> = instances.iter().map(|one| &one.stream).collect();
    let warning = status_context.warning(&status_context.statuses(&streams), Zone::Utc);
    let notices = context.notice().map(|notice| notice.message().to_owned()).into_iter().chain(warning);
    Document {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at_ms: millis(SystemClock.now().wall_ns),
        period,
        notices: notices.map(|text| escape(&text).into_owned()).collect(),
        facts: facts::facts(&timeline, &requests, requests_count),
        processes,
        processes_left_out: left_out,
        alive: lists::alive(&lanes.alive, ALIVE_PARTS_MAX),
        gaps: lists::gaps(watch),
        gaps_count: watch.count,
        unseen: lists::unseen(&timeline),
        unseen_count: lanes.unobserved.count,
        requests: lists::requests(&requests, lanes),
        requests_count,
        refusals: lists::refusals(lanes),
        spending: spending::converted(&spending_by_model, &spending_by_day),
        ..Document::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_nothing_else_is_one() {
        let id = StreamId { process_id: apm2_model::spec::id::ProcessId::new(), instance: 3 };
        let own = key(id);
        assert_eq!(stream_of_key(&own), Some(id));
        for text in ["", "all", "/", "web/0", &own.to_uppercase(), &format!("{own} "), &own.replace("/3", "/03")] {
            assert_eq!(stream_of_key(text), None, "{text:?}");
        }
    }
}
