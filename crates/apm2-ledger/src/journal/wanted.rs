//! What a reader looks for in the segments of the journal and in the archives.

use apm2_model::event::stream_id::StreamId;

use crate::{
    journal::{
        archive::reader::Archive,
        base::ArchiveEntry,
        catalog::reader::{Catalog, Members, union},
        sealed::error::SealedError,
    },
    read::query::EventQuery,
};

/// What a segment must contain to be visited.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// An event that the query accepts.
    Query(EventQuery),
    /// A process that got one of these names.
    Named(Vec<String>),
    /// A stream whose process id begins with one of these byte sequences.
    IdPrefixes(Vec<Vec<u8>>),
    /// This event, or a later one.
    From(u64),
}

impl Wanted {
    /// The members of a catalog that can contain it.
    pub(crate) fn members(&self, catalog: &Catalog) -> Result<Members, SealedError> {
        match self {
            Self::Query(query) => query.members(catalog),
            Self::Named(names) => union(names.iter().map(|name| catalog.with_name(name))),
            Self::IdPrefixes(prefixes) => union(prefixes.iter().map(|prefix| catalog.with_id_prefix(prefix))),
            Self::From(seq) => Ok(catalog.members_where(|member| member.last_seq >= *seq)),
        }
    }

    /// Whether an archive can contain it, by what the base says of the archive.
    pub(crate) fn meets(&self, entry: &ArchiveEntry) -> bool {
        match self {
            Self::Query(query) => query.meets(&entry.summary),
            Self::From(seq) => entry.last_seq >= *seq,
            Self::Named(_) | Self::IdPrefixes(_) => true,
        }
    }

    /// Whether the archive can contain it, by its tables. True where a table is damaged: its segments are then searched.
    pub(crate) fn is_in(&self, archive: &Archive) -> bool {
        match self {
            Self::Query(query) if query.streams.is_empty() => true,
            Self::Query(query) => query.streams.iter().any(|stream| has_stream(archive, *stream)),
            Self::Named(names) => names.iter().any(|name| archive.named(name).map_or(true, |found| !found.is_empty())),
            Self::IdPrefixes(prefixes) => prefixes
                .iter()
                .any(|prefix| archive.states_from(prefix).map_or(true, |mut states| states.next().is_some())),
            Self::From(_) => true,
        }
    }

    /// The streams whose events are wanted; empty when events of any stream are.
    pub(crate) fn streams(&self) -> &[StreamId] {
        match self {
            Self::Query(query) => &query.streams,
            Self::Named(_) | Self::IdPrefixes(_) | Self::From(_) => &[],
        }
    }
}

/// Whether the archive can have events of the stream. The supervisor's own stream has no state.
fn has_stream(archive: &Archive, stream: StreamId) -> bool {
    stream.is_system() || archive.state(stream).map_or(true, |state| state.is_some())
}
