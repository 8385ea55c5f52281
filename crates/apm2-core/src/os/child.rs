//! The creation of a child, its set-up before execve(2), and system calls without a safe wrapper.
//!
//! This is the only module with `unsafe` code. The [`spawner`](crate::os::spawner) chooses the program and its
//! environment.

use std::{
    ffi::CStr,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

use apm2_model::signal::Signal;
use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    param::page_size,
    process::{
        Pid, Resource, Rlimit, WaitOptions, chdir, getrlimit, set_parent_process_death_signal, setrlimit, setsid,
        umask, waitpid,
    },
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Command,
};

use crate::os::{
    exec_barrier::BarrierChildEnd,
    exec_image::{ExecImage, SHELL},
    spawn_slot::SpawnSlot,
    unreaped_child::UnreapedChild,
};

/// The first descriptor after stdin, stdout and stderr.
const FIRST_OTHER_FD: libc::c_uint = 3;

/// `PIDFD_SIGNAL_PROCESS_GROUP` of pidfd_send_signal(2), Linux 6.9.
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Size of the kernel's signal set in bytes: one bit for each signal.
const SIGNAL_SET_BYTES: usize = Signal::MAX as usize / 8;

/// Settings for a child between fork and exec.
#[derive(Debug, Default)]
pub(crate) struct ChildSetup {
    /// The barrier at which the child waits before exec, if any.
    pub(crate) exec_barrier: Option<BarrierChildEnd>,
    /// The umask of the child (umask(2)); `None` for that of this process.
    pub(crate) umask: Option<u32>,
    /// Whether the kernel kills the child when the thread that forked it ends (`PR_SET_PDEATHSIG`).
    pub(crate) dies_with_us: bool,
}

/// Size of the stack of a child between clone(2) and execve(2). The child calls few functions, with small frames.
const CHILD_STACK_BYTES: usize = 64 * 1024;

/// What a child between clone(2) and execve(2) needs, and its error.
struct ChildPlan<'a> {
    image: &'a ExecImage,
    child_setup: &'a ChildSetup,
    fds: ChildFds<'a>,
    /// If set, the child shares the descriptor table of this process, and needs no descriptor from this number on.
    shared_below: Option<libc::c_uint>,
    /// The error because of which the child has not executed its program; 0 without an error.
    errno: AtomicI32,
}

