//! The writer, used by the leader of the [group commit](crate::append::group_commit): checks, numbers, writes, syncs and answers.
//!
//! No append is acknowledged before its sync has succeeded, and none after a sync has failed (law 4).

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Instant,
};

use apm2_model::{
    causes::causes,
    event::{Event, NewEvent, kind::EventKind, stream_id::StreamId},
    state::stream::Stream,
};
use nix::sys::statvfs::statvfs;

use crate::{
    append::{
        request::{AppendRequest, AppendResult, Appended, Caller},
        stream_heads::{StreamHead, StreamHeads},
    },
    chain::Chain,
    error::AppendError,
    frame::{Frame, FrameBuilder, LENGTH_LEN},
    journal::writer::JournalWriter,
    limits::{
        APPEND_BYTES_MAX, APPEND_EVENTS_MAX, COMMIT_BYTES_MAX, DISK_FREE_BYTES_MIN, INDEXER_STALL, RETRY_INTERVAL,
        SNAPSHOT_EVENTS,
    },
    read::{current_states::newer_than_snapshots, reader::Reader},
    record::{decode_event, encode_event},
    shared_state::{Commit, SharedState},
    store::{index::EventKeys, indexer::IndexerMessage},
};

/// An append that is in the commit and waits for it.
struct Accepted {
    appended: Appended,
    caller: Caller,
}

/// A commit that is being built.
struct Batch {
    builder: FrameBuilder,
    /// What each of its events is found by.
    keys: Vec<EventKeys>,
    accepted: Vec<Accepted>,
}

impl Batch {
    fn new(first_seq: u64, chain: Chain) -> Self {
        Self { builder: FrameBuilder::new(first_seq, chain), keys: Vec::new(), accepted: Vec::new() }
    }

    /// The commit that follows on this one.
    fn next(&self) -> Self {
        Self::new(self.builder.next_seq(), self.builder.chain())
    }
}

pub(crate) struct CommitWriter {
    journal: JournalWriter,
    shared: Arc<SharedState>,
    history: Reader,
    /// `None` once the store has hung: the journal is written without it.
    messages: Option<SyncSender<IndexerMessage>>,
    stream_heads: StreamHeads,
    events_since_snapshot: u64,
    /// Whether the kept folds have everything from before the ledger was opened. They have not after a kill.
    has_all_changes: bool,
    scratch: Vec<u8>,
}

impl CommitWriter {
    /// Keeps the folds of about `heads_max` idle streams in memory.
    pub(crate) fn new(
        journal: JournalWriter,
        shared: Arc<SharedState>,
        messages: SyncSender<IndexerMessage>,
        stream_heads_max: usize,
    ) -> Self {
        Self {
            journal,
            history: Reader::shared(Arc::clone(&shared)),
            shared,
            messages: Some(messages),
            stream_heads: StreamHeads::new(stream_heads_max),
            events_since_snapshot: 0,
            has_all_changes: false,
            scratch: Vec::new(),
        }
    }

    /// Makes all legal requests durable, with one sync unless they are very large, and answers each.
    pub(crate) fn serve(&mut self, requests: VecDeque<AppendRequest>) {
        let mut batch = Batch::new(self.journal.next_seq(), self.journal.chain());
        for request in requests {
            let (stream, version, new_events, caller) = request.split();
            match self.accept(stream, version, new_events, &mut batch) {
                Ok(appended) => batch.accepted.push(Accepted { appended, caller }),
                Err(error) => AppendRequest::answer(caller, Err(error)),
            }
            if batch.builder.body_len() >= COMMIT_BYTES_MAX {
                let next = batch.next();
                self.commit(std::mem::replace(&mut batch, next));
            }
        }
        self.commit(batch);
        // Only now every accepted event is in the journal, from which a dropped head can be read again.
        self.drop_idle_heads();
    }

    /// Refuses everything from now on.
    pub(crate) fn poison(&self, why: &str) {
        self.shared.poison(why.to_owned());
    }

