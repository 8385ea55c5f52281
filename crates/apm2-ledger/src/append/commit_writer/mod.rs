//! The commit writer: checks and numbers the events of the waiting requests, writes them as one commit, syncs the
//! commit and answers the callers.
//!
//! The leader of the [group commit](crate::append::group_commit) uses it. An append is acknowledged only after its sync
//! has succeeded; after a failed sync, no append is acknowledged.

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Instant,
};

use crate::{
    append::{
        encoded_append::EncodedAppend,
        request::{Answer, AppendRequest, AppendResult, Appended, Caller, RequestedEvents},
        stream_heads::{StreamHead, StreamHeads},
    },
    chain::Chain,
    error::{AppendError, ReadError},
    frame::{Frame, FrameBuilder},
    journal::{base::Base, segments::base_error, writer::JournalWriter},
    limits::{COMMIT_BYTES_MAX, FRAME_BYTES_MAX, INDEXER_STALL, RETRY_INTERVAL, SNAPSHOT_EVENTS},
    read::{current_states::newer_than_snapshots, reader::Reader},
    shared_state::{Commit, SharedState},
    store::{index::EventKeys, indexer::IndexerMessage},
};
use apm2_model::{causes::causes, event::stream_id::StreamId, state::stream::Stream};

/// An append whose events are in the current commit. Its caller is answered when the commit is durable.
struct Accepted {
    appended: Appended,
    caller: Caller,
}

/// A commit that is being built.
struct Batch {
    builder: FrameBuilder,
    /// The index keys of each event in the commit.
    keys: Vec<EventKeys>,
    accepted: Vec<Accepted>,
}

impl Batch {
    fn new(first_seq: u64, chain: Chain) -> Self {
        Self { builder: FrameBuilder::new(first_seq, chain), keys: Vec::new(), accepted: Vec::new() }
    }

    /// An empty commit that follows this one in sequence number and hash chain.
    fn next(&self) -> Self {
        Self::new(self.builder.next_seq(), self.builder.chain())
    }
}

pub(crate) struct CommitWriter {
    journal: JournalWriter,
    shared: Arc<SharedState>,
    history: Reader,
    /// Channel to the indexing thread. `None` after the store has stopped responding; then the journal is written
    /// without it.
    messages: Option<SyncSender<IndexerMessage>>,
    /// Acknowledged commits that were not sent to the indexing thread yet, and the length of their frames in bytes.
    unsent: Vec<Arc<Commit>>,
    unsent_bytes: usize,
    stream_heads: StreamHeads,
    events_since_snapshot: u64,
    /// Whether the snapshots and [`StreamHeads`] together contain all changes from before the ledger was opened. This
    /// is false after a crash, until the first snapshot is written.
    has_all_changes: bool,
}

