//! The last events that a query accepts, read from the end of the journal backwards.

use std::{collections::VecDeque, io};

use apm2_model::event::Event;

use crate::{
    error::ReadError,
    journal::{
        event_batch::EventBatch,
        reader::{JournalReader, header_damage, not_a_file_damage, sealed_damage},
        sealed::reader::SealedSegment,
        sealed_cursor::SealedCursor,
        segment_file::SegmentFile,
    },
    read::{query::EventQuery, reader::Reader},
    record::decode_event,
};

/// The batches of one segment that were not read yet. They are read from the last one backwards.
enum Batches {
    Plain(Vec<EventBatch>),
    Sealed(Box<SealedCursor>),
}

impl Reader {
    /// The last `max` events, up to event `last`, that `query` accepts, in the order of the ledger.
    ///
    /// # Errors
    /// When events cannot be read.
    pub fn last_events(&self, query: &EventQuery, last: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        let mut found = VecDeque::new();
        // The first event that was read already, of the segments after the current one.
        let mut end_seq = last.min(self.visible()).saturating_add(1);
        for file in self.segment_files()?.iter().rev() {
            let start = file.start().map_err(|error| self.segment_error(file, error))?;
            let start = start.map_err(|error| header_damage(file.number, error, end_seq.saturating_sub(1)))?;
            if start.first_seq >= end_seq {
                continue;
            }
            let mut batches = self.batches(file, start.first_seq, end_seq, query)?;
            while let Some(batch) = self.previous(&mut batches, file)? {
                collect(&batch, query, end_seq, max, &mut found)?;
                if found.len() >= max {
                    return Ok(found.into());
                }
            }
            end_seq = start.first_seq;
        }
        if end_seq > 1 { Err(ReadError::Gap { seq: 1 }) } else { Ok(found.into()) }
    }

    fn batches(
        &self,
        file: &SegmentFile,
        first_seq: u64,
        end_seq: u64,
        query: &EventQuery,
    ) -> Result<Batches, ReadError> {
        if file.is_sealed {
            let cursor = SealedSegment::open(&file.path).and_then(|segment| SealedCursor::new(segment, query, 1));
            return cursor.map(|cursor| Batches::Sealed(Box::new(cursor))).map_err(|error| {
                sealed_damage(file.number, (first_seq, first_seq), error)
                    .map_or_else(|error| self.segment_error(file, error), ReadError::Damaged)
            });
        }
        let mut reader = JournalReader::of_query(self.dir(), first_seq, query.clone())?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next_batch()?.filter(|batch| batch.first_seq() < end_seq) {
            batches.push(batch);
        }
        Ok(Batches::Plain(batches))
    }

    fn previous(&self, batches: &mut Batches, file: &SegmentFile) -> Result<Option<EventBatch>, ReadError> {
        match batches {
            Batches::Plain(batches) => Ok(batches.pop()),
            Batches::Sealed(cursor) => cursor.next_batch_back().map_err(|error| {
                let seqs = (cursor.first_seq(), cursor.end_seq() - 1);
                sealed_damage(file.number, seqs, error)
                    .map_or_else(|error| self.segment_error(file, error), ReadError::Damaged)
            }),
        }
    }

    fn segment_error(&self, file: &SegmentFile, source: io::Error) -> ReadError {
        let path = self.dir().shown(&file.path);
        not_a_file_damage(file.number, 1, &source).map_or(ReadError::Io { path, source }, ReadError::Damaged)
    }
}

/// Adds the events of the batch that `query` accepts and that are before event `end_seq` to the front of `found`, until
/// it has `max`.
fn collect(
    batch: &EventBatch,
    query: &EventQuery,
    end_seq: u64,
    max: usize,
    found: &mut VecDeque<Event>,
) -> Result<(), ReadError> {
    for (seq, bytes) in batch.iter().rev().skip_while(|(seq, _)| *seq >= end_seq) {
        let unreadable = |source| ReadError::Record { seq, source };
        if found.len() >= max {
            break;
        }
        if query.accepts_stream_of(bytes).map_err(unreadable)? {
            let event = decode_event(seq, bytes).map_err(unreadable)?;
            if query.accepts(&event) {
                found.push_front(event);
            }
        }
    }
    Ok(())
}