    /// Checks an append against its stream and adds its events to the commit: all of them or none.
    fn accept(
        &mut self,
        stream: StreamId,
        version: Option<u64>,
        new_events: Vec<NewEvent>,
        batch: &mut Batch,
    ) -> AppendResult {
        if let Some(why) = self.shared.poisoned() {
            return Err(AppendError::Poisoned(why.to_string()));
        }
        check_shape(stream, &new_events)?;
        check_disk(self.shared.dir.at(), &new_events)?;
        let head = match self.stream_heads.take(stream) {
            Some(head) => head,
            None => self.load_head(stream)?,
        };
        let actual = head.version();
        if let Some(expected) = version.filter(|expected| *expected != actual) {
            self.stream_heads.put_back(stream, head);
            return Err(AppendError::Conflict { stream, expected, actual });
        }
        self.scratch.clear();
        match prepare(&head, new_events, batch.builder.next_seq(), &mut self.scratch) {
            Ok(EncodedAppend { next, events, ends }) => {
                let mut start = 0;
                for end in ends {
                    batch.builder.push(self.scratch.get(start..end).unwrap_or_default());
                    start = end;
                }
                batch.keys.extend(events.iter().map(EventKeys::from));
                let fold = next.fold().cloned();
                self.stream_heads.advance(stream, next);
                self.events_since_snapshot += events.len() as u64;
                Ok(Appended { events, stream: fold })
            }
            Err(error) => {
                self.stream_heads.put_back(stream, head);
                Err(error)
            }
        }
    }

    /// The head of a stream that is not in memory: all its events are in the journal, and readers find them whether the store
    /// has them or not.
    fn load_head(&self, stream: StreamId) -> Result<StreamHead, AppendError> {
        let history = |error| AppendError::History(Box::new(error));
        if stream.is_system() {
            return Ok(StreamHead::Counted(self.history.version(stream).map_err(history)?));
        }
        let loaded = self.history.stream(stream).map_err(history)?;
        Ok(loaded.map_or(StreamHead::Counted(0), |stream| StreamHead::Process(Arc::new(stream))))
    }

    /// Makes the commit durable, then visible, then answers.
    fn commit(&mut self, batch: Batch) {
        let Batch { builder, keys, accepted } = batch;
        if builder.is_empty() {
            return;
        }
        let (last_seq, chain) = (builder.next_seq() - 1, builder.chain());
        let bytes = builder.finish();
        // The commit is parsed as a reader would: nothing unreadable is ever acknowledged.
        let written = match Frame::parse(&bytes) {
            Ok(frame) => {
                self.journal.append(&bytes, last_seq, chain).map(|()| frame).map_err(|error| error.to_string())
            }
            Err(error) => Err(format!("a commit just built: {error}")),
        };
        match written {
            Ok(frame) => {
                let commit = Arc::new(Commit { bytes, frame, keys });
                self.shared.publish(&commit);
                for Accepted { appended, caller } in accepted {
                    AppendRequest::answer(caller, Ok(appended));
                }
                self.send_to_indexer(IndexerMessage::Commit(commit));
                if self.events_since_snapshot >= SNAPSHOT_EVENTS {
                    self.write_snapshot();
                }
            }
            Err(why) => {
                tracing::error!(%why, "the journal could not be written; the ledger is poisoned");
                let poison = self.shared.poison(why).to_string();
                for Accepted { caller, .. } in accepted {
                    AppendRequest::answer(caller, Err(AppendError::Poisoned(poison.clone())));
                }
            }
        }
    }

    /// Has the folds of the streams that changed kept.
    pub(crate) fn write_snapshot(&mut self) {
        if !self.stream_heads.have_changed() || self.shared.poisoned().is_some() {
            return;
        }
        let seq = self.journal.next_seq() - 1;
        let streams = self.changed_streams();
        self.events_since_snapshot = 0;
        // What could not be found out now, the next snapshot reads from the events: the past is still missing then.
        self.stream_heads.mark_snapshotted();
        if let Some(streams) = streams {
            self.has_all_changes = true;
            self.send_to_indexer(IndexerMessage::Snapshot { seq, streams });
        }
    }

    /// The folds that have to be kept before the kept ones can count as those after the last event; `None` where that cannot
    /// be known, and where nothing is kept any more.
    fn changed_streams(&self) -> Option<Vec<Arc<Stream>>> {
        self.shared.store()?;
        if self.has_all_changes {
            return Some(self.stream_heads.changed_folds());
        }
        // From the last snapshots: the process that wrote the events after them may have been killed.
        let changed = newer_than_snapshots(&self.history)
            .inspect_err(|error| tracing::warn!(error = %causes(error), "no snapshot was written"))
            .ok();
        changed.map(|streams| streams.into_iter().map(Arc::new).collect())
    }

