//! A daemon that can create no process and no thread, as at the limit on processes (RLIMIT_NPROC, EAGAIN), which does not apply to root.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Running, Unprivileged, send, wait_until};

/// Longer than a thread without work is kept.
const QUIET: Duration = Duration::from_secs(3);

/// The number of clients at once.
const CLIENTS: usize = 12;

/// Sets the soft limit of the daemon with prlimit(1), as its user.
fn limit(user: &Unprivileged, daemon: u32, soft: &str) {
    let args = ["--pid", &daemon.to_string(), &format!("--nproc={soft}:")];
    assert!(user.command_of("prlimit").args(args).status().unwrap().success());
}

fn handle(user: &Unprivileged) -> Value {
    user.run(&["--format", "json", "show", "it"]).succeeded().json()["handle"].clone()
}

#[test]
fn a_daemon_at_the_limit_on_processes_answers_and_restarts_once_it_can() {
    let user = Unprivileged::new();
    let process = "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n";
    let restart = "restart = { policy = 'always', backoff = '200ms', max_restarts = 1000 }\n";
    fs::write(user.path("ecosystem.toml"), format!("{process}{restart}")).unwrap();
    user.run(&["up"]).succeeded();
    let daemon = user.helpers(&["daemon"])[0];
    let threads = || fs::read_dir(format!("/proc/{daemon}/task")).unwrap().count();
    let (mut count, mut since) = (0, Instant::now());
    wait_until("the threads without work have ended", || {
        if threads() != count {
            (count, since) = (threads(), Instant::now());
        }
        (since.elapsed() >= QUIET).then_some(())
    });
    let before = user
        .command_of("prlimit")
        .args(["--pid", &daemon.to_string(), "--nproc", "--noheadings", "--output=SOFT"])
        .output();
    let before = String::from_utf8(before.unwrap().stdout).unwrap();
    limit(&user, daemon, "1");
    let clients: Vec<Running> = (0..CLIENTS).map(|_| Running::start(&mut user.command(&["list"]))).collect();
    for client in clients {
        let outcome = client.outcome().succeeded();
        assert!(outcome.stdout.contains("running"), "{}", outcome.stdout);
    }
    send(u32::try_from(handle(&user)["pid"].as_u64().unwrap()).unwrap(), Signal::SIGKILL);
    let failed = wait_until("its restart fails", || {
        let events = user.run(&["--format", "json", "tail", "--type", "crashed", "-n", "1"]).succeeded().json();
        let event = events.as_array().unwrap().last()?.to_string();
        event.contains("spawn_failed").then_some(event)
    });
    assert!(failed.contains("unavailable"), "{failed}");
    limit(&user, daemon, before.trim());
    wait_until("it runs again", || (handle(&user)["state"] == "running").then_some(()));
    assert_eq!(user.helpers(&["daemon"]), [daemon]);
    let log = fs::read_to_string(user.path("ledger/daemon.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
