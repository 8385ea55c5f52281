//! The instances of a ledger at one moment, with what is needed to display their states.

use std::collections::HashMap;

use apm2_model::{
    event::{Event, identity::ProcessIdentity, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    status::{InstanceStatus, KernelState, StatusContext, Supervision},
    steps::{States, apply},
};

/// Largest number of instances that are over or removed and are held nevertheless, so that they can be listed.
const OVER_MAX: usize = 2_000;

/// The instances at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The last event that is included.
    pub(crate) seq: u64,
    pub(crate) states: States,
    pub(crate) context: StatusContext,
    /// What the kernel reported about processes that no daemon supervises.
    pub(crate) observed: HashMap<StreamId, KernelState>,
    /// The number of instances that are over or removed and are not held.
    pub(crate) left_out: usize,
}

impl Snapshot {
    /// The instances after event `seq`. Looks up in `/proc` those that no daemon supervises.
    pub(crate) fn new(seq: u64, streams: Vec<Stream>, context: StatusContext) -> Self {
        let (kept, over): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| context.is_kept(stream));
        let (left_out, oldest) = (over.len().saturating_sub(OVER_MAX), oldest_held(&over));
        let over = over.into_iter().filter(|stream| stream.last_seq >= oldest);
        let states: States = kept.into_iter().chain(over).map(|stream| (stream.id, stream)).collect();
        let observed = states.values().filter_map(|stream| Some((stream.id, context.observe(stream)?))).collect();
        Self { seq, states, context, observed, left_out }
    }

    /// The displayed state of an instance.
    pub(crate) fn status<'a>(&self, stream: &'a Stream) -> InstanceStatus<'a> {
        let is_observed = !matches!(self.context.supervision, None | Some(Supervision::Answered))
            && !stream.handle.state.has_exited();
        // A process that was not looked up yet cannot be shown as running.
        let observed = is_observed.then(|| self.observed.get(&stream.id).copied().unwrap_or(KernelState::Elsewhere));
        self.context.observed_status(stream, observed)
    }

    /// Whether a daemon records what happens, so that the recorded states are current.
    pub(crate) fn is_supervised(&self) -> bool {
        self.context.supervision == Some(Supervision::Answered)
    }

    /// Applies the next event. False if the event does not follow on what is held.
    pub(crate) fn apply(&mut self, event: &Event) -> bool {
        if event.seq != self.seq.saturating_add(1) {
            return false;
        }
        self.seq = event.seq;
        if let Some(time) = &mut self.context.recorded_until {
            *time = event.stamp.wall();
        }
        apply(&mut self.states, event).is_ok()
    }

    /// The processes that have to be looked up in `/proc`.
    pub(crate) fn unsupervised(&self) -> Vec<(StreamId, Option<ProcessIdentity>)> {
        if self.is_supervised() {
            return Vec::new();
        }
        let is_open = |stream: &&Stream| !stream.handle.state.has_exited();
        self.states.values().filter(is_open).map(|stream| (stream.id, stream.identity)).collect()
    }
}

/// The last event of the oldest of these instances that is held. The numbers are sorted and not the instances, which are large.
fn oldest_held(over: &[Stream]) -> u64 {
    let mut seqs: Vec<u64> = over.iter().map(|stream| stream.last_seq).collect();
    match seqs.len().checked_sub(OVER_MAX) {
        Some(place) if place > 0 => *seqs.select_nth_unstable(place).1,
        _ => 0,
    }
}