/// The descriptors of a child between clone(2) and execve(2).
struct ChildFds<'a> {
    /// The standard input, output and error output. Their numbers are greater than 2.
    stdio: [BorrowedFd<'a>; 3],
    /// The descriptors of the exec barrier, if there is one.
    barrier: Option<[BorrowedFd<'a>; 2]>,
}

impl<'a> ChildFds<'a> {
    /// The duplicates in `slot`; `None` if it has too few.
    fn of_slot(slot: &'a SpawnSlot) -> Option<Self> {
        let stdio = [slot.fd(0)?, slot.fd(1)?, slot.fd(2)?];
        Some(Self { stdio, barrier: Some([slot.fd(3)?, slot.fd(4)?]) })
    }
}

/// Creates a child in a new session, and returns when it has executed its program. The child inherits only the
/// descriptors `stdio` (standard input, output and error output), whose numbers must be greater than 2. Blocks.
///
/// The child uses the memory of this process until execve(2), as with vfork(2), so that no page tables are copied. With
/// fork(2), a start would take longer the more memory this process uses, and each page would be faulted in again.
///
/// # Errors
/// The error of clone(2), of a step of the set-up, or of execve(2). No child is left.
#[expect(unsafe_code, reason = "clone(2) has no safe wrapper")]
pub(crate) fn spawn(
    image: &ExecImage,
    child_setup: &ChildSetup,
    stdio: [BorrowedFd<'_>; 3],
) -> io::Result<UnreapedChild> {
    let barrier = child_setup.exec_barrier.as_ref().map(BarrierChildEnd::fds);
    let needed: Vec<BorrowedFd<'_>> = stdio.into_iter().chain(barrier.into_iter().flatten()).collect();
    let slot = SpawnSlot::with(&needed);
    let fds = slot.as_ref().and_then(ChildFds::of_slot);
    let shared_below = slot.as_ref().filter(|_| fds.is_some()).map(SpawnSlot::end);
    let fds = fds.unwrap_or(ChildFds { stdio, barrier });
    let plan = ChildPlan { image, child_setup, fds, shared_below, errno: AtomicI32::new(0) };
    let stack = ChildStack::new()?;
    let signals = SignalsBlocked::new()?;
    let shared = if shared_below.is_some() { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | shared;
    let argument = (&raw const plan).cast_mut().cast::<libc::c_void>();
    // SAFETY: The child runs `child_main` in the memory of this process, on a stack of its own. This is sound because:
    // - With `CLONE_VFORK`, this thread is suspended until the child has called execve(2) or has ended. `plan`, all that
    //   it refers to, and `stack` therefore live as long as the child uses them. The thread-local data (`errno`), which
    //   the child shares with this thread, is used by one of them at a time. If this thread is killed meanwhile, the
    //   process ends, and with it everything but the memory, which lasts as long as the child uses it.
    // - The child makes system calls only, as after fork(2) in a process with several threads: it takes no lock,
    //   allocates and frees nothing, and cannot panic. It writes to its stack, to `errno` and to `plan.errno` only.
    // - Without `CLONE_FS` and `CLONE_SIGHAND`, it has its own copies of the working directory and umask, and of the
    //   signal dispositions. With `CLONE_FILES`, it gets a descriptor table of its own before it changes a descriptor.
    // - All signals are blocked until the child has set their default dispositions, so no signal handler of this
    //   process runs in the child.
    // - `stack.top()` is the aligned end of a mapping that can be written to, with a guard page at its lower end.
    let pid = unsafe { libc::clone(child_main, stack.top(), flags, argument) };
    let cloned = if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) };
    drop(signals);
    let pid = cloned?.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    match plan.errno.load(Ordering::Acquire) {
        0 => Ok(UnreapedChild::new(pid)),
        errno => {
            // The child has ended, or is about to end, and nothing else knows its pid. waitpid(2) fails if SIGCHLD is
            // ignored: the kernel has then reaped the child.
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// The child between clone(2) and execve(2). Must only make system calls, see [`spawn`].
#[expect(unsafe_code, reason = "the argument of clone(2) is an untyped pointer")]
extern "C" fn child_main(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `argument` is the plan in `spawn`, which lives until this child has called execve(2) or has ended, and
    // which only this child uses meanwhile.
    let plan = unsafe { &*argument.cast_const().cast::<ChildPlan<'_>>() };
    let error = match set_up(plan) {
        Ok(()) => execute(plan.image),
        Err(error) => error,
    };
    plan.errno.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Release);
    // SAFETY: _exit(2) ends the child at once. It runs no exit handlers and flushes no buffers, which belong to the
    // parent.
    unsafe { libc::_exit(EXIT_NOT_EXECUTED) }
}

/// The exit code of a child that could not execute its program. The parent reaps such a child.
const EXIT_NOT_EXECUTED: libc::c_int = 127;

fn set_up(plan: &ChildPlan<'_>) -> io::Result<()> {
    if let Some(number) = plan.shared_below {
        unshare_descriptors(number)?;
    }
    let [stdin, stdout, stderr] = plan.fds.stdio;
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    if let Some(cwd) = plan.image.cwd() {
        chdir(cwd)?;
    }
    before_exec(plan.child_setup, plan.fds.barrier)
}

/// Gives the child a descriptor table of its own, with the descriptors below `number` only. Other processes that share
/// the present table are not affected.
#[expect(unsafe_code, reason = "close_range(2) and unshare(2) have no safe wrappers")]
fn unshare_descriptors(number: libc::c_uint) -> io::Result<()> {
    // SAFETY: with `CLOSE_RANGE_UNSHARE`, close_range(2) closes descriptors of the new table only. The child owns none of
    // them, and its parent keeps its own.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, number, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
    if answer == 0 {
        return Ok(());
    }
    // A kernel before Linux 5.9, or a seccomp filter, refuses close_range(2). The whole table is copied then.
    // SAFETY: unshare(2) accesses no memory, and only copies the descriptor table of the child.
    if unsafe { libc::unshare(libc::CLONE_FILES) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Executes the first of the candidates that can be executed, with the rules of execvp(3). Returns only after an error.
#[expect(unsafe_code, reason = "the safe wrappers of execve(2) allocate")]
fn execute(image: &ExecImage) -> io::Error {
    let (mut latest, mut refused) = (io::Error::from_raw_os_error(libc::ENOENT), None);
    for (file, script_args) in image.candidates() {
        // SAFETY: the file is a C string, and the arguments and the environment are null-terminated arrays of C strings.
        // `image` owns them all.
        unsafe { libc::execve(file.as_ptr(), image.args(), image.env()) };
        latest = io::Error::last_os_error();
        if latest.raw_os_error() == Some(libc::ENOEXEC) {
            // SAFETY: as above.
            unsafe { libc::execve(SHELL.as_ptr(), script_args, image.env()) };
            latest = io::Error::last_os_error();
        }
        match latest.raw_os_error() {
            Some(libc::EACCES) => refused = Some(io::Error::from_raw_os_error(libc::EACCES)),
            Some(libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT) => {}
            _ => return latest,
        }
    }
    // A file that may not be executed counts more than one that does not exist in a later directory.
    refused.unwrap_or(latest)
}

/// The stack of a child that shares the memory of this process. The mapping is removed when this value is dropped.
struct ChildStack {
    start: *mut libc::c_void,
    bytes: usize,
}

impl ChildStack {
    #[expect(unsafe_code, reason = "mmap(2) has no safe wrapper")]
    fn new() -> io::Result<Self> {
        let guard_bytes = page_size();
        let bytes = CHILD_STACK_BYTES.saturating_add(guard_bytes);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping at an address that the kernel chooses changes no other memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { start, bytes };
        // SAFETY: the range is the mapping without its first page, and nothing else uses it.
        let answer = unsafe {
            libc::mprotect(start.byte_add(guard_bytes), CHILD_STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE)
        };
        if answer == 0 { Ok(stack) } else { Err(io::Error::last_os_error()) }
    }

    /// The end of the mapping, from which the stack grows down. It is aligned to a page.
    const fn top(&self) -> *mut libc::c_void {
        self.start.wrapping_byte_add(self.bytes)
    }
}

impl Drop for ChildStack {
    #[expect(unsafe_code, reason = "munmap(2) has no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and the child that used it has executed its program or has ended.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// All signals are blocked for the calling thread, including those that the C library keeps for itself. The former mask
/// is restored when this value is dropped.
struct SignalsBlocked {
    before: SignalSet,
}

/// A buffer for the kernel's signal set, which is [`SIGNAL_SET_BYTES`] long.
type SignalSet = [u64; 2];

impl SignalsBlocked {
    fn new() -> io::Result<Self> {
        let mut before = SignalSet::default();
        set_signal_mask(&[u64::MAX; 2], Some(&mut before))?;
        Ok(Self { before })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // rt_sigprocmask(2) fails for invalid arguments only.
        let _ = set_signal_mask(&self.before, None);
    }
}

#[expect(unsafe_code, reason = "the C library excludes the signals that it keeps for itself")]
fn set_signal_mask(mask: &SignalSet, before: Option<&mut SignalSet>) -> io::Result<()> {
    let before = before.map_or(std::ptr::null_mut(), |before| before.as_mut_ptr());
    // SAFETY: rt_sigprocmask(2) reads `SIGNAL_SET_BYTES` of `mask` and writes as many to `before`, unless it is null.
    // Both buffers are at least that long.
    let answer =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask.as_ptr(), before, SIGNAL_SET_BYTES) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `command` start its child in a new session. The child inherits only stdin, stdout and stderr from this
/// process, and no other descriptor.
#[expect(unsafe_code, reason = "pre_exec has no safe form")]
pub(crate) fn isolate(command: &mut Command, child_setup: ChildSetup) {
    // SAFETY: the hook runs in the forked child of a process that may have many threads, so it may call only
    // async-signal-safe functions (signal-safety(7)). `before_exec` makes system calls only: it takes no lock,
    // allocates nothing and cannot panic. The values that the closure owns were created before the fork.
    unsafe {
        command.pre_exec(move || before_exec(&child_setup, child_setup.exec_barrier.as_ref().map(BarrierChildEnd::fds)))
    };
}

/// Makes `command` start its child detached from this process, so that the child can outlive it. The child gets a new
/// session, the default disposition of every signal, an empty signal mask, the default personality (personality(2)),
/// and only the descriptors stdin, stdout and stderr. If one of these steps fails, the spawn fails.
#[expect(unsafe_code, reason = "pre_exec has no safe form")]
pub fn detach(command: &mut std::process::Command) {
    // SAFETY: the hook runs in the forked child and may call only async-signal-safe functions (signal-safety(7)).
    // `before_exec_detached` makes system calls only.
    unsafe { command.pre_exec(before_exec_detached) };
}

fn before_exec_detached() -> io::Result<()> {
    // setsid(2) fails only for the leader of a process group. A forked child is not a leader by default.
    setsid()?;
    default_signals()?;
    default_personality()?;
    close_others_on_exec()
}

/// Number of arenas of malloc(3) in a process with many threads that mostly wait. The default of glibc, 8 for each
/// processor, keeps free memory in each arena that no other arena can use.
#[cfg(target_env = "gnu")]
const MALLOC_ARENAS: libc::c_int = 2;

/// Size in bytes from which malloc(3) maps an allocation on its own (mmap(2)) at first. Without a fixed value, glibc raises it to
/// the size of the largest mapping that was freed. Then the zeroed blocks of sled, more than 40 of 512 KiB, are on the heap, where
/// calloc(3) writes the first 128 KiB of each (`M_TOP_PAD`), which stay resident.
#[cfg(target_env = "gnu")]
const FIRST_MMAP_BYTES: libc::c_int = 256 * 1024;

/// The same size later, and the size of the free memory at the end of the heap from which it is returned to the kernel. A segment
/// of the journal is smaller: many answers read one, and a new mapping for each costs more than the reading.
#[cfg(target_env = "gnu")]
const LATER_MMAP_BYTES: libc::c_int = 4 * 1024 * 1024;

/// Configures malloc(3) for a process that lives long and mostly waits: few arenas, and large allocations in mappings of their
/// own until [`reuse_large_allocations`]. To be called before threads are started. Does nothing with a C library other than glibc.
pub fn configure_malloc() {
    #[cfg(target_env = "gnu")]
    set_malloc(&[(libc::M_ARENA_MAX, MALLOC_ARENAS), (libc::M_MMAP_THRESHOLD, FIRST_MMAP_BYTES)]);
}

/// Makes malloc(3) keep large allocations that were freed for the next ones. To be called once the large allocations that stay were
/// made. Does nothing with a C library other than glibc.
pub fn reuse_large_allocations() {
    #[cfg(target_env = "gnu")]
    set_malloc(&[(libc::M_MMAP_THRESHOLD, LATER_MMAP_BYTES), (libc::M_TRIM_THRESHOLD, LATER_MMAP_BYTES)]);
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "there is no safe wrapper of mallopt(3)")]
fn set_malloc(parameters: &[(libc::c_int, libc::c_int)]) {
    for (parameter, value) in parameters {
        // SAFETY: mallopt(3) takes integers, and locks the allocator while it changes a parameter.
        let is_set = unsafe { libc::mallopt(*parameter, *value) } == 1;
        if !is_set {
            tracing::debug!(parameter, value, "malloc(3) refuses a parameter");
        }
    }
}

/// Returns the free memory of malloc(3) to the kernel (malloc_trim(3)). To be called after work that needs much memory for
/// a short time. Does nothing with a C library other than glibc.
#[cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "there is no safe wrapper of malloc_trim(3)"))]
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) takes an integer, and locks each arena while it gives its free pages back.
        unsafe { libc::malloc_trim(0) };
    }
}

/// The soft limit on open files before [`raise_descriptor_limit`] raised it. Children get this limit. 0 if the limit
/// was not raised.
static DESCRIPTORS_BEFORE: AtomicU64 = AtomicU64::new(0);

/// Raises the soft limit on open files to the hard limit. Children get the previous limit, because programs that use select(2)
/// fail with descriptors over 1023.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Some(before) = current.filter(|before| maximum.is_none_or(|maximum| *before < maximum)) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
        DESCRIPTORS_BEFORE.store(before, Ordering::Release);
    }
    Ok(())
}

/// Restores the soft limit from before [`raise_descriptor_limit`]: in a child, and before this process calls execve(2).
///
/// # Errors
/// Those of setrlimit(2).
pub fn lower_descriptor_limit() -> io::Result<()> {
    let before = DESCRIPTORS_BEFORE.load(Ordering::Acquire);
    if before != 0 {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(before), maximum })?;
    }
    Ok(())
}

