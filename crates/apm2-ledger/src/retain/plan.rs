//! Which segments move into an archive.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use apm2_model::spec::id::ProcessId;

use crate::{
    dir::LedgerDir,
    error::ReadError,
    file,
    journal::{
        JOURNAL_DIR,
        archive::form::ArchiveHeader,
        base::{ArchiveEntry, Base},
        plain_segment::PlainSegment,
        reader::{header_damage, sealed_damage},
        sealed::{block_table::BlockSummary, error::SealedError},
        segment_file::{SegmentFile, segment_files},
        segments::base_error,
    },
    limits::ARCHIVES_MAX,
    record::peek_stream,
    retain::error::RetainError,
};

/// The segments that move, and the others.
pub(crate) struct Plan {
    pub(crate) base: Option<Base>,
    /// The segments that move, in order.
    pub(crate) moved: Vec<SegmentFile>,
    /// The segments that stay.
    pub(crate) rest: Vec<SegmentFile>,
    pub(crate) header: ArchiveHeader,
    pub(crate) summary: BlockSummary,
    /// Bytes of the segments that move.
    pub(crate) bytes: u64,
}

impl Plan {
    /// The leading sealed segments whose latest event is before the time `before_ns`. `None` when there are none.
    pub(crate) fn find(dir: &Arc<LedgerDir>, before_ns: i64) -> Result<Option<Self>, RetainError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let base = Base::read(&journal).map_err(|error| base_error(dir, error))?;
        if base.as_ref().is_some_and(|base| base.archives.len() >= ARCHIVES_MAX) {
            return Err(RetainError::TooMany);
        }
        let mut files = segment_files(&journal).map_err(RetainError::io(dir.shown(&journal)))?;
        let (mut header, mut summary, mut bytes): (Option<ArchiveHeader>, _, _) = (None, BlockSummary::EMPTY, 0);
        let mut count = 0;
        // The last segment stays, so that the journal has one.
        for file in files.iter().take(files.len().saturating_sub(1)).take_while(|file| file.is_sealed) {
            let error = |error| sealed_error(dir, file, error);
            let segment = file.open().map_err(error)?;
            let blocks = segment.blocks().map_err(error)?;
            let chain_after = segment.chain_after().map_err(error)?;
            let found =
                blocks.entries().iter().map(|block| block.summary).fold(BlockSummary::EMPTY, BlockSummary::union);
            if !blocks.is_indexed() || found.max_wall_ns >= before_ns {
                break;
            }
            let start = segment.header();
            let (last_number, last_seq) = (start.number, start.last_seq());
            header = Some(match header {
                Some(header) => ArchiveHeader { last_number, last_seq, chain_after, ..header },
                None => ArchiveHeader {
                    ledger: start.ledger,
                    first_number: start.number,
                    last_number,
                    first_seq: start.first_seq,
                    last_seq,
                    chain_before: start.chain_before,
                    chain_after,
                },
            });
            summary = summary.union(found);
            bytes += file.path.metadata().map_err(RetainError::io(dir.shown(&file.path)))?.len();
            count += 1;
        }
        let rest = files.split_off(count);
        Ok(header.map(|header| Self { base, moved: files, rest, header, summary, bytes }))
    }

    /// The archives of the ledger before, and the new one.
    pub(crate) fn entries(&self, gone: u64) -> Vec<ArchiveEntry> {
        let ArchiveHeader { first_number, last_number, first_seq, last_seq, chain_after, .. } = self.header;
        let new =
            ArchiveEntry { first_number, last_number, first_seq, last_seq, summary: self.summary, gone, chain_after };
        self.base.iter().flat_map(|base| base.archives.clone()).chain([new]).collect()
    }

    /// The processes with events in the segments that stay.
    pub(crate) fn later_processes(&self, dir: &LedgerDir) -> Result<HashSet<ProcessId>, RetainError> {
        let mut found = HashSet::new();
        for file in &self.rest {
            if file.is_sealed {
                let error = |error| sealed_error(dir, file, error);
                let segment = file.open().map_err(error)?;
                for entry in segment.streams_from(&[]).map_err(error)? {
                    found.insert(entry.map_err(error)?.stream.process_id);
                }
                continue;
            }
            let bytes = file::read(&file.path).map_err(RetainError::io(dir.shown(&file.path)))?;
            let segment =
                PlainSegment::parse(bytes, true, false).map_err(|error| header_damage(file.number, error, 1))?;
            for batch in segment.commits() {
                for (seq, bytes) in batch.iter() {
                    let stream = peek_stream(bytes).map_err(|source| ReadError::Record { seq, source })?;
                    found.insert(stream.process_id);
                }
            }
        }
        Ok(found)
    }

    /// The keys of the names that processes got in the segments that move.
    pub(crate) fn names(&self, dir: &LedgerDir) -> Result<BTreeSet<Vec<u8>>, RetainError> {
        let mut found = BTreeSet::new();
        for file in &self.moved {
            let error = |error| sealed_error(dir, file, error);
            for name in file.open().map_err(error)?.names().map_err(error)? {
                found.insert(name.map_err(error)?);
            }
        }
        Ok(found)
    }
}

fn sealed_error(dir: &LedgerDir, file: &SegmentFile, error: SealedError) -> RetainError {
    match sealed_damage(file.number, (1, 1), error) {
        Ok(damage) => damage.into(),
        Err(error) => RetainError::io(dir.shown(&file.path))(error),
    }
}
