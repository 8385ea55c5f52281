//! The writer, used by the leader of the [group commit](crate::queue): checks, numbers, writes, syncs and answers.
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
    chain::Chain,
    error::AppendError,
    feeder::Feed,
    folds::unkept,
    frame::{Frame, FrameBuilder, LENGTH_LEN},
    heads::{Heads, StreamHead},
    index::EventKeys,
    journal::writer::JournalWriter,
    limits::{
        APPEND_BYTES_MAX, APPEND_EVENTS_MAX, COMMIT_BYTES_MAX, DISK_FREE_BYTES_MIN, FEED_STALL, RETRY_INTERVAL,
        SNAPSHOT_EVENTS,
    },
    live::{Commit, Live},
    reader::Reader,
    record::{decode_event, encode_event},
    request::{Answer, Appended, Caller, Request},
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

pub(crate) struct Writer {
    journal: JournalWriter,
    live: Arc<Live>,
    history: Reader,
    /// `None` once the store has hung: the journal is written without it.
    feeds: Option<SyncSender<Feed>>,
    heads: Heads,
    unkept: u64,
    /// Whether the kept folds have everything from before the ledger was opened. They have not after a kill.
    has_past: bool,
    scratch: Vec<u8>,
}

impl Writer {
    /// Keeps the folds of about `heads_max` idle streams in memory.
    pub(crate) fn new(journal: JournalWriter, live: Arc<Live>, feeds: SyncSender<Feed>, heads_max: usize) -> Self {
        Self {
            journal,
            history: Reader::live(Arc::clone(&live)),
            live,
            feeds: Some(feeds),
            heads: Heads::new(heads_max),
            unkept: 0,
            has_past: false,
            scratch: Vec::new(),
        }
    }

