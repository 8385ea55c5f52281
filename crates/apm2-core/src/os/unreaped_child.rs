//! A child of this process that is not reaped yet.

use std::{
    collections::BTreeSet,
    io,
    sync::{PoisonError, RwLock},
};

use rustix::process::{Pid, WaitOptions, waitpid};

/// The pids of all unreaped children, which are also the ids of their sessions.
static SESSIONS: RwLock<BTreeSet<i32>> = RwLock::new(BTreeSet::new());

/// A child that was spawned and is not reaped yet. Until then, the kernel does not reuse its pid. Dropping this value
/// neither kills nor reaps the child.
#[derive(Debug)]
pub(crate) struct UnreapedChild {
    pid: Pid,
}

impl UnreapedChild {
    /// The child with this pid, which leads a session. Only the creator of the child may call this, because other code
    /// must not reap it.
    pub(super) fn new(pid: Pid) -> Self {
        let mut sessions = SESSIONS.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(pid.as_raw_nonzero().get());
        Self { pid }
    }

    /// The pid, which is also the id of the process group.
    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Reaps the child, and returns `None`; returns the child if it has not ended.
    ///
    /// # Errors
    /// The error of waitpid(2): the child was reaped elsewhere in this process.
    pub(crate) fn reap(self) -> io::Result<Option<Self>> {
        // The session is removed first, because its id can be reused as soon as the child is reaped.
        let mut sessions = SESSIONS.write().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.pid.as_raw_nonzero().get());
        drop(sessions);
        let found = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::NOHANG))?;
        Ok(found.is_none().then(|| Self::new(self.pid)))
    }
}

/// Whether this is the session of a child that is not reaped yet. All members of such a session are descendants of the
/// child, because a process enters a session only by fork(2) and leaves it only by setsid(2).
pub(super) fn is_session_of_child(session: i32) -> bool {
    SESSIONS.read().unwrap_or_else(PoisonError::into_inner).contains(&session)
}