fn before_exec(child_setup: &ChildSetup, barrier: Option<[BorrowedFd<'_>; 2]>) -> io::Result<()> {
    // setsid(2) creates a new session and a new process group. The ids of both are the pid of the child.
    setsid()?;
    // Signals are reset before the child waits at the exec barrier, whose signal must not be ignored or blocked.
    default_signals()?;
    if let (Some(exec_barrier), Some(fds)) = (&child_setup.exec_barrier, barrier) {
        exec_barrier.pass(fds)?;
    }
    if child_setup.dies_with_us {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    }
    hold_both_ends(c"/proc/self/fd/1", dup2_stdout);
    hold_both_ends(c"/proc/self/fd/2", dup2_stderr);
    close_others_on_exec()?;
    lower_descriptor_limit()?;
    if let Some(mask) = child_setup.umask {
        umask(Mode::from_raw_mode(mask));
    }
    Ok(())
}

/// Sets every signal to its default disposition and unblocks all, because execve(2) keeps ignored and blocked signals.
#[expect(
    unsafe_code,
    reason = "the C library hides the signals that it keeps for itself, which a parent may ignore too"
)]
fn default_signals() -> io::Result<()> {
    // The kernel's `struct sigaction` is smaller than this buffer on every architecture. In each layout, all zeros mean
    // `SIG_DFL`, no flags and an empty mask.
    let default = [0_u64; 8];
    let nothing = std::ptr::null_mut::<u64>();
    for number in 1..=libc::c_int::from(Signal::MAX) {
        // The dispositions of SIGKILL and SIGSTOP cannot be set, and are always the default.
        if number == libc::SIGKILL || number == libc::SIGSTOP {
            continue;
        }
        // SAFETY: rt_sigaction(2) reads `default`, which lives until it returns, and writes nothing, since the pointer
        // for the old action is null. `SIG_DFL` installs no handler code.
        let answer =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), nothing, SIGNAL_SET_BYTES) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// The argument with which personality(2) returns the current personality and does not change it.
