//! Which events a reader asks for.

use apm2_model::event::{Event, actor::ActorFilter, end_filter::EndFilter, stream_id::StreamId};

use crate::{
    journal::{
        catalog::reader::{Catalog, Members, union},
        sealed::{block_table::BlockSummary, error::SealedError, kind_set::KindSet, reader::SealedSegment},
    },
    record::{RecordError, peek_stream},
};

/// The direction in which events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first event on.
    Forwards,
    /// From the last event back.
    Backwards,
}

/// A filter for events. The default filter accepts every event.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events of these streams. All streams when empty.
    pub streams: Vec<StreamId>,
    /// Only events of these kinds. All kinds when `None`.
    pub kinds: Option<KindSet>,
    /// Only events with a wall-clock time in this range, in nanoseconds since 1970. Both ends are included.
    pub wall_ns: Option<(i64, i64)>,
    /// Only events of these actors. All actors when empty.
    pub actors: Vec<ActorFilter>,
    /// Only events of runs with this number.
    pub run: Option<u64>,
    /// Only events that record one of these ends of a run. All events when empty.
    pub ends: Vec<EndFilter>,
}

impl EventQuery {
    /// Whether the filter accepts every event.
    pub(crate) fn is_all(&self) -> bool {
        self.streams.is_empty() && self.accepts_whole_streams()
    }

    /// Whether the filter accepts every event of the streams.
    const fn accepts_whole_streams(&self) -> bool {
        let Self { streams: _, kinds, wall_ns, actors, run, ends } = self;
        kinds.is_none() && wall_ns.is_none() && actors.is_empty() && run.is_none() && ends.is_empty()
    }

    /// The events of one stream.
    #[must_use]
    pub fn stream(stream: StreamId) -> Self {
        Self { streams: vec![stream], ..Self::default() }
    }

    /// The stream, when the filter accepts every event of one stream and no other events.
    pub(crate) fn single_stream(&self) -> Option<StreamId> {
        match self.streams.as_slice() {
            [stream] if self.accepts_whole_streams() => Some(*stream),
            _ => None,
        }
    }

    /// Whether the store finds the accepted events without a scan of other events. Its index has no kinds, and no times of
    /// single streams; the sealed segments of the journal have both.
    pub(crate) fn is_indexed_by_store(&self) -> bool {
        self.is_all() || self.single_stream().is_some()
    }

    /// Whether the event with these bytes is of one of the streams. The rest of the event is not decoded.
    pub(crate) fn accepts_stream_of(&self, bytes: &[u8]) -> Result<bool, RecordError> {
        Ok(self.streams.is_empty() || self.streams.contains(&peek_stream(bytes)?))
    }

    /// Whether the filter accepts this event.
    #[must_use]
    pub fn accepts(&self, event: &Event) -> bool {
        (self.streams.is_empty() || self.streams.contains(&event.stream))
            && self.kinds.is_none_or(|kinds| kinds.meets(KindSet::from(&event.kind)))
            && self.wall_ns.is_none_or(|(from, to)| (from..=to).contains(&event.stamp.wall_ns))
            && (self.actors.is_empty() || self.actors.iter().any(|actor| actor.accepts(&event.actor)))
            && self.run.is_none_or(|run| event.run == run)
            && (self.ends.is_empty() || self.ends.iter().any(|end| end.accepts(&event.kind)))
    }

    /// The blocks of a sealed segment that can contain accepted events, in order. All blocks where the index is damaged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn blocks(&self, segment: &SealedSegment) -> Result<Vec<usize>, SealedError> {
        let mut blocks: Vec<usize> = match self.blocks_of_streams(segment) {
            Ok(blocks) => blocks,
            Err(SealedError::Io(error)) => return Err(error.into()),
            Err(_) => (0..segment.blocks()?.entries().len()).collect(),
        };
        let entries = segment.blocks()?.entries();
        blocks.retain(|block| entries.get(*block).is_some_and(|entry| self.meets(&entry.summary)));
        Ok(blocks)
    }

    /// The members of a catalog that can contain accepted events.
    ///
    /// # Errors
    /// When the table of streams is damaged, or the file cannot be read.
    pub(crate) fn members(&self, catalog: &Catalog) -> Result<Members, SealedError> {
        let members = catalog.members_where(|member| self.meets(&member.summary));
        if self.streams.is_empty() {
            return Ok(members);
        }
        Ok(members & union(self.streams.iter().map(|stream| catalog.with_stream(*stream)))?)
    }

    /// Whether some of the events can be accepted, by their kinds, times and actors.
    pub(crate) fn meets(&self, summary: &BlockSummary) -> bool {
        self.kinds.is_none_or(|kinds| kinds.meets(summary.kinds))
            && self.wall_ns.is_none_or(|(from, to)| summary.min_wall_ns <= to && summary.max_wall_ns >= from)
            && (self.actors.is_empty() || self.actors.iter().any(|actor| summary.actors.can_contain(actor)))
            && (self.ends.is_empty()
                || self.ends.iter().any(|end| KindSet::named(end.kinds().iter().copied()).meets(summary.kinds)))
    }

    fn blocks_of_streams(&self, segment: &SealedSegment) -> Result<Vec<usize>, SealedError> {
        if self.streams.is_empty() {
            return Ok((0..segment.blocks()?.entries().len()).collect());
        }
        let mut blocks = Vec::new();
        for stream in &self.streams {
            blocks.extend(segment.stream(*stream)?.map(|entry| entry.blocks).unwrap_or_default());
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(blocks)
    }
}
