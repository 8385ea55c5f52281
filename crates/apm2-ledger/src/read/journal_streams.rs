//! Finds streams in the journal by process name or id: by the index of each sealed segment, and by the events of the other
//! segments.

use std::collections::BTreeSet;

use apm2_model::{
    event::{kind::EventKind, stream_id::StreamId},
    spec::id::ProcessId,
};

use crate::{
    error::ReadError,
    journal::{
        reader::{header_damage, not_a_file_damage},
        segment_file::SegmentFile,
        segment_walk::SegmentWalk,
        segments::Segments,
        wanted::Wanted,
    },
    read::{events::Events, query::Direction, reader::Reader},
};

impl Reader {
    /// The streams of the processes that have had one of the names `names`, and of those whose id begins with `id_prefix`.
    /// At most `max` are taken from one segment for one process or prefix.
    pub(crate) fn streams_in_journal(
        &self,
        names: &[&str],
        id_prefix: Option<&[u8]>,
        max: usize,
    ) -> Result<BTreeSet<StreamId>, ReadError> {
        let base = self.base()?.map_or((0, 0), |base| (base.number(), base.seq()));
        // The archives are searched after the journal, see `find`.
        let segments = Segments::list(self.dir(), &Wanted::From(base.1 + 1), (base.1 + 1, u64::MAX))?;
        let files = &segments.files;
        // A name may be recorded only in a segment that is missing.
        segments.check_all(base.0 + 1, files.last().map_or(1, |file| file.number), base.1 + 1)?;
        let (mut processes, mut found) = (BTreeSet::new(), BTreeSet::new());
        let mut scanned = BTreeSet::new();
        for at in segments_with(&segments, Wanted::Named(names.iter().map(|name| (*name).to_owned()).collect())) {
            if let Some(named) = files.get(at).and_then(|file| named_in(file, names)) {
                processes.extend(named);
                continue;
            }
            scanned.insert(at);
            for event in self.events_of(files, at)? {
                let event = event?;
                found.insert(event.stream);
                if let EventKind::Registered { spec } | EventKind::SpecChanged { spec } = &event.kind
                    && names.contains(&spec.name.as_str())
                {
                    processes.insert(spec.id);
                }
            }
        }
        let prefixes: Vec<&[u8]> = processes.iter().map(|id| id.as_bytes().as_slice()).chain(id_prefix).collect();
        let wanted = Wanted::IdPrefixes(prefixes.iter().map(|prefix| prefix.to_vec()).collect());
        for at in segments_with(&segments, wanted).filter(|at| !scanned.contains(at)) {
            match files.get(at).and_then(|file| streams_in(file, &prefixes, max)) {
                Some(streams) => found.extend(streams),
                // The index is damaged, or the segment is not sealed.
                None => {
                    for event in self.events_of(files, at)? {
                        found.insert(event?.stream);
                    }
                }
            }
        }
        found.retain(|stream| {
            prefixes.iter().any(|prefix| stream.process_id.as_bytes().starts_with(prefix)) && !stream.is_system()
        });
        Ok(found)
    }

    /// The events of the segment at index `at` of `files`.
    fn events_of(&self, files: &[SegmentFile], at: usize) -> Result<Events, ReadError> {
        let first_seq = |file: &SegmentFile| match file.start() {
            Ok(Ok(start)) => Ok(start.first_seq),
            Ok(Err(error)) => Err(header_damage(file.number, error, 1).into()),
            Err(source) => Err(match not_a_file_damage(file.number, 1, &source) {
                Some(damage) => damage.into(),
                None => ReadError::Io { path: self.dir().shown(&file.path), source },
            }),
        };
        let first = files.get(at).map_or(Ok(1), first_seq)?;
        let end = self.ledger_head().end();
        let last = files.get(at + 1).map(first_seq).transpose()?.map_or(end, |next| next.saturating_sub(1));
        Ok(self.events(first, last))
    }
}

/// The indexes of the segments that can contain what is wanted.
fn segments_with(segments: &Segments, wanted: Wanted) -> impl Iterator<Item = usize> {
    let files = &segments.files;
    let last = files.last().map_or(0, |file| file.number);
    let walk = SegmentWalk::new(segments, (1, last), Direction::Forwards, wanted);
    walk.filter_map(|number| files.binary_search_by_key(&number, |file| file.number).ok())
}

/// The processes that got one of the names in the segment. `None` for a segment without an index.
fn named_in(file: &SegmentFile, names: &[&str]) -> Option<Vec<ProcessId>> {
    let segment = file.open().ok().filter(|_| file.is_sealed)?;
    let mut found = Vec::new();
    for name in names {
        found.extend(segment.named(name).ok()?);
    }
    Some(found)
}

/// The streams in the segment whose process id begins with one of the prefixes. `None` when the index is damaged.
fn streams_in(file: &SegmentFile, prefixes: &[&[u8]], max: usize) -> Option<Vec<StreamId>> {
    let segment = file.open().ok()?;
    let mut found = Vec::new();
    for prefix in prefixes {
        found.extend(segment.streams(prefix, max).ok()?.into_iter().map(|entry| entry.stream));
    }
    Some(found)
}