const PERSONALITY_QUERY: libc::c_ulong = 0xffff_ffff;

/// `PER_LINUX`: the default personality, without any flag.
const PERSONALITY_DEFAULT: libc::c_int = 0;

/// Restores the default personality, in case setarch(8) or a debugger has changed it (for example, disabled address
/// space randomization). The value is set only if it differs, because a seccomp filter may refuse the call.
#[expect(unsafe_code, reason = "personality(2) has no safe wrapper here")]
fn default_personality() -> io::Result<()> {
    // SAFETY: personality(2) accesses no memory; it changes only programs that are executed later.
    let is_default = unsafe { libc::personality(PERSONALITY_QUERY) } == PERSONALITY_DEFAULT;
    // SAFETY: personality(2) accesses no memory; it changes only programs that are executed later.
    if is_default || unsafe { libc::personality(0) } != -1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The constant `IOPRIO_WHO_PROCESS` of ioprio_set(2), which selects a single thread.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// Sets the scheduling policy of the calling thread, and of threads that it starts later, to `SCHED_OTHER`.
///
/// # Errors
/// The error of sched_setscheduler(2).
#[expect(unsafe_code, reason = "sched_setscheduler(2) has no safe wrapper here")]
pub(crate) fn set_default_policy() -> io::Result<()> {
    // SAFETY: `sched_param` is a structure of integers, for which all zeros is a valid value.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `param` is read until the call returns, and lives longer. 0 means the calling thread.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const param) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Resets the I/O priority of the calling thread, and of threads that it starts later, to the default, which the kernel
/// derives from the niceness.
///
/// # Errors
/// The error of ioprio_set(2).
#[expect(unsafe_code, reason = "ioprio_set(2) has no safe wrapper")]
pub(crate) fn set_default_io_priority() -> io::Result<()> {
    // SAFETY: ioprio_set(2) takes three integers. The second 0 means the calling thread, and the third 0 means no
    // class.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reopens an output pipe for reading and writing in the child, so that the child itself keeps the read end open. After
/// the end of the supervisor, the child then gets no `SIGPIPE`, and the next supervisor can open the pipe through
/// `/proc/<pid>/fd`.
///
/// An error (for example, without `/proc`) is ignored: the output then stays a write-only pipe.
fn hold_both_ends(path: &CStr, put_in_place: fn(OwnedFd) -> rustix::io::Result<()>) {
    if let Ok(both_ends) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = put_in_place(both_ends);
    }
}

/// Sets the close-on-exec flag of every descriptor except stdin, stdout and stderr.
#[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: close_range(2) with this flag sets close-on-exec on descriptors of this process and closes none, so their
    // owners keep them until exec.
    let answer =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER_FD, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 { Ok(()) } else { close_each_on_exec() }
}

/// Largest number of descriptors that are set one by one.
const DESCRIPTORS_TRIED_MAX: libc::c_int = 1 << 16;

/// Sets the close-on-exec flags one by one. For kernels before Linux 5.11, and for seccomp filters that refuse
/// close_range(2).
#[expect(unsafe_code, reason = "the descriptors are known by their numbers only")]
fn close_each_on_exec() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).current.and_then(|limit| libc::c_int::try_from(limit).ok());
    for number in 3..maximum.unwrap_or(DESCRIPTORS_TRIED_MAX).min(DESCRIPTORS_TRIED_MAX) {
        // SAFETY: fcntl(2) sets a flag of a descriptor of this process, or fails if there is no such descriptor.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EBADF) {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The target of a signal through a pidfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalScope {
    /// The process of the pidfd alone.
    Process,
    /// Every member of the process group that the process leads or led (Linux 6.9).
    Group,
}

