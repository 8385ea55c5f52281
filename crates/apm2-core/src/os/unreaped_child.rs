//! A child of this process that is not reaped yet.

use std::io;

use rustix::process::{Pid, WaitOptions, waitpid};

/// A child that was spawned and is not reaped yet. Until then, the kernel does not reuse its pid. Dropping this value
/// neither kills nor reaps the child.
#[derive(Debug)]
pub(crate) struct UnreapedChild {
    pid: Pid,
}

impl UnreapedChild {
    /// The child with this pid. Only the creator of the child may call this, because other code must not reap it.
    pub(super) const fn new(pid: Pid) -> Self {
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
        let found = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::NOHANG))?;
        Ok(found.is_none().then_some(self))
    }
}
