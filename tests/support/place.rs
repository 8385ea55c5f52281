//! A directory of its own for each test, and the program run in it with an environment of its own.

use std::{
    ffi::OsStr,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Running, send, wait::PATIENCE};

/// A temporary directory with a ledger in it.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
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

    /// The types of those events.
    pub(crate) fn types(&self, name: &str) -> Vec<String> {
        self.events(name).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
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