/// Sends `signal` through a pidfd, which refers to the same process even after its pid is reused. The same is true for
/// the process group.
///
/// # Errors
/// `EINVAL` for a group before Linux 6.9; `ESRCH` when no process is left; else the error of pidfd_send_signal(2).
#[expect(unsafe_code, reason = "the safe wrappers know neither real-time signals nor groups of a pidfd")]
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal, scope: SignalScope) -> io::Result<()> {
    let number = libc::c_int::from(signal.number());
    let no_info = std::ptr::null::<libc::siginfo_t>();
    let flags = match scope {
        SignalScope::Process => 0,
        SignalScope::Group => SIGNAL_PROCESS_GROUP,
    };
    // SAFETY: pidfd_send_signal(2) reads no memory of this process when `info` is null, and the descriptor is borrowed, hence
    // open.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, flags) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the process group that the process of this pidfd leads or led still has members. Zombies count as members.
/// While the group has members, the kernel does not reuse its id.
///
/// # Errors
/// `EINVAL` before Linux 6.9.
#[expect(unsafe_code, reason = "the safe wrappers do not know groups of a pidfd")]
pub(crate) fn has_group(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: as in `send_signal`; signal 0 only checks for existence.
    let answer =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, no_info, SIGNAL_PROCESS_GROUP) };
    match io::Error::last_os_error() {
        _ if answer == 0 => Ok(true),
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        error => Err(error),
    }
}

