//! What is read of a ledger for a document.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use apm2_lanes::lane_state::is_down;
use apm2_ledger::{ReadLedger as _, StatesQuestion};
use apm2_model::{
    event::stream_id::StreamId,
    state::{ProcessState, stream::Stream},
};
use apm2_page::document::{
    limits::{PROCESSES_MAX, STORIES_MAX, buckets},
    process::{Cause, LastOutput, Story},
};
use chrono::{DateTime, Utc};

use crate::{
    agents::spending::{Grouping, Spending},
    context::Context,
    history::{LastOutput as RecordedOutput, read_last_output},
    moment::Moment,
    options::typed,
    period_lanes::{Asked, PeriodLanes},
    render::{why, zone::Zone},
    source::{LedgerSource, ReadFailure},
    stats::{InstanceStatistics, period::Period},
    status::InstanceStatus,
    time::At,
    why::{cause::UnwatchedProcess, chain::chain, evidence::Evidence, sentence::sentence},
};

/// The smallest and the greatest number of parts of the period in which states are given.
const BUCKETS: (u32, u32) = (60, 4096);

/// Largest number of instances of a period that are all read, also if a page has fewer.
const READ_WHOLE_MAX: usize = 10_000;

/// The period that the options ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) since: Option<At>,
    pub(crate) until: Option<At>,
}

/// What is read of a ledger for a document.
pub(crate) struct Gathered {
    pub(crate) moment: Moment,
    /// The time of the last event, if no daemon answers.
    pub(crate) recorded_until: Option<DateTime<Utc>>,
    /// The number of events up to the end of the period.
    pub(crate) events: u64,
    /// The instances by name.
    pub(crate) instances: Vec<InstanceStatistics>,
    pub(crate) lanes: PeriodLanes,
    /// The number of instances that are left out.
    pub(crate) left_out: u64,
    pub(crate) spending_by_day: Spending,
    pub(crate) spending_by_model: Spending,
    pub(crate) stories: BTreeMap<StreamId, Told>,
}

/// The story of one instance.
pub(crate) struct Told {
    evidence: Evidence,
    last_output: Option<RecordedOutput>,
}

impl Gathered {
    /// Reads the period.
    pub(crate) fn read(source: &LedgerSource, range: Range, context: &Context) -> Result<Self, ReadFailure> {
        let end = source.head()?.end();
        let moment = context.moment(source, range.until, typed("--until", "--at"))?;
        let period = Period::requested_or_recent(source, &[], (range.since, range.until), end, context)?;
        let events = moment.seq.min(end);
        let Chosen { streams, left_out, asked } = Chosen::read(source, &period)?;
        let instances = instances(source, &streams, asked.as_ref(), &period)?;
        let parts = |streams: &[Stream]| buckets(streams.len(), BUCKETS.0, BUCKETS.1);
        let down: Vec<StreamId> = streams.iter().filter(|stream| is_down(stream)).map(|stream| stream.id).collect();
        let lanes_asked = Asked { chosen: asked.as_ref(), also: &down, ..Asked::default() };
        let lanes = PeriodLanes::read(source, lanes_asked, &period, &parts, false)?;
        let agents: Vec<StreamId> = streams.iter().filter(|one| one.agent.is_some()).map(|one| one.id).collect();
        let spending = |grouping| match agents.as_slice() {
            [] => Ok(Spending::default()),
            agents => Spending::read(source, agents, &period, (grouping, Zone::Utc)),
        };
        Ok(Self {
            moment,
            recorded_until: source.recorded_until()?,
            events,
            lanes,
            left_out,
            spending_by_day: spending(Grouping::Day)?,
            spending_by_model: spending(Grouping::Model)?,
            stories: stories(source, &streams, events)?,
            instances,
        })
    }
}

