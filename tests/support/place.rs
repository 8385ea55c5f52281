//! A directory of its own for each test, and the program run in it with an environment of its own.

use std::{
    ffi::OsStr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Running, send,
    wait::{PATIENCE, is_so_in_time},
};

/// A temporary directory with a ledger in it.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    /// The same, with a daemon that supervises the processes of an ecosystem file.
    pub(crate) fn supervising(ecosystem: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.path("ecosystem.toml"), ecosystem).unwrap();
        place.run(&["up"]).succeeded();
        place
    }

    /// The same, for one process `it` that executes `sh -c script`; `more` is added to its table.
    pub(crate) fn supervising_script(script: &str, more: &str) -> Self {
        Self::supervising(&format!("[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\n{more}\n"))
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of the ledger; made by the first `run`.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("ledger")
    }

    /// The program with these arguments: no input, nothing of our environment but `PATH`.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apm2-ledger"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path())
            .env("APM2_LEDGER_DIR", self.ledger())
            .stdin(Stdio::null());
        command
    }

    /// Stops the daemon, and waits until it is gone.
    pub(crate) fn stop_daemon(&self) {
        self.run(&["daemon", "--stop"]).succeeded();
        assert!(is_so_in_time(|| self.daemon().is_none()), "the daemon does not leave");
    }

    /// The pid of the daemon, if there is one.
    pub(crate) fn daemon(&self) -> Option<u32> {
        helpers_of(&self.ledger(), &["daemon"]).first().copied()
    }

    /// Kills the daemon, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        let pid = self.daemon().unwrap_or_else(|| panic!("no daemon runs that could be killed"));
        send(pid, Signal::SIGKILL);
        assert!(is_so_in_time(|| super::gone(pid)));
    }

    /// Runs the program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        finish(&mut self.command(args))
    }

    /// Supervises `sh -c script`, with `options` before the command.
    pub(crate) fn run_script(&self, options: &[&str], script: &str) -> Outcome {
        self.run(&script_args(options, script))
    }

    /// The same, and does not wait for its end.
    pub(crate) fn start_script(&self, options: &[&str], script: &str) -> Running {
        Running::start(&mut self.command(&script_args(options, script)))
    }

    /// The JSON document that these arguments print.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = ["--format", "json"].iter().chain(args).copied().collect();
        self.run(&args).succeeded().json()
    }

    /// The events of a process, oldest first.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        self.json(&["show", name])["events"].as_array().unwrap().clone()
    }

    /// The pid of a process that runs.
    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        u32::try_from(self.json(&["show", name])["handle"]["pid"].as_u64().unwrap()).unwrap()
    }

    /// The types of those events.
    pub(crate) fn types(&self, name: &str) -> Vec<String> {
        self.events(name).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Place {
    /// Nothing of the test is left: its daemon stops what it still supervises, and is waited for, with its keeper.
    fn drop(&mut self) {
        let stopped = self.command(&["daemon", "--stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let all = || helpers_of(&self.ledger(), &["daemon", "keeper"]);
        let is_clean = stopped.is_ok() && is_so_in_time(|| all().is_empty());
        for pid in all() {
            send(pid, Signal::SIGKILL);
        }
        // A second failure would hide the first.
        assert!(is_clean || thread::panicking(), "a daemon or a keeper is left");
    }
}

/// The processes that serve a ledger under these names.
pub(crate) fn helpers_of(ledger: &Path, names: &[&str]) -> Vec<u32> {
    helpers_of_program(Path::new(env!("CARGO_BIN_EXE_apm2-ledger")), ledger, names)
}

/// The same of a copy of the program.
///
/// A child of a daemon has its command line from fork(2) to execve(2), and a lower pid than the daemon after the pids began anew:
/// it is left out.
pub(crate) fn helpers_of_program(program: &Path, ledger: &Path, names: &[&str]) -> Vec<u32> {
    let found = with_command_line(program, ledger, names);
    let is_child = |(pid, line): &&(u32, Vec<u8>)| {
        parent(*pid).is_some_and(|parent| found.iter().any(|(pid, same)| *pid == parent && same == line))
    };
    found.iter().filter(|found| !is_child(found)).map(|(pid, _)| *pid).collect()
}

/// The parent of a process (proc_pid_stat(5)); `None` when it has ended.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The processes of which the command line says that they serve a ledger, with that.
fn with_command_line(program: &Path, ledger: &Path, names: &[&str]) -> Vec<(u32, Vec<u8>)> {
    let (program, ledger) = (program.to_str().unwrap(), ledger.to_str().unwrap());
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let serves = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let is_ours = words.next().is_some_and(|word| word == program);
        let words: Vec<_> = words.collect();
        let is_helper = words.iter().any(|word| names.contains(&&**word));
        is_ours && is_helper && words.iter().any(|word| word == ledger) && !words.iter().any(|word| word == "--stop")
    };
    let lines = pids.map(|pid: u32| (pid, std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()));
    lines.filter(|(_, line)| serves(line)).collect()
}

fn script_args<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    ["run"].into_iter().chain(options.iter().copied()).chain(["--", "sh", "-c", script]).collect()
}

/// Runs `command` to its end, which must come.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiting = thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        send(pid, Signal::SIGKILL);
        panic!("{command:?} does not end");
    };
    waiting.join().unwrap().unwrap();
    Outcome::new(&output)
}

/// How the program ended and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn new(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        let code = code.unwrap_or_else(|| panic!("killed by signal {:?}: {stderr}", output.status.signal()));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Self { code, bytes: output.stdout.clone(), stdout, stderr }
    }

    /// The same, if the code is `code`.
    #[track_caller]
    pub(crate) fn left_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.left_with(0)
    }

    /// The same, if standard error holds all of `words`.
    #[track_caller]
    pub(crate) fn said(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}
