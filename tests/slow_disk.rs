//! A disk that takes seconds to sync delays what is recorded, and no read-only answer.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    daemon_troubles::{answer, frame},
    support::{Place, gone, send, wait_until},
};

/// Delay that is added to every fdatasync(2) of the daemon.
const DELAY: Duration = Duration::from_secs(2);

/// Time limit for an answer, including the start of the client. On an idle machine it takes 20 ms or less; tests run
/// concurrently.
const ANSWER_MAX: Duration = Duration::from_millis(1000);

const PROCESSES: usize = 20;

fn wait_for_answer(place: &Place) {
    let hello = frame(br#"{"version":1,"reason":null,"terminal":null,"request":"hello"}"#);
    let socket = place.ledger().join("daemon.sock");
    let asked = || std::os::unix::net::UnixStream::connect(&socket).is_ok() && answer(place, &hello).contains("pid");
    wait_until("the daemon answers", || asked().then_some(()));
}

#[test]
#[ignore = "needs strace, and takes half a minute"]
fn restarts_that_wait_for_the_disk_let_others_read() {
    let place = Place::new();
    let one = |number: usize| {
        let script = "echo hello; exec sleep 1000";
        format!("[[process]]\nname = 'it{number}'\ncommand = 'sh'\nargs = ['-c', '{script}']\n")
    };
    let file: String = (0..PROCESSES).map(one).collect();
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]).succeeded();
    let before = place.daemon().unwrap();
    send(before, Signal::SIGHUP);
    wait_until("the daemon leaves", || gone(before).then_some(()));
    let inject = format!("inject=fdatasync:delay_enter={}", DELAY.as_micros());
    let daemon = place.command(&["daemon"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject]);
    traced.arg(daemon.get_program()).args(daemon.get_args()).current_dir(place.path(""));
    traced.env("APM2_LEDGER_DIR", place.ledger()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut traced = traced.spawn().unwrap();
    wait_for_answer(&place);
    let mut restarting = place.command(&["restart", "all"]);
    let mut restarting = restarting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut answered = 0;
    while restarting.try_wait().unwrap().is_none() {
        for args in [&["list"][..], &["show", "it0"], &["logs", "it0"]] {
            let began = Instant::now();
            place.run(args).succeeded();
            assert!(began.elapsed() < ANSWER_MAX, "{args:?} took {:?}", began.elapsed());
            answered += 1;
        }
    }
    assert!(restarting.wait().unwrap().success());
    assert!(answered > 3, "the disk was not slow");
    place.run(&["daemon", "--stop"]).succeeded();
    traced.wait().unwrap();
}
