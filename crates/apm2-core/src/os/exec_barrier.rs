//! The exec barrier: between fork(2) and execve(2), a child waits until its pidfd is in the file descriptor store.
//!
//! ```text
//! child       write its pid --> wait ------------------------------> execve
//! supervisor                    (thread) store the pidfd --> open
//! ```
//!
//! Without the barrier, a supervisor could be killed right after a fork, and the process could end before the next
//! supervisor finds it. The outcome of the run would then be unknown. A child whose supervisor ends while it waits is
//! killed by a signal that has no other use, so that this end is not mistaken for the end of the program.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use apm2_model::event::{exit::Exit, identity::ProcessIdentity};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
};

use crate::os::procfs::{read_identity, stat_path};

/// The signal that ends a child that waits at the barrier when its supervisor is gone. The kernel and common programs
/// do not send this signal (signal(7)), so an exit by it identifies this case.
const NOT_ADMITTED: Signal = Signal::STKFLT;

/// The child's end of the barrier.
#[derive(Debug)]
pub(crate) struct BarrierChildEnd {
    supervisor: Pid,
    report: OwnedFd,
    pass: OwnedFd,
}

/// The supervisor's end of the barrier.
#[derive(Debug)]
pub(crate) struct ExecBarrier {
    reported: OwnedFd,
    open: OwnedFd,
}

/// Makes a closed barrier.
///
/// # Errors
/// Those of pipe(2).
pub(crate) fn exec_barrier() -> io::Result<(BarrierChildEnd, ExecBarrier)> {
    let (reported, report) = io::pipe()?;
    let (pass, open) = io::pipe()?;
    let child_end = BarrierChildEnd { supervisor: getpid(), report: report.into(), pass: pass.into() };
    Ok((child_end, ExecBarrier { reported: reported.into(), open: open.into() }))
}

impl BarrierChildEnd {
    /// The descriptors that the child needs for [`pass`](Self::pass).
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.report.as_fd(), self.pass.as_fd()]
    }

    /// Waits in the child until the barrier is open, with the descriptors [`fds`](Self::fds) or duplicates of them.
    /// Async-signal-safe: makes system calls only. `NOT_ADMITTED` must not be ignored or blocked.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(crate) fn pass(&self, [report, pass]: [BorrowedFd<'_>; 2]) -> io::Result<()> {
        // End-of-file on the pipe is not sufficient to detect the end of the supervisor, because other waiting children
        // have copies of both ends.
        set_parent_process_death_signal(Some(NOT_ADMITTED))?;
        if getppid() != Some(self.supervisor) {
            return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
        }
        let pid = getpid().as_raw_nonzero().get().to_ne_bytes();
        rustix::io::retry_on_intr(|| rustix::io::write(report, &pid))?;
        let mut passed = [0];
        if rustix::io::retry_on_intr(|| rustix::io::read(pass, &mut passed))? == 0 {
            // The supervisor has ended: the kernel closes the pipes of a process before it sends the parent-death
            // signal (`PR_SET_PDEATHSIG`).
            kill_process(getpid(), NOT_ADMITTED)?;
            return Err(io::Error::from_raw_os_error(nix::libc::EPIPE));
        }
        set_parent_process_death_signal(None)?;
        Ok(())
    }
}

/// Whether this exit means that the child was ended while it waited at the barrier, before execve(2).
pub(crate) fn was_not_admitted(exit: &Exit) -> bool {
    exit.signal().is_some_and(|signal| i32::from(signal.number()) == NOT_ADMITTED.as_raw())
}

impl ExecBarrier {
    /// Waits for the forked child, calls `hold` to store its descriptors, and opens the barrier, even if `hold` failed.
    /// Returns without a child if the fork has failed.
    pub(crate) fn admit(self, hold: impl FnOnce(&OwnedFd, &ProcessIdentity) -> io::Result<()>) {
        let mut pid = [0; 4];
        if rustix::io::retry_on_intr(|| rustix::io::read(&self.reported, &mut pid)) != Ok(pid.len()) {
            return;
        }
        if let Err(error) = hold_child(i32::from_ne_bytes(pid), hold) {
            tracing::warn!(%error, "a process is not in the file descriptor store; its end cannot be observed if the supervisor is killed");
        }
        // Opening the barrier fails if the child has ended already. This error is ignored.
        let _ = rustix::io::write(self.open.as_fd(), &[1]);
    }
}

/// Calls `hold` with the pidfd and the identity of the child with the pid `reported`.
///
/// # Errors
/// The failed step with its error, or that of `hold`.
fn hold_child(reported: i32, hold: impl FnOnce(&OwnedFd, &ProcessIdentity) -> io::Result<()>) -> io::Result<()> {
    let failed = |step: &str, error: io::Error| io::Error::new(error.kind(), format!("{step}: {error}"));
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("the child reported the pid {reported}"));
    let pid = Pid::from_raw(reported).ok_or_else(invalid)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed("pidfd_open", errno.into()))?;
    let pid = reported.unsigned_abs();
    let identity = read_identity(pid).map_err(|error| failed(&stat_path(pid), error))?;
    hold(&pidfd, &identity)
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::File,
        iter,
        os::unix::process::ExitStatusExt as _,
        process::{self, Command, ExitStatus},
    };

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;
    use crate::os::{child::ChildSetup, spawner::tests::run_to_end};
    use apm2_model::{event::exit::Evidence, spec::ProcessSpec};

    #[test]
    fn a_child_whose_supervisor_ends_is_killed_by_the_signal_of_the_barrier() {
        let (exec_barrier, parent_end) = exec_barrier().unwrap();
        // When the supervisor is killed, the kernel closes its end of the pipe.
        drop(parent_end.open);
        let spec = ProcessSpec::builder().name("n").command("true").build();
        let child_setup = ChildSetup { exec_barrier: Some(exec_barrier), ..ChildSetup::default() };
        let (status, _) = run_to_end(&spec, None, child_setup).unwrap();
        assert_eq!(status.terminating_signal(), Some(NOT_ADMITTED.as_raw()));
        let status = ExitStatus::from_raw(status.as_raw());
        assert!(was_not_admitted(&Exit::from_status(status, Evidence::Observed)));
    }

    /// The environment variable that is set in the process in which the test runs alone. The test uses all descriptors of its
    /// process.
    const ALONE: &str = "APM2_TEST_ALONE";

    /// The limit on open files in that process.
    const DESCRIPTORS_MAX: u64 = 64;

    #[test]
    fn an_identity_that_cannot_be_read_is_reported_with_its_error() {
        if env::var_os(ALONE).is_none() {
            let name = "os::exec_barrier::tests::an_identity_that_cannot_be_read_is_reported_with_its_error";
            let alone =
                Command::new(env::current_exe().unwrap()).args([name, "--exact"]).env(ALONE, "").output().unwrap();
            assert!(alone.status.success(), "{alone:?}");
            return;
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS_MAX, hard).unwrap();
        let mut opened: Vec<File> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
        // One descriptor is free, for the pidfd.
        drop(opened.pop());
        let held = hold_child(process::id().cast_signed(), |_, _| Ok(()));
        drop(opened);
        let error = held.unwrap_err().to_string();
        let file = stat_path(process::id());
        assert!(error.contains(&file) && error.contains("Too many open files"), "{error}");
    }
}