impl CommitWriter {
    /// Creates a writer that caches the state of about `stream_heads_max` idle streams in memory.
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
            unsent: Vec::new(),
            unsent_bytes: 0,
            stream_heads: StreamHeads::new(stream_heads_max),
            events_since_snapshot: 0,
            has_all_changes: false,
        }
    }

    /// Makes the events of all valid requests durable, and returns the answer to each request. Uses one sync, unless the
    /// events need more than one commit of [`COMMIT_BYTES_MAX`].
    #[must_use = "the callers wait for their answers"]
    pub(crate) fn serve(&mut self, requests: VecDeque<AppendRequest>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut batch = Batch::new(self.journal.next_seq(), self.journal.chain());
        for AppendRequest { stream, events, caller } in requests {
            match self.accept(stream, events, &mut batch) {
                Ok(appended) => batch.accepted.push(Accepted { appended, caller }),
                Err(error) => answers.push(Answer { caller, result: Err(error) }),
            }
            if batch.builder.body_len() >= COMMIT_BYTES_MAX {
                let next = batch.next();
                self.commit(std::mem::replace(&mut batch, next), &mut answers);
            }
        }
        self.commit(batch, &mut answers);
        // The cache is reduced only after the commit, because a dropped stream state is read again from the journal,
        // which must contain all accepted events.
        self.drop_idle_heads();
        answers
    }

    /// Marks the ledger as poisoned: it refuses all further appends, with the reason `why`.
    pub(crate) fn poison(&self, why: &str) {
        self.shared.poison(why.to_owned());
    }

    /// Checks an append against the state of its stream and adds its events to the commit. Either all events are added
    /// or none.
    fn accept(&mut self, stream: StreamId, events: RequestedEvents, batch: &mut Batch) -> AppendResult {
        if let Some(why) = self.shared.poisoned() {
            return Err(AppendError::Poisoned(why.to_string()));
        }
        let head = match self.stream_heads.take(stream) {
            Some(head) => head,
            None => self.load_head(stream)?,
        };
        match prepare(stream, &head, events, batch.builder.next_seq()) {
            Ok((encoded, next)) => {
                for bytes in encoded.each_bytes() {
                    batch.builder.push(bytes);
                }
                let events = encoded.events;
                batch.keys.extend(events.iter().map(EventKeys::from));
                let state = next.state().cloned();
                self.stream_heads.advance(stream, next);
                self.events_since_snapshot += events.len() as u64;
                Ok(Appended { events, stream: state })
            }
            Err(error) => {
                self.stream_heads.put_back(stream, head);
                Err(error)
            }
        }
    }

    /// Reads the state of a stream that is not in the cache. All its events are in the journal, so the reader finds
    /// them even if the store does not contain them yet.
    fn load_head(&self, stream: StreamId) -> Result<StreamHead, AppendError> {
        let history = |error| AppendError::History(Box::new(error));
        if stream.is_system() {
            return Ok(StreamHead::EventCount(self.history.version(stream).map_err(history)?));
        }
        let loaded = match (self.history.stream(stream), &self.shared.base) {
            (loaded, Some(base)) => self.check_not_retained(base, stream, loaded)?,
            (loaded, None) => loaded.map_err(history)?,
        };
        Ok(loaded.map_or(StreamHead::EventCount(0), |stream| StreamHead::Process(Arc::new(stream))))
    }

    /// Refuses an append to a stream that is in an archive and can have no later events. `loaded` is the state of the stream. A
    /// stream that is not found counts as new when an archive is missing.
    fn check_not_retained(
        &self,
        base: &Base,
        stream: StreamId,
        loaded: Result<Option<Stream>, ReadError>,
    ) -> Result<Option<Stream>, AppendError> {
        let history = |error| AppendError::History(Box::new(error));
        let is_kept = || base.state(stream).map_err(|error| history(base_error(&self.shared.dir, error)));
        match loaded {
            Ok(Some(state)) if state.last_seq <= base.seq() && is_kept()?.is_none() => {
                Err(AppendError::Retained { stream })
            }
            Err(error @ ReadError::ArchiveMissing { .. }) if is_kept()?.is_none() => {
                tracing::warn!(%error, "the id of a new process cannot be compared with those in the archive");
                Ok(None)
            }
            loaded => loaded.map_err(history),
        }
    }

    /// Makes the commit durable, and then visible to readers. Adds the answers to the callers.
    fn commit(&mut self, batch: Batch, answers: &mut Vec<Answer>) {
        let Batch { builder, keys, accepted } = batch;
        if builder.is_empty() {
            return;
        }
        let (last_seq, chain) = (builder.next_seq() - 1, builder.chain());
        let bytes = builder.finish();
        // The commit is parsed before it is written, so that a commit that cannot be read is never acknowledged.
        let written = match Frame::parse(&bytes) {
            Ok(frame) => {
                self.journal.append(&bytes, last_seq, chain).map(|()| frame).map_err(|error| error.to_string())
            }
            Err(error) => Err(format!("the new commit cannot be parsed: {error}")),
        };
        match written {
            Ok(frame) => {
                let commit = Arc::new(Commit { bytes, frame, keys });
                self.shared.publish(&commit);
                answers.extend(
                    accepted.into_iter().map(|Accepted { appended, caller }| Answer { caller, result: Ok(appended) }),
                );
                self.index(commit);
                if self.events_since_snapshot >= SNAPSHOT_EVENTS {
                    self.write_snapshot();
                }
            }
            Err(why) => {
                tracing::error!(%why, "the journal could not be written; the ledger is poisoned");
                let poison = self.shared.poison(why).to_string();
                let poisoned = || Err(AppendError::Poisoned(poison.clone()));
                answers
                    .extend(accepted.into_iter().map(|Accepted { caller, .. }| Answer { caller, result: poisoned() }));
            }
        }
    }

    /// Adds a commit to those that are sent to the indexing thread. Sends them when they fill a frame of the store, so
    /// that the thread is not woken for each append.
    fn index(&mut self, commit: Arc<Commit>) {
        self.unsent_bytes += commit.bytes.len();
        self.unsent.push(commit);
        if self.unsent_bytes >= FRAME_BYTES_MAX || self.shared.take_signal_request() {
            self.send_commits();
        }
    }

    /// Sends all acknowledged commits to the indexing thread.
    pub(crate) fn send_commits(&mut self) {
        self.unsent_bytes = 0;
        if !self.unsent.is_empty() {
            let commits = std::mem::take(&mut self.unsent);
            self.send_to_indexer(IndexerMessage::Commits(commits));
        }
    }

    /// Sends a snapshot of all streams that changed since the last snapshot to the indexing thread.
    pub(crate) fn write_snapshot(&mut self) {
        if !self.stream_heads.have_changed() || self.shared.poisoned().is_some() {
            return;
        }
        let seq = self.journal.next_seq() - 1;
        let streams = self.changed_streams();
        self.events_since_snapshot = 0;
        // When the changed streams cannot be determined now, the next snapshot includes their changes: it replays the
        // events since the last complete snapshot, because `has_all_changes` is still false.
        self.stream_heads.mark_snapshotted();
        if let Some(streams) = streams {
            self.has_all_changes = true;
            self.send_commits();
            self.send_to_indexer(IndexerMessage::Snapshot { seq, streams });
        }
    }

    /// The states of all streams that changed since the last snapshot. `None` when the store is not in use or the
    /// states cannot be read.
    fn changed_streams(&self) -> Option<Vec<Arc<Stream>>> {
        self.shared.store()?;
        if self.has_all_changes {
            return Some(self.stream_heads.changed_states());
        }
        // The changes since the last snapshot are read from the events, because a crash may have prevented a snapshot
        // of the events that an earlier process wrote.
        let changed = newer_than_snapshots(&self.history)
            .inspect_err(|error| tracing::warn!(error = %causes(error), "no snapshot was written"))
            .ok();
        changed.map(|streams| streams.into_iter().map(Arc::new).collect())
    }

    /// Drops the cached states of idle streams when the cache is too large. Writes a snapshot first, so that a dropped
    /// state can be read again with few events to replay.
    fn drop_idle_heads(&mut self) {
        if self.stream_heads.are_too_many() && self.shared.poisoned().is_none() {
            self.write_snapshot();
            self.stream_heads.drop_idle();
        }
    }

    /// Sends a message to the indexing thread. If its queue is full, waits for at most [`INDEXER_STALL`], because a
    /// store that hangs must not prevent recording.
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
                    tracing::error!("the store does not respond; recording continues in the journal only");
                    drop(self.shared.take_store());
                    self.messages = None;
                    return;
                }
            }
        }
    }
}

