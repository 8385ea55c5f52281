//! The lanes of a period.

use std::collections::BTreeMap;

use apm2_model::{
    event::{kind::RestartRule, requester::Requester, stream_id::StreamId},
    state::{
        handle::ProcessHandle,
        statistics::{EndCause, RunStatistics},
    },
};

use crate::{
    actions::{Action, Listed, Refusal, UnobservedEnd},
    alive::Alive,
    grid::Grid,
    lane_state::LaneState,
    mark::{Mark, MarkCounts, StopBy},
    outage::Outages,
    span::Span,
};

/// What one instance did in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// The instance.
    pub id: StreamId,
    /// The instance at the end of the period.
    pub handle: ProcessHandle,
    /// What the lane shows at the end of the period.
    pub state: LaneState,
    /// Why the supervisor does not make a restart that the policy asks for, at the end of the period.
    pub gave_up: Option<RestartRule>,
    /// Who called off the restart that the policy asks for, at the end of the period: a supervisor that ended, as a rule. `None` before
    /// the period.
    pub postponed: Option<Requester>,
    /// The states and marks in the buckets of the grid. The spans cover all buckets, in their order.
    pub spans: Vec<Span>,
    /// The number of marks in the period.
    pub counts: MarkCounts,
    /// The latest end of a run in the period.
    pub last_end: Option<Mark>,
    /// The number of runs in the period that ended after a requested stop, by who requested it and how they ended.
    pub stops: BTreeMap<(StopBy, EndCause), u64>,
    /// The outages in the period.
    pub outages: Outages,
    /// The statistics of the runs. Processor use and memory are counted only where the fold was given the samples.
    pub runs: RunStatistics,
}

impl Lane {
    /// Whether the process is down at the end of the period: an outage has not ended, and no process exists. It is what
    /// [`is_down`](crate::lane_state::is_down) says of its stream.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.outages.open.is_some() && !self.state.is_alive()
    }

    /// The span that contains the bucket.
    #[must_use]
    pub fn span(&self, bucket: u32) -> Option<&Span> {
        let place = self.spans.partition_point(|span| span.last < bucket);
        self.spans.get(place)
    }
}

/// What all instances did in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct Lanes {
    /// The period and its buckets.
    pub grid: Grid,
    /// The lanes by name, then by instance, then by id.
    pub lanes: Vec<Lane>,
    /// The number of processes that were alive, for each bucket.
    pub alive: Vec<Alive>,
    /// What operators did.
    pub actions: Listed<Action>,
    /// The restarts that were refused, so that the process stayed down.
    pub refusals: Listed<Refusal>,
    /// The ends of runs that no supervisor observed as they happened.
    pub unobserved: Listed<UnobservedEnd>,
}

impl Lanes {
    /// The lane of an instance.
    #[must_use]
    pub fn lane(&self, id: StreamId) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.id == id)
    }
}
