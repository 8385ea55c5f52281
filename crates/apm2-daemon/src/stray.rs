//! Daemons that cannot be reached by the path of their ledger: its directory was removed.
//!
//! Such a daemon can be found by neither lock nor socket, and /proc/pid/fd is not readable, since it is not dumpable (proc(5)).
//! Its command line names the directory.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use nix::unistd::geteuid;

/// The option of the command line that names the directory of the ledger.
const LEDGER_OPTION: &[u8] = b"--ledger";

/// A daemon whose command line names a ledger.
#[derive(Debug)]
pub struct Stray {
    /// Its pid.
    pub pid: u32,
    /// Its child processes, each by its name with its pid. What it took over from an earlier daemon is not its child.
    pub children: Vec<String>,
}

/// The daemons of this user that were started with the option `--ledger` and this directory, in this pid namespace.
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

/// A process of this user, as /proc shows it.
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
    /// `None` where it is another user's, ended, or in another pid namespace: a container has paths of its own.
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

    /// Whether it is this program with this subcommand.
    fn is_helper(&self, subcommand: &str) -> bool {
        let program = self.words.first().and_then(|word| Path::new(OsStr::from_bytes(word)).file_name());
        let own = std::env::current_exe().ok();
        let is_own = program.is_some() && program == own.as_deref().and_then(Path::file_name);
        let is_asked_to_end = self.words.iter().any(|word| word == b"--stop" || word == b"--leave");
        is_own && !is_asked_to_end && self.words.iter().skip(1).any(|word| word == subcommand.as_bytes())
    }

    /// Whether its command line names the ledger in `dir`, which is absolute.
    fn is_of(&self, dir: &Path) -> bool {
        let named = self.words.windows(2).any(
            |pair| matches!(pair, [option, path] if option == LEDGER_OPTION && path == dir.as_os_str().as_bytes()),
        );
        named && self.pid != std::process::id()
    }
}
