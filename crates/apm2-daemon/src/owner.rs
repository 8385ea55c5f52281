//! Finds the process that has a ledger open, when the daemon of the ledger cannot be reached through its socket.
//!
//! The lock on the ledger's directory (flock(2)) is the evidence, and `/proc/locks` (proc(5)) names its holder. The pid
//! in the owner file alone is no evidence.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use apm2_core::process::proc_is_of_our_namespace;
use apm2_ledger::file;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{major, minor},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::place;

/// The kernel's list of locks.
const LOCKS_FILE: &str = "/proc/locks";

/// The name of the file that contains the pid of the owner. The pid is only a hint.
const OWNER_FILE: &str = "owner";

/// How long to wait for a daemon to create its socket again, or to start again: it reads the ledger before it listens.
pub(crate) const SOCKET_MAX: Duration = Duration::from_secs(15);

/// Interval between two attempts to connect to a daemon that creates its socket again.
pub(crate) const SOCKET_POLL: Duration = Duration::from_millis(20);

/// How long a process without a command line counts as being in execve(2). Also the interval of the checks.
const EXEC_WAIT_MAX: Duration = Duration::from_secs(1);

const EXEC_WAIT_POLL: Duration = Duration::from_millis(5);

/// The subcommand in its command line by which a daemon is recognized.
const DAEMON_ARGUMENT: &[u8] = b"daemon";

/// The owner of a ledger: the process that has it open.
#[derive(Debug)]
pub enum Ownership {
    /// No process has the ledger open.
    Free,
    /// A visible process has the ledger open.
    Process(Owner),
    /// A process in another pid namespace, which is not visible here, has the ledger open.
    Unseen,
}

/// The process that has a ledger open.
#[derive(Debug)]
pub struct Owner {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Finds the process that has the ledger in `dir` open now.
///
/// # Errors
/// The directory cannot be opened or locked.
pub fn ownership(dir: &Path) -> io::Result<Ownership> {
    let opened = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ownership::Free),
        opened => opened?,
    };
    if is_free(&opened)? {
        return Ok(Ownership::Free);
    }
    for pid in holders(dir, &opened)? {
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => continue,
            pidfd => pidfd?,
        };
        // The lock is checked again after the pidfd was opened. From then on, the pidfd refers to this process even if
        // its pid is reused.
        if holders(dir, &opened)?.contains(&pid) {
            return Ok(Ownership::Process(Owner { pid, pidfd }));
        }
    }
    Ok(if is_free(&opened)? { Ownership::Free } else { Ownership::Unseen })
}