/// Numbers the events, and applies them to the state `head` of their stream. Returns them with the state after them.
fn prepare(
    stream: StreamId,
    head: &StreamHead,
    events: RequestedEvents,
    first_seq: u64,
) -> Result<(EncodedAppend, StreamHead), AppendError> {
    let actual = head.version();
    let mut encoded = match events {
        RequestedEvents::Encoded { version, .. } if version != actual => {
            return Err(AppendError::Conflict { stream, expected: version, actual });
        }
        RequestedEvents::Encoded { events, .. } => events,
        RequestedEvents::AnyVersion(new_events) => EncodedAppend::new(new_events, actual)?,
    };
    // The stream state is copied before it is modified, because readers may still use the current state.
    let mut state = head.state().map(|stream| (**stream).clone());
    for (event, seq) in encoded.events.iter_mut().zip(first_seq..) {
        event.seq = seq;
        if !stream.is_system() {
            let illegal = |source| AppendError::Illegal { kind: event.kind.name(), source };
            match &mut state {
                Some(stream) => stream.apply(event).map_err(illegal)?,
                None => state = Some(Stream::begin(event).map_err(illegal)?),
            }
        }
    }
    if let Some(number) = state.as_ref().and_then(Stream::broken_invariant) {
        return Err(AppendError::Invariant(number));
    }
    let version = actual + encoded.events.len() as u64;
    let next = state.map_or(StreamHead::EventCount(version), |stream| StreamHead::Process(Arc::new(stream)));
    Ok((encoded, next))
}