/// The instances of a document.
struct Chosen {
    /// Those that were alive in the period or had events in it, and those that had failed before and are down. Of more than a page has,
    /// those with most trouble.
    streams: Vec<Stream>,
    /// The number of the others.
    left_out: u64,
    /// The instances whose events are read; `None` for all, which takes less time than many of all.
    asked: Option<BTreeSet<StreamId>>,
}

impl Chosen {
    fn read(source: &LedgerSource, period: &Period) -> Result<Self, ReadFailure> {
        let (first, last) = period.seqs;
        let mut streams = source.states_of(&StatesQuestion::All(last))?;
        streams.retain(|stream| is_active(stream, first) || is_down(stream));
        let is_large = streams.len() > READ_WHOLE_MAX;
        let left_out = streams.len().saturating_sub(PROCESSES_MAX);
        if left_out > 0 {
            streams.sort_by_cached_key(trouble);
            streams.truncate(PROCESSES_MAX);
        }
        let asked = is_large.then(|| streams.iter().map(|stream| stream.id).collect());
        Ok(Self { streams, left_out: left_out as u64, asked })
    }
}

const fn is_active(stream: &Stream, first: u64) -> bool {
    stream.last_seq >= first || !stream.handle.state.has_exited()
}

/// The statistics of these streams, in the order of their names.
fn instances(
    source: &LedgerSource,
    streams: &[Stream],
    asked: Option<&BTreeSet<StreamId>>,
    period: &Period,
) -> Result<Vec<InstanceStatistics>, ReadFailure> {
    let ids: BTreeSet<StreamId> = streams.iter().map(|stream| stream.id).collect();
    // Without ids, a question is about all that were active.
    let asked: Vec<StreamId> = asked.into_iter().flatten().copied().collect();
    let mut found = InstanceStatistics::read(source, &asked, period)?;
    found.retain(|instance| ids.contains(&instance.stream.id));
    let read: BTreeSet<StreamId> = found.iter().map(|instance| instance.stream.id).collect();
    let others: Vec<StreamId> = ids.difference(&read).copied().collect();
    if !others.is_empty() {
        found.extend(InstanceStatistics::read(source, &others, period)?);
        found.sort_by(|one, other| one.order().cmp(&other.order()));
    }
    Ok(found)
}

/// Sorts the instances with most trouble first.
fn trouble(stream: &Stream) -> impl Ord + use<> {
    let is_crashed = matches!(stream.handle.state, ProcessState::Crashed { .. } | ProcessState::Unhealthy);
    Reverse((is_down(stream), is_crashed, stream.handle.restart_count, stream.agent.is_some(), stream.last_seq))
}

/// The stories of the instances with most trouble.
fn stories(source: &LedgerSource, streams: &[Stream], upto: u64) -> Result<BTreeMap<StreamId, Told>, ReadFailure> {
    let mut order: Vec<&Stream> = streams.iter().collect();
    order.sort_by_cached_key(|stream| trouble(stream));
    let mut stories = BTreeMap::new();
    for stream in order.into_iter().take(STORIES_MAX) {
        if let Some(evidence) = Evidence::read(source, stream.id, upto)? {
            let last_output = read_last_output(source, stream.id, upto)?;
            stories.insert(stream.id, Told { evidence, last_output });
        }
    }
    Ok(stories)
}

impl Told {
    /// The story, and the last lines of the latest failed run.
    pub(crate) fn converted(&self, status: &InstanceStatus<'_>) -> (Story, Option<LastOutput>) {
        let chain = chain(&self.evidence, UnwatchedProcess::of(status));
        let cause = |cause| Cause { text: sentence(cause, Zone::Utc), seq: cause.seq };
        let story = Story {
            headline: why::headline(status, &chain, Zone::Utc),
            causes: chain.causes.iter().map(cause).collect(),
            is_cut: chain.is_cut,
        };
        let output = self.last_output.as_ref().map(|output| LastOutput {
            run: output.run,
            stdout: output.stdout.join("\n"),
            stderr: output.stderr.join("\n"),
            left_out_bytes: 0,
        });
        (story, output)
    }
}
