//! A change that cannot be recorded: everything is as it was, and every command works.

use std::fs;

use crate::support::Place;

/// More than an event may hold.
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
