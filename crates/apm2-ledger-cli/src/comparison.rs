//! What changed between two moments: the instances that were added, removed or changed. Pure functions of their states.

use std::collections::HashMap;

use apm2_model::{
    event::stream_id::StreamId,
    state::stream::{FollowUp, Stream},
};

/// How an instance differs between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was registered in between.
    Added,
    /// It was removed from supervision in between.
    Removed,
    /// Its specification, its state or its runs are others.
    Changed,
}

/// An instance that differs between two moments.
#[derive(Debug)]
pub(crate) struct InstanceChange<'a> {
    pub(crate) change: Change,
    /// Its state at the first moment; `None` if it was registered later.
    pub(crate) before: Option<&'a Stream>,
    /// Its state at the second moment.
    pub(crate) after: &'a Stream,
}

impl InstanceChange<'_> {
    /// The number of runs that began in between.
    pub(crate) fn runs(&self) -> u64 {
        self.after.run.saturating_sub(self.before.map_or(0, |before| before.run))
    }

    /// What remains to be done after the last run, at the two moments; `None` if that is the same.
    pub(crate) fn follow_ups(&self) -> Option<(FollowUp, FollowUp)> {
        let before = self.before.map_or(FollowUp::Nothing, |before| before.follow_up);
        (before != self.after.follow_up).then_some((before, self.after.follow_up))
    }

    /// The number of restarts by the policy in between.
    pub(crate) fn restarts(&self) -> u32 {
        let before = self.before.map_or(0, |before| before.handle.restart_count);
        self.after.handle.restart_count.saturating_sub(before)
    }
}

/// The differences between the states `before` and `after`, by name and instance. A stream of `before` that is not in
/// `after` has not changed.
pub(crate) fn compare<'a>(before: &'a [Stream], after: &'a [Stream]) -> Vec<InstanceChange<'a>> {
    let earlier: HashMap<StreamId, &Stream> = before.iter().map(|stream| (stream.id, stream)).collect();
    let mut changes: Vec<_> = after
        .iter()
        .filter_map(|after| {
            let before = earlier.get(&after.id).copied();
            change(before, after).map(|change| InstanceChange { change, before, after })
        })
        .collect();
    changes.sort_by_key(|change| {
        let stream = change.after;
        (&stream.handle.spec.name, stream.id.instance, stream.id.process_id)
    });
    changes
}

fn change(before: Option<&Stream>, after: &Stream) -> Option<Change> {
    let was_there = before.is_some_and(|before| !before.unregistered);
    match (was_there, after.unregistered) {
        (false, false) => Some(Change::Added),
        (true, true) => Some(Change::Removed),
        // It was registered and removed in between.
        (false, true) if before.is_none() => Some(Change::Removed),
        (false, true) => None,
        (true, false) => before.is_some_and(|before| !is_same(before, after)).then_some(Change::Changed),
    }
}

/// Whether the two states differ in samples and health results only.
fn is_same(before: &Stream, after: &Stream) -> bool {
    before.handle.state == after.handle.state
        && before.handle.spec == after.handle.spec
        && before.run == after.run
        && before.end == after.end
        && before.gave_up == after.gave_up
        && before.follow_up == after.follow_up
}
