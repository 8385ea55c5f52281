//! A change that cannot be recorded: nothing is changed, and every command works.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use crate::support::Place;

/// More than an event can hold.
const TOO_LONG: usize = 300_000;

/// As much as an event may hold, and too much for the fold of a stream that has been restarted often.
const LONG: usize = 200_000;

fn write_file(place: &Place, argument: &str) {
    let args = format!("args = ['-c', 'exec sleep 1000', '{argument}']");
    fs::write(place.path("ecosystem.toml"), format!("[[process]]\nname = 'web'\ncommand = 'sh'\n{args}\n")).unwrap();
}

fn launch_file(place: &Place) -> Vec<u8> {
    let id = place.json(&["show", "web"])["handle"]["id"].as_str().unwrap().to_owned();
    fs::read(place.ledger().join("launch").join(format!("{id}.json"))).unwrap()
}

#[test]
fn arguments_that_cannot_be_recorded_are_refused_before_anything_is_touched() {
    let place = Place::new();
    write_file(&place, "short");
    place.run(&["up"]).succeeded();
    let (pid, launch) = (place.json(&["show", "web"])["handle"]["pid"].clone(), launch_file(&place));
    for length in [TOO_LONG, LONG] {
        write_file(&place, &"x".repeat(length));
        place.run(&["up"]).left_with(2).said(&["web", "cannot be recorded", "in a file"]);
        place.run(&["up", "--dry-run"]).left_with(2).said(&["cannot be recorded"]);
    }
    assert_eq!(place.json(&["show", "web"])["handle"]["pid"], pid, "it runs on");
    assert_eq!(launch_file(&place), launch);
    for command in [&["restart", "web"][..], &["stop", "web"], &["start", "web"], &["scale", "web=2"]] {
        place.run(command).succeeded();
    }
    write_file(&place, "changed");
    place.run(&["up"]).succeeded();
    assert!(place.run(&["list"]).succeeded().stdout.contains("web"));
    place.run(&["down"]).succeeded();
}

/// More than one argument may have (`MAX_ARG_STRLEN`, execve(2)), and less than an event may hold.
const TOO_LONG_FOR_EXEC: usize = 140_000;

#[test]
fn what_could_not_be_started_stops_nothing() {
    let place = Place::new();
    let write = |settings: &str| {
        fs::write(place.path("ecosystem.toml"), format!("[[process]]\nname = 'web'\n{settings}\n")).unwrap();
    };
    fs::create_dir(place.path("work")).unwrap();
    let program = place.path("program");
    symlink("/bin/sleep", &program).unwrap();
    write("command = './program'\nargs = ['1000']");
    place.run(&["up"]).succeeded();
    let (pid, launch, types) = (place.pid_of("web"), launch_file(&place), place.types("web"));
    let long = "x".repeat(TOO_LONG_FOR_EXEC);
    let broken = [
        (format!("command = 'sh'\nargs = ['-c', 'exec sleep 1000', '{long}']"), "args: argument 3"),
        ("command = './no-such-program'".to_owned(), "no-such-program: No such file"),
        ("command = 'no-such-program'".to_owned(), "command: no-such-program: No such file"),
        ("command = 'sleep'\nargs = ['1000']\ncwd = 'no-such-directory'".to_owned(), "cwd: "),
    ];
    for (settings, what) in &broken {
        write(settings);
        place.run(&["up"]).left_with(1).said(&["web: cannot change: ", what, "nothing was stopped"]);
        assert_eq!((place.pid_of("web"), launch_file(&place)), (pid, launch.clone()), "{what}");
        let files = fs::read_dir(place.ledger().join("launch")).unwrap().count();
        assert_eq!(files, 1, "no file with the refused launch, which may contain secrets: {what}");
    }
    fs::remove_file(&program).unwrap();
    place.run(&["restart", "web"]).left_with(1).said(&["web: cannot restart: command: ", "nothing was stopped"]);
    assert_eq!(place.pid_of("web"), pid, "it runs on");
    assert_eq!(place.types("web"), types, "and nothing is recorded of it");
    symlink("/bin/sleep", &program).unwrap();
    place.run(&["restart", "web"]).succeeded();
    assert_ne!(place.pid_of("web"), pid);
}

#[test]
fn a_reload_that_would_restart_what_has_no_program_any_more_stops_nothing() {
    let place = Place::new();
    fs::write(place.path("key"), "key=value-of-a-key\n").unwrap();
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    let program = place.path("program");
    symlink("/bin/sleep", &program).unwrap();
    let settings =
        "command = './program'\nargs = ['1000']\ncredentials = { profile = 'api', variables = { API_KEY = 'key' } }";
    let text = format!("[[process]]\nname = 'web'\n{settings}\n[profile.api]\nfile = 'key'\n");
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]).succeeded();
    let pid = place.pid_of("web");
    fs::remove_file(&program).unwrap();
    place.run(&["reload", "web"]).left_with(1).said(&["command: ", "nothing was stopped"]);
    assert_eq!(place.pid_of("web"), pid);
    symlink("/bin/sleep", &program).unwrap();
    // What it is given is missing.
    fs::remove_file(place.path("key")).unwrap();
    for verb in ["reload", "restart"] {
        place.run(&[verb, "web"]).left_with(1);
        assert_eq!(place.pid_of("web"), pid, "{verb}");
    }
}