    /// Drops the heads of idle streams once there are many. A snapshot of the changed folds is written before, so that little has to
    /// be read again.
    fn drop_idle_heads(&mut self) {
        if self.stream_heads.are_many() && self.shared.poisoned().is_none() {
            self.write_snapshot();
            self.stream_heads.drop_idle();
        }
    }

    /// Sends a message to the indexing thread. Waits while that is far behind, but only for a bounded time: a store that hangs must not
    /// prevent recording.
    fn send_to_indexer(&mut self, mut message: IndexerMessage) {
        let began = Instant::now();
        while let Some(messages) = &self.messages {
            match messages.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(returned)) if began.elapsed() < INDEXER_STALL => {
                    message = returned;
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(_) => {
                    tracing::error!("the store stands still; the journal goes on without it");
                    drop(self.shared.take_store());
                    self.messages = None;
                    return;
                }
            }
        }
    }
}

/// An append is some events of one stream, and system events are apart from a process's.
fn check_shape(stream: StreamId, new_events: &[NewEvent]) -> Result<(), AppendError> {
    if new_events.is_empty() {
        return Err(AppendError::Shape("no events"));
    }
    if new_events.len() > APPEND_EVENTS_MAX {
        return Err(AppendError::Shape("too many events"));
    }
    if new_events.iter().any(|new_event| new_event.stream != stream) {
        return Err(AppendError::Shape("events of several streams"));
    }
    if new_events.iter().any(|new_event| new_event.kind.is_system() != stream.is_system()) {
        return Err(AppendError::Shape("a system event in a process's stream, or the other way round"));
    }
    Ok(())
}

/// Refuses a start on a disk that is almost full, so that the end of what runs can still be recorded.
pub(crate) fn check_disk(dir: &Path, new_events: &[NewEvent]) -> Result<(), AppendError> {
    if !new_events.iter().any(|new_event| matches!(new_event.kind, EventKind::StartRequested { .. })) {
        return Ok(());
    }
    // Without a result of statvfs(3) there is no reason to refuse.
    let Ok(stat) = statvfs(dir) else { return Ok(()) };
    let free_bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
    if free_bytes < DISK_FREE_BYTES_MIN {
        return Err(AppendError::DiskLow { free_bytes, min_bytes: DISK_FREE_BYTES_MIN });
    }
    Ok(())
}

/// An append that may be written.
struct EncodedAppend {
    next: StreamHead,
    events: Vec<Event>,
    /// Where each event's bytes end in the scratch buffer.
    ends: Vec<usize>,
}

/// Numbers, encodes and folds the events. What is folded and returned is what the bytes say, so that live state and
/// replayed state cannot differ.
fn prepare(
    head: &StreamHead,
    new_events: Vec<NewEvent>,
    first_seq: u64,
    scratch: &mut Vec<u8>,
) -> Result<EncodedAppend, AppendError> {
    // The only copy that an append makes of a stream: readers may still look at the one before.
    let mut fold = head.fold().map(|stream| (**stream).clone());
    let mut version = head.version();
    let (mut events, mut ends) = (Vec::with_capacity(new_events.len()), Vec::with_capacity(new_events.len()));
    for (new_event, seq) in new_events.into_iter().zip(first_seq..) {
        version += 1;
        let start = scratch.len();
        encode_event(&new_event.numbered(seq, version), scratch)?;
        let event = decode_event(seq, scratch.get(start..).unwrap_or_default())?;
        if !event.stream.is_system() {
            let illegal = |source| AppendError::Illegal { kind: event.kind.name(), source };
            match &mut fold {
                Some(stream) => stream.apply(&event).map_err(illegal)?,
                None => fold = Some(Stream::begin(&event).map_err(illegal)?),
            }
        }
        ends.push(scratch.len());
        events.push(event);
    }
    if scratch.len() + ends.len() * LENGTH_LEN > APPEND_BYTES_MAX {
        return Err(AppendError::Shape("too many bytes"));
    }
    if let Some(number) = fold.as_ref().and_then(Stream::broken_invariant) {
        return Err(AppendError::Invariant(number));
    }
    let next = fold.map_or(StreamHead::Counted(version), |stream| StreamHead::Process(Arc::new(stream)));
    Ok(EncodedAppend { next, events, ends })
}
