//! A child between fork and exec, and what is done to one that has no safe form.
//!
//! The only module with `unsafe` in it. What is executed, and with which environment, is the
//! [`spawner`](crate::process::spawner)'s matter.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, setsid},
    stdio::{dup2_stderr, dup2_stdout},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Command,
};

use crate::process::Signal;

/// The descriptor after stdin, stdout and stderr.
const FIRST_OTHER_FD: libc::c_uint = 3;

/// `PIDFD_SIGNAL_PROCESS_GROUP` of pidfd_send_signal(2), Linux 6.9.
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// The size of the kernel's signal set: a bit for each signal.
const SIGNAL_SET_BYTES: usize = Signal::MAX as usize / 8;

/// Makes `command` start its child in a session of its own, with nothing of ours but its stdin, stdout and stderr.
#[expect(unsafe_code, reason = "pre_exec has no safe form")]
pub(super) fn isolate(command: &mut Command) {
    // SAFETY: the hook runs in the forked child of a process that may have many threads, so it may call only what is
    // async-signal-safe (signal-safety(7)). `before_exec` makes system calls and nothing else: it takes no lock,
    // allocates nothing and cannot panic.
    unsafe { command.pre_exec(before_exec) };
}

fn before_exec() -> io::Result<()> {
    // A session of its own also is a process group of its own, both with the child's pid as their id.
    setsid()?;
    default_signals();
    hold_both_ends(c"/proc/self/fd/1", dup2_stdout);
    hold_both_ends(c"/proc/self/fd/2", dup2_stderr);
    close_others_on_exec();
    Ok(())
}

/// Nothing ignored, nothing blocked: both would be inherited through exec (execve(2)).
#[expect(
    unsafe_code,
    reason = "the C library hides the signals that it keeps for itself, which a parent may ignore too"
)]
fn default_signals() {
    // The kernel's `struct sigaction` is smaller than this on every architecture, and all zeros are `SIG_DFL`, no flags
    // and an empty mask in each of its layouts.
    let default = [0_u64; 8];
    let nothing = std::ptr::null_mut::<u64>();
    for number in 1..=libc::c_int::from(Signal::MAX) {
        // SAFETY: rt_sigaction(2) reads `default`, which lives until it returns, and writes nothing since the place for
        // the old action is null. `SIG_DFL` installs no code. SIGKILL and SIGSTOP are refused, and cannot be ignored.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), nothing, SIGNAL_SET_BYTES) };
    }
    // An empty mask is always valid, so there is no error to tell of.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Re-opens an output read-write, so that the child itself keeps the pipe alive: a supervisor that dies then breaks
/// nothing, and its successor goes on reading from `/proc/<pid>/fd`.
///
/// Best effort: where it fails (no `/proc`), the output works as any pipe does.
fn hold_both_ends(path: &CStr, put_in_place: fn(OwnedFd) -> rustix::io::Result<()>) {
    if let Ok(both_ends) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = put_in_place(both_ends);
    }
}

/// Every descriptor but the first three is closed by exec, whoever opened it and however.
///
/// Best effort: before Linux 5.11 only those stay out that were opened close-on-exec, as all of ours are.
#[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
fn close_others_on_exec() {
    // SAFETY: a system call on this process's own descriptors, which sets a flag and closes nothing: whoever owns
    // them until exec still does.
    unsafe {
        libc::syscall(libc::SYS_close_range, FIRST_OTHER_FD, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Sends `signal` to every member of the group that `leader` leads.
///
/// The leader must be unreaped, alive or zombie: only then is the group's id certainly still its own. With a pidfd the
/// kernel checks that by itself (Linux 6.9); whatever it refuses, kill(2) is asked, and its answer counts.
///
/// # Errors
/// The error of kill(2).
#[expect(unsafe_code, reason = "the safe wrappers know neither real-time signals nor groups of a pidfd")]
pub(super) fn signal_group(leader: Pid, pidfd: Option<BorrowedFd<'_>>, signal: Signal) -> io::Result<()> {
    let number = libc::c_int::from(signal.number());
    if let Some(pidfd) = pidfd {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) reads no memory of ours when `info` is null, and the descriptor is borrowed,
        // hence open.
        let answer = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, SIGNAL_PROCESS_GROUP)
        };
        if answer == 0 {
            return Ok(());
        }
    }
    // SAFETY: kill(2) touches no memory. `leader` is positive by its type and not 1, since it is a child of ours, so
    // its negative means one group and never "every process".
    match unsafe { libc::kill(-leader.as_raw_nonzero().get(), number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Watches a pidfd for the end of its process.
///
/// # Errors
/// When it cannot be registered with the runtime.
///
/// # Panics
/// Outside of a tokio runtime.
#[expect(unsafe_code, reason = "AsyncFd takes any descriptor type, and so cannot be safe")]
pub(super) fn readiness(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and always the same descriptor for as long as it lives, and it is moved into the
    // `AsyncFd`, which deregisters it before it closes it.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}
