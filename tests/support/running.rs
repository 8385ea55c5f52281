//! A running supervisor (`apm2-ledger run`).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, Command, Output, Stdio},
    thread,
};

use nix::sys::signal::Signal;

use super::{Outcome, send, wait_until};

/// `apm2-ledger run` with its command. Both are ended when this is dropped.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child) }
    }

    /// The supervisor's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The supervisor process, for tests that read its output themselves.
    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the exit of the supervisor and reads its output.
    pub(crate) fn outcome(mut self) -> Outcome {
        let reading = self.child.as_mut().map(read_all).unwrap();
        let status = wait_until("the supervisor leaves", || self.child().try_wait().unwrap());
        self.child = None;
        let (stdout, stderr) = reading;
        Outcome::new(&Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() })
    }

    /// Kills only the supervisor, as a crash would; its command goes on.
    pub(crate) fn crash(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

type Reading = thread::JoinHandle<Vec<u8>>;

fn read_all(child: &mut Child) -> (Reading, Reading) {
    (read(child.stdout.take()), read(child.stderr.take()))
}

fn read(pipe: Option<impl std::io::Read + Send + 'static>) -> Reading {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        bytes
    })
}

impl Drop for Running {
    /// Sends signals until it exits: from the second one on, the command's whole group is killed at once.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let mut left = || {
            let status = child.try_wait().unwrap();
            if status.is_none() {
                send(child.id(), Signal::SIGTERM);
                // It may be suspended.
                send(child.id(), Signal::SIGCONT);
            }
            status
        };
        if thread::panicking() {
            // A second panic would hide the first.
            drop(catch_unwind(AssertUnwindSafe(|| wait_until("the supervisor leaves", &mut left))));
        } else {
            wait_until("the supervisor leaves", &mut left);
        }
    }
}
