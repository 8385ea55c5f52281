//! Group commit: appends that arrive while a commit is written are written together by the next one.
//!
//! A caller that finds no leader becomes the leader: it takes all waiting requests, its own included, makes them durable with one
//! fdatasync(2), answers them, and passes the lead to the first caller that has arrived meanwhile. There is no timer. A single caller
//! appends in its own thread: passing the request to another thread would cost more than the append.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread,
};

use apm2_model::event::{NewEvent, stream_id::StreamId};

use crate::{
    append::{
        commit_writer::CommitWriter,
        request::{AppendRequest, AppendResult, Turn},
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
    /// Signalled when there is room in the queue, or no leader any more.
    changed: Condvar,
    /// Locked by the leader. `None` once closed.
    writer: Mutex<Option<CommitWriter>>,
}

impl GroupCommit {
    pub(crate) fn new(writer: CommitWriter) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), writer: Mutex::new(Some(writer)) }
    }

    /// Poisoning of the lock is ignored: no panic can leave the queue inconsistent.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, and returns when it is durable.
    pub(crate) fn append(&self, stream: StreamId, version: Option<u64>, new_events: Vec<NewEvent>) -> AppendResult {
        // A capacity of one is enough: the caller takes the order to lead before its answer is sent.
        let (caller, turns) = sync_channel(1);
        let mut is_leader = self.enqueue(AppendRequest { stream, version, new_events, caller })?;
        loop {
            if is_leader {
                self.lead();
            }
            match turns.recv() {
                Ok(Turn::AppendResult(answer)) => return answer,
                Ok(Turn::Lead) => is_leader = true,
                Err(_) => {
                    return Err(AppendError::Poisoned(
                        "poisoned, because the append was interrupted by a panic".to_owned(),
                    ));
                }
            }
        }
    }

    /// Adds a request to the queue. Returns whether there is no leader yet.
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

    /// Commits all waiting requests, and passes the lead on.
    fn lead(&self) {
        let succession = Succession(self);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = std::mem::take(&mut self.lock().requests);
        self.changed.notify_all();
        if let Some(writer) = writer.as_mut() {
            writer.serve(requests);
        }
        drop(writer);
        drop(succession);
    }

    /// Completes all waiting requests and refuses new ones. Returns the writer, once.
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

/// Passes the lead on when it is dropped, also when a leader panics, so that no caller waits for ever.
struct Succession<'a>(&'a GroupCommit);

impl Drop for Succession<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(writer) = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            writer.poison("an append panicked");
        }
        let mut waiting = self.0.lock();
        let next = waiting.requests.front();
        let is_led = next.is_some_and(|next| next.caller.send(Turn::Lead).is_ok());
        waiting.has_leader = is_led;
        self.0.changed.notify_all();
    }
}