/// Sends `signal` to every member of the group that `leader` leads. `leader` must be an unreaped child of this process, so that
/// the id of the group cannot have been reused.
///
/// # Errors
/// The error of kill(2).
#[expect(unsafe_code, reason = "the safe wrappers know no real-time signals")]
pub(crate) fn signal_group(leader: Pid, signal: Signal) -> io::Result<()> {
    let number = libc::c_int::from(signal.number());
    // SAFETY: kill(2) accesses no memory. `leader` is positive by its type and not 1, since it is a child of this process,
    // so its negative is the id of one group and never -1 ("every process").
    match unsafe { libc::kill(-leader.as_raw_nonzero().get(), number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `struct pidfd_info` (linux/pidfd.h) in its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`, Linux 6.13.
const PIDFD_GET_INFO: libc::Ioctl = libc::_IOWR::<PidfdInfo>(0xff, 11);

/// `PIDFD_INFO_EXIT` of the mask, Linux 6.15.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The wait status of a reaped process; `None` if the kernel has not kept it for `pidfd` (before Linux 6.15).
#[expect(unsafe_code, reason = "an ioctl has no safe form")]
pub(crate) fn reaped_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number holds the size of the struct, which is exclusively borrowed for the call and valid for any
    // integers that the kernel writes. A kernel without this request writes nothing.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// Whether the process of a pidfd has ended; `None` when poll(2) fails. Works without `/proc` and across pid
/// namespaces.
#[must_use]
pub fn has_ended(pidfd: BorrowedFd<'_>) -> Option<bool> {
    let mut asked = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::io::retry_on_intr(|| poll(&mut asked, Some(&at_once))) {
        Ok(0) => Some(false),
        Ok(_) if asked.iter().any(|polled| polled.revents().contains(PollFlags::IN)) => Some(true),
        Ok(_) | Err(_) => None,
    }
}

/// Registers a descriptor for readability: a pipe, or a pidfd, which becomes readable when its process ends.
///
/// # Errors
/// The descriptor cannot be registered with the runtime.
///
/// # Panics
/// Outside of a tokio runtime.
#[expect(unsafe_code, reason = "AsyncFd takes any descriptor type, and so cannot be safe")]
pub(crate) fn readiness(descriptor: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` is open and refers to the same descriptor as long as it lives. The `AsyncFd` owns it, and
    // deregisters the descriptor before it drops it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
