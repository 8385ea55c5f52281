//! The daemon of the ledger and the file descriptor store.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_core::process::identify;
use apm2_daemon::{
    client::{Client, ClientError, Received},
    fd_store,
    owner::{Ownership, ownership},
    protocol::{CallAnswer, ClientRequest, FailureKind},
    reader::DaemonReader,
    stray::strays,
};
use apm2_ledger::ReadLedger as _;
use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use nix::unistd::{SysconfVar, sysconf};

/// Tolerance of the comparison of the start of a process with the time of a file, in seconds.
const START_SLACK_SECS: i64 = 2;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Timeout for an answer of the daemon.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The process that has the ledger open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnerFacts {
    /// No process has it open.
    None,
    Process {
        pid: u32,
        is_daemon: bool,
        command: String,
    },
    /// A process of another pid namespace has it open.
    Unseen,
    /// It cannot be found out.
    Unknown(String),
}

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnswerFacts {
    /// No process listens on the socket.
    Unconnected,
    /// The command does not ask the daemon (`--offline`).
    NotAsked,
    Answered {
        pid: u32,
        version: String,
    },
    /// The ledger cannot be written any more.
    Poisoned(String),
    Failed(String),
}

/// The program file of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramFacts {
    Present,
    /// It was removed or replaced after the daemon had started.
    Deleted,
    /// The file at its path was changed after the daemon had started, or its metadata was.
    Changed,
    /// The kernel does not show it.
    Unknown,
}

/// The file descriptor store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreFacts {
    Absent,
    Answers,
    Failed(String),
}

/// The facts about the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DaemonFacts {
    pub(crate) owner: OwnerFacts,
    pub(crate) answer: AnswerFacts,
    pub(crate) program: ProgramFacts,
    pub(crate) own_version: &'static str,
    pub(crate) store: StoreFacts,
    /// Number of processes with a launch file.
    pub(crate) launched: u64,
    /// Pids of daemons of this path whose ledger directory was removed.
    pub(crate) strays: Vec<u32>,
}

impl DaemonFacts {
    pub(crate) fn look(dir: &Path, is_offline: bool) -> Self {
        let owner = match ownership(dir) {
            Ok(Ownership::Free) => OwnerFacts::None,
            Ok(Ownership::Unseen) => OwnerFacts::Unseen,
            Ok(Ownership::Process(owner)) => {
                OwnerFacts::Process { pid: owner.pid(), is_daemon: owner.is_daemon(), command: owner.command_line() }
            }
            Err(error) => OwnerFacts::Unknown(error.to_string()),
        };
        let pid = pid_of(&owner);
        let answer = match is_offline {
            true if owner == OwnerFacts::None => AnswerFacts::Unconnected,
            true => AnswerFacts::NotAsked,
            false => answer(dir),
        };
        // The check of the directory reports a directory that cannot be opened.
        let store = match fd_store::answers(dir) {
            _ if fs::read_dir(dir).is_err() => StoreFacts::Absent,
            Ok(true) => StoreFacts::Answers,
            Ok(false) => StoreFacts::Absent,
            Err(error) => StoreFacts::Failed(error.to_string()),
        };
        let launched = apm2_daemon::launched(dir).ok().flatten().map_or(0, |launched| launched.len());
        let others = strays(dir).into_iter().map(|stray| stray.pid).filter(|stray| Some(*stray) != pid);
        Self {
            program: pid.map_or(ProgramFacts::Unknown, program_of),
            answer,
            own_version: env!("CARGO_PKG_VERSION"),
            store,
            launched: u64::try_from(launched).unwrap_or(u64::MAX),
            strays: if owner == OwnerFacts::None { others.collect() } else { Vec::new() },
            owner,
        }
    }

    /// The pid of the daemon, if one runs in this pid namespace.
    pub(crate) const fn pid(&self) -> Option<u32> {
        pid_of(&self.owner)
    }
}

const fn pid_of(owner: &OwnerFacts) -> Option<u32> {
    match owner {
        OwnerFacts::Process { pid, .. } => Some(*pid),
        OwnerFacts::None | OwnerFacts::Unseen | OwnerFacts::Unknown(_) => None,
    }
}

fn answer(dir: &Path) -> AnswerFacts {
    let asked = || {
        let Some(client) = Client::connect(dir)? else { return Ok(AnswerFacts::Unconnected) };
        let (pid, version) = hello(client)?;
        // A daemon says hello also when its ledger is poisoned, but does not read it.
        if let Some(client) = Client::connect(dir)? {
            DaemonReader::new(client, dir, ANSWER_MAX).head()?;
        }
        Ok(AnswerFacts::Answered { pid, version })
    };
    asked().unwrap_or_else(|error: ClientError| match error {
        ClientError::Refused { kind: FailureKind::Unusable, message, .. } => AnswerFacts::Poisoned(message),
        // The check of the directory reports this.
        ClientError::Unsafe(_) => AnswerFacts::Unconnected,
        error => AnswerFacts::Failed(error.to_string()),
    })
}

fn hello(mut client: Client) -> Result<(u32, String), ClientError> {
    client.set_timeout(ANSWER_MAX).map_err(ClientError::Gone)?;
    client.ask(ClientRequest::Hello, None, None)?;
    match client.receive()? {
        Received::Done(CallAnswer::Hello { pid, version }) => Ok((pid, version)),
        _ => Err(ClientError::Protocol("another answer than to hello".to_owned())),
    }
}

/// The program file of the process `pid`. The link of a process that is not dumpable can be read by root only (proc(5)); the
/// first word of the command line is used instead.
fn program_of(pid: u32) -> ProgramFacts {
    const DELETED: &[u8] = b" (deleted)";
    if let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) {
        let is_deleted = program.as_os_str().as_bytes().ends_with(DELETED);
        return if is_deleted { ProgramFacts::Deleted } else { ProgramFacts::Present };
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = PathBuf::from(OsStr::from_bytes(first));
    if !program.is_absolute() {
        return ProgramFacts::Unknown;
    }
    match fs::metadata(&program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => ProgramFacts::Deleted,
        Ok(metadata) if started_at(pid).is_some_and(|started| metadata.ctime() > started + START_SLACK_SECS) => {
            ProgramFacts::Changed
        }
        Ok(_) | Err(_) => ProgramFacts::Unknown,
    }
}

/// The time at which the process `pid` started, in seconds since 1970.
fn started_at(pid: u32) -> Option<i64> {
    let ticks_per_sec = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
    let since_boot = identify(pid)?.start_ticks / ticks_per_sec;
    let now = SystemClock.now();
    let age = (now.boot_ns / NANOS_PER_SEC).checked_sub(since_boot)?;
    now.wall().timestamp().checked_sub(i64::try_from(age).ok()?)
}
