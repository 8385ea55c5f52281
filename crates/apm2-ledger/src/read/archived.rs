//! Streams that are in the archives and not in the store.

use std::{collections::BTreeSet, fs, io, ops::ControlFlow, path::PathBuf};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::{
        archive::reader::{Archive, ArchivedState},
        base::{ArchiveEntry, Base},
        segments::{archive_error, archive_path, base_error, open_archive},
    },
    read::{read_ledger::StreamAt, reader::Reader},
    record::decode_stream,
};

/// An archive that was moved away or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingArchive {
    /// The path of the file.
    pub path: PathBuf,
    /// The sequence number of its first event.
    pub first_seq: u64,
    /// The sequence number of its last event.
    pub last_seq: u64,
}

impl Reader {
    /// The state after event `seq` of a stream without events in the store.
    pub(crate) fn archived_state(&self, base: &Base, id: StreamId, seq: u64) -> Result<Option<Stream>, ReadError> {
        let in_base = base.state(id).map_err(|error| base_error(self.dir(), error))?;
        let kept = in_base.and_then(|bytes| decode_stream(&bytes).ok());
        if let Some(state) = kept.filter(|_| seq >= base.seq()) {
            return Ok(Some(state));
        }
        let mut failed = None;
        for entry in base.archives.iter().rev().filter(|entry| entry.first_seq <= seq) {
            let found = self
                .archive(entry)
                .and_then(|archive| archive.state(id).map_err(|error| archive_error(self.dir(), entry, error)));
            match found {
                Ok(None) => {}
                Ok(Some(found)) => return self.state_at(&found, seq),
                // The stream may be in another archive.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The state after event `seq` of the stream, whose state at the end of an archive is `found`.
    fn state_at(&self, found: &ArchivedState, seq: u64) -> Result<Option<Stream>, ReadError> {
        let id = found.stream;
        let last = decode_stream(&found.record).ok().filter(|state| state.id == id && state.last_seq <= seq);
        if found.is_gone && last.is_some() {
            return Ok(last);
        }
        self.journal_state(StreamAt { id, seq })
    }

    /// The states of the streams in the archives that may be meant by one of the names or by the prefix of a process id. At most
    /// `max` are taken from one archive for one process or prefix.
    pub(crate) fn archived_candidates(
        &self,
        base: &Base,
        names: &[&str],
        id_prefix: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Stream>, ReadError> {
        let (mut ids, mut failed) = (BTreeSet::new(), None);
        let mut processes = BTreeSet::new();
        for entry in base.archives.iter().rev() {
            let archive = match self.archive(entry) {
                Ok(archive) => archive,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            let error = |error| archive_error(self.dir(), entry, error);
            for name in names {
                processes.extend(archive.named(name).map_err(error)?);
            }
            let prefixes = processes.iter().map(|id| id.as_bytes().as_slice()).chain(id_prefix);
            for prefix in prefixes {
                for state in archive.states_from(prefix).map_err(error)?.take(max) {
                    ids.insert(state.map_err(error)?.stream);
                }
            }
        }
        match failed {
            Some(error) if ids.is_empty() => Err(error),
            _ => self.streams_at_head(ids),
        }
    }

    /// Calls `visit` with the state of each retained stream: of those in archives that can have no later events. They are in the
    /// order of the archives and, of one archive, in that of their ids, until `visit` returns `Break`.
    ///
    /// # Errors
    /// When an archive is missing or cannot be read.
    pub fn each_retained(&self, visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
        self.each_retained_since(1, visit)
    }

    /// Like [`each_retained`](Self::each_retained), for the streams that have events from event `since` on. Reads no archive that
    /// ends before that event.
    pub(crate) fn each_retained_since(
        &self,
        since: u64,
        mut visit: impl FnMut(Stream) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let Some(base) = self.base()? else { return Ok(()) };
        for entry in base.archives.iter().filter(|entry| entry.last_seq >= since) {
            let archive = self.archive(entry)?;
            let error = |error| archive_error(self.dir(), entry, error);
            for state in archive.states_from(&[]).map_err(error)? {
                self.check_cancelled()?;
                let state = state.map_err(error)?;
                if !state.is_gone {
                    continue;
                }
                if let Some(stream) = self.state_at(&state, entry.last_seq)?
                    && stream.last_seq >= since
                    && visit(stream).is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The archives whose files do not exist, in the order of their events.
    ///
    /// # Errors
    /// When the base of the journal cannot be read.
    pub fn missing_archives(&self) -> Result<Vec<MissingArchive>, ReadError> {
        let Some(base) = self.base()? else { return Ok(Vec::new()) };
        let of_entry = |entry: &ArchiveEntry| {
            let path = archive_path(self.dir(), entry);
            let is_missing = fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            let (first_seq, last_seq) = (entry.first_seq, entry.last_seq);
            is_missing.then(|| MissingArchive { path: self.dir().shown(&path), first_seq, last_seq })
        };
        Ok(base.archives.iter().filter_map(of_entry).collect())
    }

    /// Opens an archive.
    fn archive(&self, entry: &ArchiveEntry) -> Result<Archive, ReadError> {
        open_archive(&archive_path(self.dir(), entry), entry).map_err(|error| archive_error(self.dir(), entry, error))
    }
}