    /// Makes all legal requests durable, with one sync unless they are very large, and answers each.
    pub(crate) fn serve(&mut self, requests: VecDeque<Request>) {
        let mut batch = Batch::new(self.journal.next_seq(), self.journal.chain());
        for request in requests {
            let (stream, version, drafts, caller) = request.split();
            match self.accept(stream, version, drafts, &mut batch) {
                Ok(appended) => batch.accepted.push(Accepted { appended, caller }),
                Err(error) => Request::answer(caller, Err(error)),
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
        self.live.poison(why.to_owned());
    }

    /// Checks an append against its stream and adds its events to the commit: all of them or none.
    fn accept(&mut self, stream: StreamId, version: Option<u64>, drafts: Vec<NewEvent>, batch: &mut Batch) -> Answer {
        if let Some(why) = self.live.poisoned() {
            return Err(AppendError::Poisoned(why.to_string()));
        }
        check_shape(stream, &drafts)?;
        check_disk(self.live.dir.at(), &drafts)?;
        let head = match self.heads.take(stream) {
            Some(head) => head,
            None => self.load_head(stream)?,
        };
        let actual = head.version();
        if let Some(expected) = version.filter(|expected| *expected != actual) {
            self.heads.put_back(stream, head);
            return Err(AppendError::Conflict { stream, expected, actual });
        }
        self.scratch.clear();
        match prepare(&head, drafts, batch.builder.next_seq(), &mut self.scratch) {
            Ok(Prepared { next, events, ends }) => {
                let mut start = 0;
                for end in ends {
                    batch.builder.push(self.scratch.get(start..end).unwrap_or_default());
                    start = end;
                }
                batch.keys.extend(events.iter().map(EventKeys::from));
                let fold = next.fold().cloned();
                self.heads.advance(stream, next);
                self.unkept += events.len() as u64;
                Ok(Appended { events, stream: fold })
            }
            Err(error) => {
                self.heads.put_back(stream, head);
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
                self.live.publish(&commit);
                for Accepted { appended, caller } in accepted {
                    Request::answer(caller, Ok(appended));
                }
                self.feed(Feed::Commit(commit));
                if self.unkept >= SNAPSHOT_EVENTS {
                    self.keep_snapshot();
                }
            }
            Err(why) => {
                tracing::error!(%why, "the journal could not be written; the ledger is poisoned");
                let poison = self.live.poison(why).to_string();
                for Accepted { caller, .. } in accepted {
                    Request::answer(caller, Err(AppendError::Poisoned(poison.clone())));
                }
            }
        }
    }

    /// Has the folds of the streams that changed kept.
    pub(crate) fn keep_snapshot(&mut self) {
        if !self.heads.have_changed() || self.live.poisoned().is_some() {
            return;
        }
        let seq = self.journal.next_seq() - 1;
        let streams = self.unkept_streams();
        self.unkept = 0;
        // What could not be found out now, the next snapshot reads from the events: the past is still missing then.
        self.heads.are_kept();
        if let Some(streams) = streams {
            self.has_past = true;
            self.feed(Feed::Snapshot { seq, streams });
        }
    }

    /// The folds that have to be kept before the kept ones can count as those after the last event; `None` where that cannot
    /// be known, and where nothing is kept any more.
    fn unkept_streams(&self) -> Option<Vec<Arc<Stream>>> {
        self.live.store()?;
        if self.has_past {
            return Some(self.heads.changed_folds());
        }
        // From the last snapshots: the process that wrote the events after them may have been killed.
        let unkept = unkept(&self.history);
        let unkept =
            unkept.inspect_err(|error| tracing::warn!(error = %causes(error), "the folds cannot be kept")).ok();
        unkept.map(|streams| streams.into_iter().map(Arc::new).collect())
    }

    /// Drops the heads of idle streams once there are many. A snapshot of the changed folds is written before, so that little has to
    /// be read again.
    fn drop_idle_heads(&mut self) {
        if self.heads.are_many() && self.live.poisoned().is_none() {
            self.keep_snapshot();
            self.heads.drop_idle();
        }
    }

    /// Sends a message to the indexing thread. Waits while that is far behind, but only for a bounded time: a store that hangs must not
    /// prevent recording.
    fn feed(&mut self, mut feed: Feed) {
        let began = Instant::now();
        while let Some(feeds) = &self.feeds {
            match feeds.try_send(feed) {
                Ok(()) => return,
                Err(TrySendError::Full(returned)) if began.elapsed() < FEED_STALL => {
                    feed = returned;
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(_) => {
                    tracing::error!("the store stands still; the journal goes on without it");
                    drop(self.live.take_store());
                    self.feeds = None;
                    return;
                }
            }
        }
    }
}

/// An append is some events of one stream, and system events are apart from a process's.
fn check_shape(stream: StreamId, drafts: &[NewEvent]) -> Result<(), AppendError> {
    if drafts.is_empty() {
        return Err(AppendError::Shape("no events"));
    }
    if drafts.len() > APPEND_EVENTS_MAX {
        return Err(AppendError::Shape("too many events"));
    }
    if drafts.iter().any(|draft| draft.stream != stream) {
        return Err(AppendError::Shape("events of several streams"));
    }
    if drafts.iter().any(|draft| draft.kind.is_system() != stream.is_system()) {
        return Err(AppendError::Shape("a system event in a process's stream, or the other way round"));
    }
    Ok(())
}

/// Refuses a start on a disk that is almost full, so that the end of what runs can still be recorded.
pub(crate) fn check_disk(dir: &Path, drafts: &[NewEvent]) -> Result<(), AppendError> {
    if !drafts.iter().any(|draft| matches!(draft.kind, EventKind::StartRequested { .. })) {
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
struct Prepared {
    next: StreamHead,
    events: Vec<Event>,
    /// Where each event's bytes end in the scratch buffer.
    ends: Vec<usize>,
}

/// Numbers, encodes and folds the events. What is folded and returned is what the bytes say, so that live state and
/// replayed state cannot differ.
fn prepare(
    head: &StreamHead,
    drafts: Vec<NewEvent>,
    first_seq: u64,
    scratch: &mut Vec<u8>,
) -> Result<Prepared, AppendError> {
    // The only copy that an append makes of a stream: readers may still look at the one before.
    let mut fold = head.fold().map(|stream| (**stream).clone());
    let mut version = head.version();
    let (mut events, mut ends) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
    for (draft, seq) in drafts.into_iter().zip(first_seq..) {
        version += 1;
        let start = scratch.len();
        encode_event(&draft.numbered(seq, version), scratch)?;
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
    Ok(Prepared { next, events, ends })
}
