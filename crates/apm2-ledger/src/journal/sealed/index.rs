//! The index of the events of a sealed segment, collected event by event: by the one who writes it, and by the check.

use std::collections::{BTreeMap, BTreeSet};

use apm2_model::{
    event::{Event, kind::EventKind, stream_id::StreamId},
    spec::id::ProcessId,
};

use crate::journal::sealed::{
    actor_set::ActorSet, block_table::BlockSummary, kind_set::KindSet, stream_entry::StreamEntry,
};

/// Ends a name: no byte of UTF-8 has this value.
const NAME_END: u8 = 0xff;

/// What is said of events. A pure function of the events that are not erased, and of the blocks that each is in.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Of each block that was begun.
    pub(crate) summaries: Vec<BlockSummary>,
    pub(crate) streams: BTreeMap<StreamId, StreamEntry>,
    /// Keys of the table of names.
    pub(crate) names: BTreeSet<Vec<u8>>,
}

impl Index {
    /// What is added from now on is in the next block.
    pub(crate) fn begin_block(&mut self) {
        self.summaries.push(BlockSummary::EMPTY);
    }

    pub(crate) fn add(&mut self, event: &Event) {
        let block = self.summaries.len().saturating_sub(1);
        if let Some(summary) = self.summaries.last_mut() {
            summary.min_wall_ns = summary.min_wall_ns.min(event.stamp.wall_ns);
            summary.max_wall_ns = summary.max_wall_ns.max(event.stamp.wall_ns);
            summary.kinds = summary.kinds.union(KindSet::from(&event.kind));
            summary.actors = summary.actors.union(ActorSet::from(&event.actor));
        }
        let entry = self.streams.entry(event.stream).or_insert_with(|| StreamEntry {
            stream: event.stream,
            events: 0,
            last_version: 0,
            blocks: Vec::new(),
        });
        entry.events += 1;
        entry.last_version = event.version;
        if entry.blocks.last() != Some(&block) {
            entry.blocks.push(block);
        }
        if let EventKind::Registered { spec } | EventKind::SpecChanged { spec } = &event.kind {
            self.names.insert(name_key(&spec.name, spec.id));
        }
    }
}

/// The beginning of the keys of all processes that have had this name.
pub(crate) fn name_prefix(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[NAME_END]].concat()
}

/// The key of a process that got this name.
pub(crate) fn name_key(name: &str, process: ProcessId) -> Vec<u8> {
    [&name_prefix(name)[..], process.as_bytes()].concat()
}

/// The name and the process of a key in the table of names.
pub(crate) fn parse_name_key(key: &[u8]) -> Option<(&str, ProcessId)> {
    let (name, process) = key.split_last_chunk()?;
    let (end, name) = name.split_last()?;
    let name = std::str::from_utf8(name).ok().filter(|_| *end == NAME_END)?;
    Some((name, ProcessId::from_bytes(*process)))
}
