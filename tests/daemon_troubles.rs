//! Clients that misbehave, a ledger that vanishes, a daemon that is frozen, many processes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Place, Running, gone, send, wait_until};

/// A call as it is sent.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}

/// What the daemon answers to these bytes, until it closes the connection.
pub(crate) fn answer(place: &Place, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(place.ledger().join("daemon.sock")).unwrap();
    // It may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answered = Vec::new();
    let _ = stream.read_to_end(&mut answered);
    String::from_utf8_lossy(&answered).into_owned()
}

#[test]
fn garbage_is_refused_without_harm() {
    let place = Place::supervising_script("sleep 1000", "");
    for (bytes, said) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not a call"),
        (vec![0xff; 64], "not a call"),
        (frame(b"{}"), "version"),
        (frame(br#"{"version":99,"request":"hello"}"#), "version"),
        (frame(br#"{"version":1,"request":{"conquer":{}}}"#), "not a call"),
        (frame(&vec![b'['; 100_000]), "not a call"),
        (vec![0, 0, 0, 0], "not a call"),
    ] {
        let answered = answer(&place, &bytes);
        assert!(answered.contains(said), "{:?}: {answered:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
    assert_eq!(place.json(&["list"])[0]["state"], "running");
}

#[test]
fn a_client_that_stalls_does_not_block_others() {
    let place = Place::supervising_script("sleep 1000", "");
    let stalled: Vec<UnixStream> = (0..30)
        .map(|_| {
            let mut stream = UnixStream::connect(place.ledger().join("daemon.sock")).unwrap();
            stream.write_all(&[0, 0]).unwrap();
            stream
        })
        .collect();
    // One that asks for much and reads nothing.
    let mut deaf = UnixStream::connect(place.ledger().join("daemon.sock")).unwrap();
    let call = br#"{"version":1,"reason":null,"terminal":null,"request":{"follow":{"first":1}}}"#;
    deaf.write_all(&frame(call)).unwrap();
    let began = Instant::now();
    place.run(&["restart", "it"]).succeeded();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop((stalled, deaf));
}

#[test]
fn twenty_clients_at_once_start_one_daemon_and_are_all_served() {
    let place = Place::new();
    let running: Vec<_> = (0..20)
        .map(|number| {
            let name = format!("client-{number}");
            let script = format!("exit {number}");
            let mut command = place.command(&["run", "--name", &name, "--", "sh", "-c", &script]);
            (number, command.stderr(std::process::Stdio::piped()).spawn().unwrap())
        })
        .collect();
    for (number, child) in running {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(number), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(place.json(&["list", "--all"]).as_array().unwrap().len(), 20);
    let events: Vec<String> =
        place.run(&["--format", "jsonl", "tail", "-n", "1000"]).succeeded().stdout.lines().map(str::to_owned).collect();
    let started = events.iter().filter(|line| line.contains("\"supervisor_started\"")).count();
    assert_eq!(started, 1);
}

#[test]
fn a_ledger_that_is_removed_is_an_error_and_the_processes_run_on() {
    let place = Place::supervising_script("trap \"\" PIPE; while :; do echo line; sleep 0.01; done", "");
    let pid = place.pid_of("it");
    let daemon = place.daemon().unwrap();
    let mut client = UnixStream::connect(place.ledger().join("daemon.sock")).unwrap();
    // The daemon makes files in it meanwhile.
    wait_until("it is removed", || fs::remove_dir_all(place.ledger()).ok());
    let call = br#"{"version":1,"reason":null,"terminal":null,"request":{"stop":{"targets":["it"]}}}"#;
    client.write_all(&frame(call)).unwrap();
    let mut answered = Vec::new();
    client.read_to_end(&mut answered).unwrap();
    let answered = String::from_utf8_lossy(&answered);
    assert!(answered.contains("the ledger's directory was removed"), "{answered}");
    assert!(!gone(pid), "it runs on");
    for leaving in ["--stop", "--leave"] {
        let asked = place.run(&["daemon", leaving]).left_with(5);
        drop(asked.said(&["was removed", &format!("the daemon, process {daemon}"), &format!("sh (pid {pid})")]));
    }
    assert!(!place.ledger().exists(), "nothing is made in its place");
    send(pid, Signal::SIGKILL);
    wait_until("the daemon has nothing left to do, and leaves", || gone(daemon).then_some(()));
    place.run(&["daemon", "--stop"]).succeeded().said(&["there is no daemon"]);
}

#[test]
fn a_daemon_that_was_stopped_goes_on() {
    let place = Place::supervising_script("i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done", "");
    let daemon = place.daemon().unwrap();
    let count = || place.run(&["logs", "it", "--stdout", "-n", "all"]).succeeded().stdout.lines().count();
    wait_until("it writes", || (count() > 50).then_some(()));
    send(daemon, Signal::SIGSTOP);
    let frozen = count();
    wait_until("the process writes on", || {
        fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap().contains(") T ").then_some(())
    });
    send(daemon, Signal::SIGCONT);
    wait_until("and is read on", || (count() > frozen + 100).then_some(()));
    let text = place.run(&["logs", "it", "--stdout", "-n", "all"]).succeeded().stdout;
    let numbers: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "no line is lost or doubled");
}

#[test]
fn the_ledger_can_be_read_while_the_daemon_is_stopped() {
    let place = Place::supervising_script("echo written; sleep 1000", "");
    let pid = place.pid_of("it");
    let daemon = place.daemon().unwrap();
    send(daemon, Signal::SIGSTOP);
    let began = Instant::now();
    let listed = place.run(&["--format", "json", "list"]).succeeded().said(&["the daemon does not answer"]).json();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((&listed[0]["state"], &listed[0]["pid"]), (&"running".into(), &pid.into()));
    for args in [&["show", "it"][..], &["tail"], &["replay"], &["logs", "it"], &["verify"]] {
        place.run(args).succeeded();
    }
    send(daemon, Signal::SIGCONT);
    assert_eq!(place.run(&["list"]).succeeded().stderr, "");
}

/// The store of a young ledger has no events yet, since they are added to it many at a time.
#[test]
fn the_store_of_a_killed_daemon_is_used_by_the_next_one() {
    let place = Place::supervising_script("exec sleep 1000", "");
    for _ in 0..2 {
        place.kill_daemon();
        place.run(&["up"]).succeeded();
    }
    let events = place.run(&["--format", "jsonl", "tail", "-n", "all"]).succeeded().stdout;
    assert!(events.contains("adopted") && !events.contains("store_rebuilt"), "{events}");
}

#[test]
fn a_run_survives_the_death_of_its_daemon() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; sleep 0.005; done; exit 7";
    let running = place.start_script(&["--name", "it"], script);
    wait_until("it runs", || place.daemon().filter(|_| place.ledger().join("logs/it-0/stdout.log").exists()));
    // The daemon may be killed before it has reported the start. Then it is unknown whether the command runs.
    running.signal(Signal::SIGCONT);
    wait_until("a signal is passed on", || place.types("it").contains(&"signal_sent".to_owned()).then_some(()));
    place.kill_daemon();
    let outcome = running.outcome().left_with(7);
    let numbers: Vec<usize> = outcome.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=300), "{numbers:?}");
    assert!(place.types("it").contains(&"adopted".to_owned()));
}

#[test]
fn sighup_leaves_what_runs_to_the_next_daemon() {
    let place = Place::supervising_script("sleep 1000", "");
    let pid = place.pid_of("it");
    let daemon = place.daemon().unwrap();
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("it has left", || gone(daemon).then_some(()));
    assert!(!gone(pid));
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("it"), pid, "the same process, adopted");
    place.run(&["stop", "all"]).succeeded();
    assert!(gone(pid));
}

#[test]
fn two_hundred_processes_are_started_adopted_and_stopped() {
    let place = Place::new();
    let text = "[[process]]\nname = 'many'\ncommand = 'sleep'\nargs = ['1000']\ninstances = 200\n";
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]).succeeded();
    let running = || {
        let listed = place.json(&["list", "--state", "running"]);
        listed.as_array().unwrap().iter().map(|handle| handle["pid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let before = running();
    assert_eq!(before.len(), 200);
    place.kill_daemon();
    place.run(&["up"]).succeeded();
    assert_eq!(running(), before, "all adopted, none started twice");
    place.run(&["down"]).succeeded();
    let left: Vec<_> = before.iter().filter(|pid| !gone(u32::try_from(**pid).unwrap())).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The daemon leaves on a signal and keeps its processes running. A stop that arrives meanwhile must not report success.
#[test]
fn a_stop_of_a_daemon_that_is_leaving_names_what_it_leaves_running() {
    let place = Place::supervising_script("exec sleep 1000", "");
    // An attached client keeps the daemon for a moment.
    let follower = Running::start(&mut place.command(&["tail", "-f"]));
    let daemon = place.daemon().unwrap();
    let pid = place.pid_of("it");
    send(daemon, Signal::SIGHUP);
    let stopped = place.run(&["daemon", "--stop"]);
    assert!(!gone(pid), "it was told to stay");
    // Under load the daemon may have ended before the client looked for it.
    if stopped.code == 0 {
        stopped.said(&["there is no daemon"]);
    } else {
        stopped.left_with(1).said(&["without stopping it", &pid.to_string()]);
    }
    drop(follower);
    place.run(&["stop", "all"]).succeeded();
}
