//! The gate between fork and exec: no child becomes its program before it is known to somebody who outlives us.
//!
//! ```text
//! child    report its pid --> wait -------------------------------> exec
//! keeper                      (thread) pidfd, identity held --> open
//! ```
//!
//! Without it a supervisor that dies right after a fork would leave a process of which nobody can say later that it ran,
//! once it has ended. A child whose supervisor dies while it waits is ended too, by a signal that tells so: it never was
//! that program.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use apm2_model::event::{exit::Exit, identity::ProcessIdentity};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
};

use crate::os::procfs::identify;

/// Ends a child that waits when its supervisor is gone. The kernel has no use for it (signal(7)), nor has anybody else, so an
/// exit by it says what happened.
const SHUT: Signal = Signal::STKFLT;

/// The child's side.
#[derive(Debug)]
pub(crate) struct BarrierChildEnd {
    supervisor: Pid,
    report: OwnedFd,
    pass: OwnedFd,
}

/// The supervisor's side.
#[derive(Debug)]
pub(crate) struct ExecBarrier {
    reported: OwnedFd,
    open: OwnedFd,
}

/// A gate, closed.
///
/// # Errors
/// Those of pipe(2).
pub(crate) fn exec_barrier() -> io::Result<(BarrierChildEnd, ExecBarrier)> {
    let (reported, report) = io::pipe()?;
    let (pass, open) = io::pipe()?;
    let exec_barrier = BarrierChildEnd { supervisor: getpid(), report: report.into(), pass: pass.into() };
    Ok((exec_barrier, ExecBarrier { reported: reported.into(), open: open.into() }))
}

impl BarrierChildEnd {
    /// Waits in the child until the gate is open. Makes system calls and nothing else, as a forked child must. No signal may
    /// be ignored or blocked.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(crate) fn pass(&self) -> io::Result<()> {
        // The end of a pipe would not tell: other children that wait here have copies of both ends.
        set_parent_process_death_signal(Some(SHUT))?;
        if getppid() != Some(self.supervisor) {
            return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
        }
        let pid = getpid().as_raw_nonzero().get().to_ne_bytes();
        rustix::io::retry_on_intr(|| rustix::io::write(&self.report, &pid))?;
        let mut passed = [0];
        if rustix::io::retry_on_intr(|| rustix::io::read(&self.pass, &mut passed))? == 0 {
            // It is ending: its pipes are gone before its children are told.
            kill_process(getpid(), SHUT)?;
            return Err(io::Error::from_raw_os_error(nix::libc::EPIPE));
        }
        set_parent_process_death_signal(None)?;
        Ok(())
    }
}

/// Whether a child with this exit never got through its gate.
pub(crate) fn was_shut_out(exit: &Exit) -> bool {
    exit.signal().is_some_and(|signal| i32::from(signal.number()) == SHUT.as_raw())
}

impl ExecBarrier {
    /// Waits for a child, has it held by `hold`, and opens the gate, whether or not it is held. Ends without one, too.
    pub(crate) fn admit(self, hold: impl FnOnce(&OwnedFd, &ProcessIdentity) -> io::Result<()>) {
        let mut pid = [0; 4];
        if rustix::io::retry_on_intr(|| rustix::io::read(&self.reported, &mut pid)) != Ok(pid.len()) {
            return;
        }
        let held = Pid::from_raw(i32::from_ne_bytes(pid)).ok_or_else(not_there).and_then(|pid| {
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            let identity = identify(pid.as_raw_nonzero().get().unsigned_abs()).ok_or_else(not_there)?;
            hold(&pidfd, &identity)
        });
        if let Err(error) = held {
            tracing::warn!(%error, "nobody holds the process of a run beside its supervisor");
        }
        // A child that is gone needs no gate.
        let _ = rustix::io::write(self.open.as_fd(), &[1]);
    }
}

fn not_there() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::os::child::{ChildSetup, isolate};
    use apm2_model::event::exit::Evidence;

    #[tokio::test]
    async fn a_child_whose_supervisor_is_going_tells_so_by_its_end() {
        let (exec_barrier, keeper) = exec_barrier().unwrap();
        // As the kernel closes it when the supervisor is killed.
        drop(keeper.open);
        let mut command = tokio::process::Command::new("true");
        isolate(&mut command, ChildSetup { exec_barrier: Some(exec_barrier), ..ChildSetup::default() });
        let status = command.spawn().unwrap().wait().await.unwrap();
        assert_eq!(status.signal(), Some(SHUT.as_raw()));
        assert!(was_shut_out(&Exit::from_status(status, Evidence::Observed)));
    }
}
