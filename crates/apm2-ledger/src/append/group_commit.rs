//! Group commit: appends that arrive while a commit is being written are written together in the next commit.
//!
//! A caller that finds no leader becomes the leader. The leader takes all waiting requests, including its own, makes
//! them durable with one fdatasync(2), appoints the first caller in the queue as the next leader, and answers its requests
//! while the next leader writes. There is no timer. A single caller appends in its own thread, because passing the request to another thread would
//! take longer than the append.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread,
};

use apm2_model::event::stream_id::StreamId;

use crate::{
    append::{
        commit_writer::CommitWriter,
        request::{Answer, AppendRequest, AppendResult, Caller, CallerMessage, RequestedEvents},
    },
    error::AppendError,
    limits::APPEND_QUEUE_LEN,
};

#[derive(Default)]
struct Waiting {
    requests: VecDeque<AppendRequest>,
    has_leader: bool,
    is_closed: bool,
}

pub(crate) struct GroupCommit {
    waiting: Mutex<Waiting>,
    /// Signalled when the queue has room, and when there is no leader any more.
    changed: Condvar,
    /// The commit writer, locked by the leader. `None` after the ledger was closed.
    writer: Mutex<Option<CommitWriter>>,
}

impl GroupCommit {
    pub(crate) fn new(writer: CommitWriter) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), writer: Mutex::new(Some(writer)) }
    }

    /// Locks the queue. A poisoned mutex is accepted, because no panic can leave the queue inconsistent.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the events, and returns when they are durable.
    pub(crate) fn append(&self, stream: StreamId, events: RequestedEvents) -> AppendResult {
        // A capacity of one message is enough: the caller receives the message to lead before its answer is sent.
        let (caller, messages) = sync_channel(1);
        let mut is_leader = self.enqueue(AppendRequest { stream, events, caller: Caller(caller) })?;
        loop {
            if is_leader {
                self.lead();
            }
            match messages.recv() {
                Ok(CallerMessage::AppendResult(answer)) => return answer,
                Ok(CallerMessage::Lead) => is_leader = true,
                Err(_) => {
                    return Err(AppendError::Poisoned(
                        "poisoned, because the append was interrupted by a panic".to_owned(),
                    ));
                }
            }
        }
    }

    /// Adds a request to the queue. Returns `true` when there is no leader, so that the caller has to become the
    /// leader.
    fn enqueue(&self, request: AppendRequest) -> Result<bool, AppendError> {
        let mut waiting = self.lock();
        while waiting.requests.len() >= APPEND_QUEUE_LEN && !waiting.is_closed {
            waiting = self.wait(waiting);
        }
        if waiting.is_closed {
            return Err(AppendError::Closed);
        }
        waiting.requests.push_back(request);
        Ok(!std::mem::replace(&mut waiting.has_leader, true))
    }

    /// Commits all waiting requests, appoints the next leader, and answers the requests.
    fn lead(&self) {
        let guard = LeadGuard(self);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = std::mem::take(&mut self.lock().requests);
        self.changed.notify_all();
        let answers = writer.as_mut().map(|writer| writer.serve(requests)).unwrap_or_default();
        drop(writer);
        drop(guard);
        answers.into_iter().for_each(Answer::send);
    }

    /// Waits until all queued requests are completed, and refuses new ones. Returns the writer at the first call and
    /// `None` at later calls.
    pub(crate) fn close(&self) -> Option<CommitWriter> {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        self.changed.notify_all();
        while waiting.has_leader {
            waiting = self.wait(waiting);
        }
        drop(waiting);
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Appoints the next leader when it is dropped, also when the current leader panics, so that no caller waits for ever.
struct LeadGuard<'a>(&'a GroupCommit);

impl Drop for LeadGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(writer) = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            writer.poison("an append panicked");
        }
        let mut waiting = self.0.lock();
        let next = waiting.requests.front();
        let has_leader = next.is_some_and(|next| next.caller.0.send(CallerMessage::Lead).is_ok());
        waiting.has_leader = has_leader;
        self.0.changed.notify_all();
    }
}