/// Whether no process has the ledger in the directory open. The lock is tried before its holder is looked up, because the first
/// read of `/proc/locks` in a while takes 10 ms and more: the kernel waits until all processors have passed a quiescent state
/// (RCU).
fn is_free(opened: &File) -> io::Result<bool> {
    match opened.try_lock_shared() {
        // A starting owner waits longer for the lock than it is held here.
        Ok(()) => opened.unlock().map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the process `pid` may have the ledger in `dir` open. `None` stands for a process that is not visible here.
/// Returns false if another process or no process has the ledger open.
///
/// The usual case is answered without `/proc/locks`: the lock is held, the owner file names `pid`, and the file `place` names this
/// directory. A hard-linked copy of the directory has the owner file of the original, but its `place` names the original.
///
/// # Errors
/// The directory cannot be opened, or `/proc/locks` cannot be read.
pub(crate) fn may_be_owner(dir: &Path, pid: Option<u32>) -> io::Result<bool> {
    let opened = File::open(dir)?;
    if is_free(&opened)? {
        return Ok(false);
    }
    if pid.is_some() && noted_owner(dir) == pid && place::is_noted_for(dir, &opened.metadata()?) {
        return Ok(true);
    }
    // The pids in `/proc/locks` are those of the pid namespace to which `/proc` belongs.
    let holders = if proc_is_of_our_namespace() { holders(dir, &opened)? } else { Vec::new() };
    let is_pid = |holder: &Pid| i32::try_from(pid.unwrap_or_default()) == Ok(holder.as_raw_nonzero().get());
    Ok(if holders.is_empty() { !is_free(&opened)? } else { holders.iter().any(is_pid) })
}

/// The process in the owner file, which took the lock last. In a copy of the directory it is the owner of the original.
fn noted_owner(dir: &Path) -> Option<u32> {
    String::from_utf8(file::read(&dir.join(OWNER_FILE)).ok()?).ok()?.trim().parse().ok()
}

/// The processes that hold an exclusive lock on the directory. Some file systems (btrfs) show different device numbers
/// for files and for locks. There, the result is the process in the owner file.
fn holders(dir: &Path, opened: &File) -> io::Result<Vec<Pid>> {
    let metadata = opened.metadata()?;
    let device = (major(metadata.dev()), minor(metadata.dev()));
    let hint = noted_owner(dir).and_then(|pid| i32::try_from(pid).ok());
    let text = fs::read_to_string(LOCKS_FILE)?;
    let of_inode = text.lines().filter_map(parse_lock_line).filter(|lock| lock.inode == metadata.ino());
    let of_dir = of_inode.filter(|lock| lock.device == device || Some(lock.pid) == hint);
    Ok(of_dir.filter_map(|lock| Pid::from_raw(lock.pid)).collect())
}

/// An exclusive flock(2) lock in `/proc/locks`.
#[derive(Debug, PartialEq, Eq)]
struct HeldLock {
    pid: i32,
    device: (u32, u32),
    inode: u64,
}

/// Parses a line such as `1: FLOCK  ADVISORY  WRITE 708 00:13:405 0 EOF` (proc(5)). The device numbers are hexadecimal.
fn parse_lock_line(line: &str) -> Option<HeldLock> {
    let mut arguments = line.split_ascii_whitespace().skip(1);
    if (arguments.next()?, arguments.next()?, arguments.next()?) != ("FLOCK", "ADVISORY", "WRITE") {
        return None;
    }
    let pid = arguments.next()?.parse().ok()?;
    let mut place = arguments.next()?.split(':');
    let mut number = || u32::from_str_radix(place.next()?, 16).ok();
    let device = (number()?, number()?);
    Some(HeldLock { pid, device, inode: place.next()?.parse().ok()? })
}

impl Owner {
    /// The pid of the owner.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The command line for display; empty if it cannot be read.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.arguments().iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    /// Whether the owner is a daemon of this program, and not another program that has the ledger open. The command
    /// line decides this, because `/proc/<pid>/exe` of a process that is not dumpable cannot be read (proc(5)).
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        let arguments = self.arguments();
        let name = |path: &Path| path.file_name().map(OsStr::to_owned);
        let own = std::env::current_exe().ok().and_then(|path| name(&path));
        let program = arguments.first().and_then(|word| name(Path::new(OsStr::from_bytes(word))));
        own.is_some() && program == own && arguments.iter().skip(1).any(|word| word == DAEMON_ARGUMENT)
    }

    /// The arguments of the owner; empty if the process has ended. A process in execve(2) has no arguments for a
    /// moment.
    fn arguments(&self) -> Vec<Vec<u8>> {
        let began = Instant::now();
        loop {
            let line = fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
            if !line.is_empty() || self.has_ended(EXEC_WAIT_POLL) || began.elapsed() > EXEC_WAIT_MAX {
                return line.split(|byte| *byte == 0).map(<[u8]>::to_vec).filter(|word| !word.is_empty()).collect();
            }
        }
    }

    /// Sends a signal to the owner: SIGTERM, at which a daemon stops all processes and exits, or with `leave` SIGHUP,
    /// at which it exits and leaves the processes running. Does nothing if the owner has ended.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2).
    pub fn end(&self, leave: bool) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, if leave { Signal::HUP } else { Signal::TERM }) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Waits for the end of the owner, at most for `max`. Returns whether it has ended.
    #[must_use]
    pub fn has_ended(&self, max: Duration) -> bool {
        let began = Instant::now();
        loop {
            let left = max.saturating_sub(began.elapsed());
            let Ok(timeout) = Timespec::try_from(left) else { return false };
            let polled = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout));
            match polled {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use apm2_core::process::LedgerPlace;

    use super::*;

    #[test]
    fn a_line_of_proc_locks_is_parsed() {
        let lock = parse_lock_line("12: FLOCK  ADVISORY  WRITE 708 fe:1a:405 0 EOF").unwrap();
        assert_eq!(lock, HeldLock { pid: 708, device: (0xfe, 0x1a), inode: 405 });
        for line in [
            "12: FLOCK  ADVISORY  READ 708 fe:1a:405 0 EOF",
            "12: -> FLOCK  ADVISORY  WRITE 708 fe:1a:405 0 EOF",
            "1: POSIX  ADVISORY  WRITE 708 fe:1a:405 0 EOF",
            "",
        ] {
            assert_eq!(parse_lock_line(line), None, "{line}");
        }
    }

    #[test]
    fn the_holder_of_the_lock_is_found_and_no_one_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ownership(dir.path()).unwrap(), Ownership::Free));
        // A wrong pid in the file is ignored.
        fs::write(dir.path().join(OWNER_FILE), "1\n").unwrap();
        assert!(matches!(ownership(dir.path()).unwrap(), Ownership::Free));
        let held = File::open(dir.path()).unwrap();
        held.try_lock().unwrap();
        let Ownership::Process(owner) = ownership(dir.path()).unwrap() else { panic!("it is not found") };
        assert_eq!(owner.pid(), std::process::id());
        assert!(!owner.is_daemon() && !owner.has_ended(Duration::ZERO));
        assert!(may_be_owner(dir.path(), Some(std::process::id())).unwrap());
        assert!(!may_be_owner(dir.path(), Some(1)).unwrap());
        drop(held);
        assert!(!may_be_owner(dir.path(), Some(std::process::id())).unwrap());
        assert!(matches!(ownership(dir.path()).unwrap(), Ownership::Free));
        assert!(matches!(ownership(&dir.path().join("missing")).unwrap(), Ownership::Free));
    }

    #[test]
    fn the_files_of_the_owner_prove_only_the_ownership_of_their_own_directory() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // This process holds no lock; another process would be found in /proc/locks.
        let other = std::os::unix::process::parent_id();
        fs::write(dir.path().join(OWNER_FILE), format!("{other}\n")).unwrap();
        place::note(dir.path(), LedgerPlace { nonce: uuid::Uuid::new_v4(), has_old_markers: false }).unwrap();
        for name in [OWNER_FILE, "place"] {
            fs::hard_link(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        assert!(!may_be_owner(dir.path(), Some(other)).unwrap(), "the directory is not locked");
        let held = [&dir, &copy].map(|dir| File::open(dir.path()).unwrap());
        held.iter().for_each(|held| held.try_lock().unwrap());
        assert!(may_be_owner(dir.path(), Some(other)).unwrap(), "the files answer");
        assert!(!may_be_owner(copy.path(), Some(other)).unwrap(), "the file `place` is of another directory");
        assert!(may_be_owner(copy.path(), Some(std::process::id())).unwrap());
        assert!(!may_be_owner(dir.path(), Some(1)).unwrap());
    }
}
