//! Processes that left the session of their run, such as tool shells of agents, are ended with the run, however it ends.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Place, gone, send, wait_until};

/// A process that starts another one in a session of its own, and then does what `end` says. Each run writes its own file.
fn ecosystem(place: &Place, end: &str, settings: &str) {
    let script = format!(
        r#"setsid sh -c 'trap "" HUP; echo $$ > orphan.new; mv orphan.new orphan.${{APM2_RUN##*/}}; exec sleep 1004' & \
           while [ ! -e orphan.${{APM2_RUN##*/}} ]; do sleep 0.01; done; {end}"#
    );
    let file = format!("[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\n{settings}\n");
    fs::write(place.path("ecosystem.toml"), file).unwrap();
}

fn orphan(place: &Place, run: u32) -> u32 {
    let file = place.path(&format!("orphan.{run}"));
    wait_until("the orphan", || fs::read_to_string(&file).ok()?.trim().parse().ok())
}

#[test]
fn after_a_crash_they_are_ended_before_the_next_run_begins() {
    let place = Place::new();
    ecosystem(&place, "exec sleep 1005", "restart = { policy = 'always', backoff = '0ms' }");
    place.run(&["up"]).succeeded();
    let first = orphan(&place, 1);
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    send(pid, Signal::SIGKILL);
    let second = orphan(&place, 2);
    assert!(gone(first) && !gone(second));
    let events = place.events("it");
    let place_of = |name: &str, nth: usize| {
        let mut found = events.iter().enumerate().filter(|(_, event)| event["type"] == name);
        found.nth(nth).unwrap_or_else(|| panic!("{name} {nth}: {events:?}")).0
    };
    let ended = place_of("orphans_ended", 0);
    assert_eq!(events[ended]["processes"], 1);
    assert!(ended < place_of("crashed", 0) && place_of("crashed", 0) < place_of("start_requested", 1));
    place.run(&["stop", "it"]).succeeded();
    assert!(gone(second));
    assert_eq!(place.types("it").iter().filter(|name| *name == "orphans_ended").count(), 2);
}

#[test]
fn after_an_end_without_a_fault_too_and_however_stubborn() {
    let place = Place::new();
    let script = r#"setsid sh -c 'trap "" TERM; echo $$ > orphan; while :; do sleep 0.05; done' & while [ ! -s orphan ]; do sleep 0.01; done; exit 0"#;
    place.run_script(&["--name", "it"], script).succeeded();
    let pid = fs::read_to_string(place.path("orphan")).unwrap().trim().parse().unwrap();
    assert!(gone(pid));
    let events = place.events("it");
    assert!(events.iter().any(|event| event["type"] == "orphans_ended"), "{events:?}");
    assert!(events.iter().any(|event| event["type"] == "stopped"), "the end is that of the process itself: {events:?}");
}

#[test]
fn a_specification_can_leave_them_alone_and_a_stop_does_not() {
    let place = Place::new();
    let settings = "restart = { policy = 'always', backoff = '0ms' }\nshutdown = { end_orphans = false }";
    ecosystem(&place, "exec sleep 1005", settings);
    place.run(&["up"]).succeeded();
    let first = orphan(&place, 1);
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    send(pid, Signal::SIGKILL);
    let second = orphan(&place, 2);
    assert!(!gone(first) && !gone(second));
    assert!(!place.types("it").contains(&"orphans_ended".to_owned()));
    place.run(&["stop", "it"]).succeeded();
    assert!(gone(first) && gone(second));
}

#[test]
fn after_an_end_that_no_daemon_watched_too() {
    let place = Place::new();
    ecosystem(&place, "exec sleep 1005", "restart = { policy = 'never' }");
    place.run(&["up"]).succeeded();
    let first = orphan(&place, 1);
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    place.kill_daemon();
    send(pid, Signal::SIGKILL);
    wait_until("it has ended", || gone(pid).then_some(()));
    assert!(!gone(first));
    place.run(&["start", "never"]).left_with(3);
    wait_until("the orphan has ended", || gone(first).then_some(()));
    wait_until("that is recorded", || place.types("it").contains(&"orphans_ended".to_owned()).then_some(()));
}
