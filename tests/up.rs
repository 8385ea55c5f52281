//! `up` starts the processes of the file, and reports whether they run.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
};

use serde_json::Value;

use crate::support::{Place, wait_until};

fn with(place: &Place, processes: &str) {
    fs::write(place.path("ecosystem.toml"), processes).unwrap();
}

fn script(name: &str, script: &str, settings: &str) -> String {
    format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', '{script}']\n{settings}\n")
}

/// The action of `up` for each process, by name.
fn actions(place: &Place, args: &[&str]) -> Vec<(String, String)> {
    let outcomes = place.json(args);
    let text = |outcome: &Value, key: &str| outcome[key].as_str().unwrap().to_owned();
    outcomes.as_array().unwrap().iter().map(|outcome| (text(outcome, "name"), text(outcome, "action"))).collect()
}

fn action(place: &Place, args: &[&str]) -> String {
    actions(place, args).pop().unwrap().1
}

fn runs(place: &Place, name: &str) -> usize {
    place.json(&["show", name])["runs"].as_array().unwrap().len()
}

#[test]
fn what_waits_for_a_restart_is_started_now() {
    let place = Place::new();
    with(&place, "[[process]]\nname = 'web'\ncommand = './prog'\nrestart = { policy = 'always', backoff = '10m' }\n");
    place.run(&["up"]).left_with(1).said(&["web: cannot start"]);
    fs::write(place.path("prog"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(place.path("prog"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(action(&place, &["up", "--dry-run"]), "start");
    assert_eq!(action(&place, &["up"]), "start");
    assert_eq!(place.json(&["show", "web"])["handle"]["state"], "running");
    assert_eq!(action(&place, &["up"]), "unchanged");
}

#[test]
fn what_is_being_stopped_is_started_again_once_it_has_ended() {
    let place = Place::new();
    let stubborn = "trap \"while [ ! -e go ]; do sleep 0.02; done; exit 0\" TERM; while :; do sleep 0.02; done";
    with(&place, &script("web", stubborn, ""));
    assert_eq!(action(&place, &["up"]), "create");
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| place.run(&["stop", "web"]));
        wait_until("it is being stopped", || {
            (place.json(&["show", "web"])["handle"]["state"] == "stopping").then_some(())
        });
        let up = scope.spawn(|| action(&place, &["up"]));
        // If `up` did not wait for the end of the stop, it would answer before this.
        std::thread::sleep(std::time::Duration::from_millis(500));
        fs::write(place.path("go"), "").unwrap();
        assert_eq!(up.join().unwrap(), "start");
        stop.join().unwrap();
    });
    assert_eq!(place.json(&["show", "web"])["handle"]["state"], "running");
    assert_eq!(runs(&place, "web"), 2);
}

#[test]
fn an_exit_right_after_the_start_is_a_reported_failure() {
    let place = Place::new();
    for (policy, code) in [("never", 3), ("always", 4)] {
        with(
            &place,
            &script("web", &format!("exit {code}"), &format!("restart = {{ policy = '{policy}', backoff = '1ms' }}")),
        );
        place.run(&["up"]).left_with(1).said(&["web: cannot start: it ended right after its start"]);
    }
    place.run(&["down"]).succeeded();
    with(&place, &script("web", "exit 0", "restart = { policy = 'never' }"));
    place.run(&["up"]).succeeded();
}

#[test]
fn what_has_finished_is_done_until_it_is_changed_or_started() {
    let place = Place::new();
    for policy in ["never", "on-failure"] {
        let restart = format!("restart = {{ policy = '{policy}' }}");
        with(&place, &script("job", "exit 0", &restart));
        place.run(&["up"]).succeeded();
        wait_until("it has finished", || (place.types("job").last()? == "stopped").then_some(()));
        let before = runs(&place, "job");
        assert_eq!(action(&place, &["up", "--dry-run"]), "finished", "{policy}");
        assert_eq!(action(&place, &["up"]), "finished", "{policy}");
        // Values of variables are not recorded, but a changed value is a change.
        with(&place, &script("job", "exit 0", &format!("env = {{ A = '1' }}\n{restart}")));
        place.run(&["up"]).succeeded();
        with(&place, &script("job", "exit 0", &format!("env = {{ A = '2' }}\n{restart}")));
        place.run(&["up"]).succeeded();
        assert_eq!(action(&place, &["up", "--rerun"]), "start");
        place.run(&["start", "job"]).succeeded();
        assert_eq!(runs(&place, "job"), before + 4, "{policy}");
        place.run(&["down"]).succeeded();
    }
    with(&place, &script("job", "exec sleep 1000", "restart = { policy = 'never' }"));
    place.run(&["up"]).succeeded();
    place.run(&["stop", "job"]).succeeded();
    assert_eq!(action(&place, &["up"]), "start", "what was stopped has not finished");
}

#[test]
fn a_renamed_process_is_stopped_before_it_is_started_again() {
    let place = Place::new();
    let lock = place.path("lock");
    let holder = |name: &str| {
        let take = format!(
            "mkdir {0} || exit 9; trap \"sleep 0.5; rmdir {0}; exit 0\" TERM; while :; do sleep 0.01; done",
            lock.display()
        );
        script(name, &take, "restart = { policy = 'never' }")
    };
    with(&place, &holder("old"));
    place.run(&["up"]).succeeded();
    wait_until("it holds its lock", || lock.exists().then_some(()));
    with(&place, &holder("new"));
    let done = actions(&place, &["up"]);
    assert_eq!(done, [("new".into(), "create".into()), ("old".into(), "remove".into())]);
    assert_eq!(place.json(&["show", "new"])["handle"]["state"], "running");
}

#[test]
fn start_of_what_runs_and_stop_of_what_does_not_are_done_already() {
    let place = Place::new();
    with(&place, &(script("a", "exec sleep 1000", "") + &script("b", "exec sleep 1000", "")));
    place.run(&["up"]).succeeded();
    let pid = |name: &str| place.json(&["show", name])["handle"]["pid"].clone();
    let before = pid("a");
    for ids in [&["a"][..], &["a", "b"]] {
        let args: Vec<&str> = ["start"].iter().chain(ids).copied().collect();
        let told = place.run(&args).succeeded().stdout;
        assert_eq!((told.lines().count(), told.matches("it runs already").count()), (ids.len(), ids.len()), "{told}");
    }
    assert_eq!(pid("a"), before);
    place.run(&["stop", "a", "b"]).succeeded();
    for ids in [&["a"][..], &["a", "b"]] {
        let args: Vec<&str> = ["stop"].iter().chain(ids).copied().collect();
        let told = place.run(&args).succeeded().stdout;
        assert_eq!(told.matches("it does not run").count(), ids.len(), "{told}");
        let json: Vec<&str> = ["--format", "json"].iter().chain(&args).copied().collect();
        let outcome = place.run(&json).succeeded().json()[0].clone();
        assert_eq!((&outcome["action"], &outcome["note"]), (&"unchanged".into(), &"it does not run".into()));
    }
    assert_eq!(place.run(&["stop", "all"]).succeeded().stdout, "", "all that runs is nothing");
    place.run(&["start", "a", "b"]).succeeded();
    assert!(pid("b").is_u64());
}

/// Not a test but a program for other tests: it listens on a port and sends its name.
#[test]
fn listener() {
    let Ok(port) = std::env::var("LISTEN_ON") else { return };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for client in listener.incoming() {
        client.unwrap().write_all(std::env::var("LISTEN_AS").unwrap().as_bytes()).unwrap();
    }
}

/// The name of the listener on a port.
fn listens_on(port: u16) -> Option<String> {
    let mut name = String::new();
    TcpStream::connect(("127.0.0.1", port)).ok()?.read_to_string(&mut name).ok()?;
    Some(name)
}

/// One of them takes longer to stop: the port that the other one needs is not free before.
#[test]
fn processes_that_swap_their_ports_in_one_up_both_get_them() {
    let place = Place::new();
    let ports: Vec<u16> = {
        let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        free.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
    };
    let program = std::env::current_exe().unwrap();
    let process = |name: &str, port: u16, timeout: &str| {
        format!(
            "[[process]]\nname = '{name}'\ncommand = 'sh'\n\
             args = ['-c', \"trap '' TERM; exec '{}' --exact up::listener --nocapture\"]\n\
             env = {{ LISTEN_ON = '{port}', LISTEN_AS = '{name}' }}\n\
             restart = {{ policy = 'never' }}\nshutdown = {{ timeout = '{timeout}' }}\n",
            program.display()
        )
    };
    let file = |a: u16, b: u16| {
        let all = [process("a", a, "50ms"), process("b", b, "800ms"), process("c", ports[2], "50ms")];
        with(&place, &all.concat());
    };
    let (mut a, mut b) = (ports[0], ports[1]);
    file(a, b);
    place.run(&["up"]).succeeded();
    for _ in 0..2 {
        for (name, port) in [("a", a), ("b", b), ("c", ports[2])] {
            wait_until("it listens", || (listens_on(port)? == name).then_some(()));
        }
        std::mem::swap(&mut a, &mut b);
        file(a, b);
        place.run(&["up"]).succeeded();
    }
    for (name, port, expected) in [("a", a, 3), ("b", b, 3), ("c", ports[2], 1)] {
        wait_until("it listens", || (listens_on(port)? == name).then_some(()));
        assert_eq!(runs(&place, name), expected, "{name}");
    }
}
