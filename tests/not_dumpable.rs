//! The memory of the daemon and of the file descriptor store cannot be read by other processes (prctl(2)), also without privileges.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use nix::unistd::geteuid;

use crate::support::{Place, finish, helpers_of_program, wait_until};

/// A user without privileges and without other processes.
const UNPRIVILEGED: u32 = 65_533;

/// The processes that serve a ledger.
const HELPERS: [&str; 2] = ["daemon", "keeper"];

/// A copy of the program that this user can execute.
fn copied(place: &Place) -> std::path::PathBuf {
    let program = place.path("apm2-ledger");
    fs::copy(env!("CARGO_BIN_EXE_apm2-ledger"), &program).unwrap();
    program
}

/// Runs the program as that user, in a directory of its own.
fn as_user(program: &Path, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--ledger", "ledger"]).args(args).current_dir(dir).env("HOME", dir);
    if geteuid().is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

#[test]
fn the_daemon_of_an_unprivileged_user_works_and_cannot_be_looked_into() {
    let place = Place::new();
    let program = copied(&place);
    let dir = place.path("home");
    fs::create_dir(&dir).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(&dir, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        // The directory of the tests is for its owner alone.
        for parent in dir.ancestors().skip(1).take_while(|parent| parent.starts_with(std::env::temp_dir())) {
            if parent != std::env::temp_dir() {
                let mut mode = fs::metadata(parent).unwrap().permissions();
                std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
                fs::set_permissions(parent, mode).unwrap();
            }
        }
    }
    fs::write(
        dir.join("ecosystem.toml"),
        "[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', 'echo begun; exec sleep 1000']\nenv = { A = 'hunter2' }\n",
    )
    .unwrap();
    finish(&mut as_user(&program, &dir, &["up"])).succeeded();
    let ledger = dir.join("ledger");
    let found = wait_until("the daemon and the keeper run", || {
        let pids = helpers_of_program(&program, &ledger, &HELPERS);
        (pids.len() >= 2).then_some(pids)
    });
    for pid in &found {
        // Files in /proc/PID of a process that is not dumpable belong to root (proc(5)).
        assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0, "{pid}");
    }
    wait_until("its output is kept", || {
        finish(&mut as_user(&program, &dir, &["logs", "it"])).stdout.contains("begun").then_some(())
    });
    // The next daemon adopts it with the descriptors of the keeper.
    finish(&mut as_user(&program, &dir, &["daemon", "--leave"])).succeeded();
    finish(&mut as_user(&program, &dir, &["restart", "it"])).succeeded();
    finish(&mut as_user(&program, &dir, &["down"])).succeeded();
    finish(&mut as_user(&program, &dir, &["daemon", "--stop"])).succeeded();
    wait_until("both are gone", || helpers_of_program(&program, &ledger, &HELPERS).is_empty().then_some(()));
}
