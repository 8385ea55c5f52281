//! Finds daemons whose ledger directory was removed, so that clients cannot reach them through its path.
//!
//! Such a daemon can be found neither by its lock nor by its socket. `/proc/<pid>/fd` is not readable, since a daemon
//! is not dumpable (proc(5)). The command line of the daemon contains the directory.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use nix::unistd::geteuid;

/// The command-line option that names the ledger directory.
const LEDGER_OPTION: &[u8] = b"--ledger";

/// A running daemon whose command line names a certain ledger.
#[derive(Debug)]
pub struct Stray {
    /// The pid of the daemon.
    pub pid: u32,
    /// The child processes of the daemon, each as its name with its pid. Processes that the daemon took over from an
    /// earlier daemon are not its children.
    pub children: Vec<String>,
}

/// The daemons of this user, in this pid namespace, that were started with the option `--ledger` and this directory.
#[must_use]
pub fn strays(dir: &Path) -> Vec<Stray> {
    let Ok(dir) = std::path::absolute(dir) else { return Vec::new() };
    let processes = processes();
    let daemons = processes.iter().filter(|process| process.is_helper("daemon") && process.is_of(&dir));
    let with_children = daemons.map(|daemon| Stray { pid: daemon.pid, children: children(&processes, daemon.pid) });
    with_children.collect()
}

fn children(processes: &[Process], parent: u32) -> Vec<String> {
    let children = processes.iter().filter(|process| process.parent == parent && !process.is_helper("keeper"));
    children.map(|child| format!("{} (pid {})", child.name, child.pid)).collect()
}

/// A process of this user, as shown by `/proc`.
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    words: Vec<Vec<u8>>,
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::of).collect()
}

impl Process {
    /// `None` if the process belongs to another user, has ended, or is in another pid namespace, where paths may have
    /// another meaning (containers).
    fn of(pid: u32) -> Option<Self> {
        let dir = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(dir.join("status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let is_ours = field("Uid")?.split_ascii_whitespace().nth(1) == Some(geteuid().to_string().as_str());
        let is_zombie = field("State")?.starts_with('Z');
        if !is_ours || is_zombie || field("NSpid").is_some_and(|pids| pids.split_ascii_whitespace().count() > 1) {
            return None;
        }
        let line = fs::read(dir.join("cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).filter(|word| !word.is_empty()).collect();
        Some(Self { pid, parent: field("PPid")?.parse().ok()?, name: field("Name")?.to_owned(), words })
    }

    /// Whether the process runs this program with this subcommand.
    fn is_helper(&self, subcommand: &str) -> bool {
        let program = self.words.first().and_then(|word| Path::new(OsStr::from_bytes(word)).file_name());
        let own = std::env::current_exe().ok();
        let is_own = program.is_some() && program == own.as_deref().and_then(Path::file_name);
        let is_asked_to_end = self.words.iter().any(|word| word == b"--stop" || word == b"--leave");
        is_own && !is_asked_to_end && self.words.iter().skip(1).any(|word| word == subcommand.as_bytes())
    }

    /// Whether the command line of the process names the ledger in `dir`, which must be an absolute path.
    fn is_of(&self, dir: &Path) -> bool {
        let named = self.words.windows(2).any(
            |pair| matches!(pair, [option, path] if option == LEDGER_OPTION && path == dir.as_os_str().as_bytes()),
        );
        named && self.pid != std::process::id()
    }
}
