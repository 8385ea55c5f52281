//! The memory of the daemon and of the file descriptor store cannot be read by other processes (prctl(2)), also without privileges.

use std::{fs, os::unix::fs::MetadataExt as _};

use crate::support::{Unprivileged, wait_until};

/// The processes that serve a ledger.
const HELPERS: [&str; 2] = ["daemon", "keeper"];

#[test]
fn the_daemon_of_an_unprivileged_user_works_and_cannot_be_looked_into() {
    let user = Unprivileged::new();
    fs::write(
        user.path("ecosystem.toml"),
        "[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', 'echo begun; exec sleep 1000']\nenv = { A = 'hunter2' }\n",
    )
    .unwrap();
    user.run(&["up"]).succeeded();
    let found = wait_until("the daemon and the keeper run", || {
        let pids = user.helpers(&HELPERS);
        (pids.len() >= 2).then_some(pids)
    });
    for pid in &found {
        // Files in /proc/PID of a process that is not dumpable belong to root (proc(5)).
        assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0, "{pid}");
    }
    wait_until("its output is kept", || user.run(&["logs", "it"]).stdout.contains("begun").then_some(()));
    // The next daemon adopts it with the descriptors of the keeper.
    user.run(&["daemon", "--leave"]).succeeded();
    user.run(&["restart", "it"]).succeeded();
    user.run(&["down"]).succeeded();
    user.run(&["daemon", "--stop"]).succeeded();
    wait_until("both are gone", || user.helpers(&HELPERS).is_empty().then_some(()));
}
