//! A ledger of a user without privileges.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{sys::signal::Signal, unistd::geteuid};

use super::{Outcome, Place, finish, helpers_of_program, is_so_in_time, send};

/// The user of the next test. Each has a user without other processes, whom a limit on processes counts alone.
static NEXT_UID: AtomicU32 = AtomicU32::new(65_400);

/// A directory with a ledger of that user, and a copy of the program that the user can execute. Tests that do not run as root use
/// their own user.
pub(crate) struct Unprivileged {
    program: PathBuf,
    home: PathBuf,
    uid: Option<u32>,
    _place: Place,
}

impl Unprivileged {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let (program, home) = (place.path("apm2-ledger"), place.path("home"));
        fs::copy(env!("CARGO_BIN_EXE_apm2-ledger"), &program).unwrap();
        fs::create_dir(&home).unwrap();
        let uid = geteuid().is_root().then(|| NEXT_UID.fetch_add(1, Ordering::Relaxed));
        if uid.is_some() {
            chown(&home, uid, uid).unwrap();
            // The directory of the test is for its owner alone.
            fs::set_permissions(home.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { program, home, uid, _place: place }
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The program with these arguments, as that user.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_of(&self.program);
        command.args(["--ledger", "ledger"]).args(args);
        command
    }

    /// The same with a limit on the processes and threads of the user, set by prlimit(1).
    pub(crate) fn limited(&self, processes: u32, args: &[&str]) -> Command {
        let mut command = self.command_of("prlimit");
        command.arg(format!("--nproc={processes}")).arg(&self.program).args(["--ledger", "ledger"]).args(args);
        command
    }

    /// Another program, as that user.
    pub(crate) fn command_of(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.home).env("HOME", &self.home);
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        finish(&mut self.command(args))
    }

    /// The processes of the program that serve the ledger in these ways.
    pub(crate) fn helpers(&self, names: &[&str]) -> Vec<u32> {
        helpers_of_program(&self.program, &self.path("ledger"), names)
    }
}

impl Drop for Unprivileged {
    /// Stops the daemon, if there is one, with what it supervises.
    fn drop(&mut self) {
        // The daemon may be gone.
        let _ = self.command(&["daemon", "--stop"]).output();
        let left = || self.helpers(&["daemon", "keeper"]);
        if !is_so_in_time(|| left().is_empty()) {
            left().into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        }
    }
}
