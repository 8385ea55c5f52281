//! The command `timeline`: real processes and a killed daemon, in each way of reading.

use chrono::DateTime;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::support::{Place, gone, send, wait_until};

const NIGHT: &str = "
[[process]]
name = 'steady'
command = 'sleep'
args = ['1000']

[[process]]
name = 'fails'
command = 'sh'
args = ['-c', 'echo no route to host >&2; exit 3']
restart = { policy = 'on-failure', max_restarts = 2, backoff = { fixed = { delay = '10ms' } } }

[[process]]
name = 'taken'
command = 'sleep'
args = ['1001']
restart = { policy = 'always', backoff = { fixed = { delay = '10ms' } } }
";

fn lane<'a>(timeline: &'a Value, name: &str) -> &'a Value {
    let all = timeline["processes"].as_array().unwrap();
    all.iter().find(|process| process["display_name"] == name).unwrap_or_else(|| panic!("no {name} in {timeline}"))
}

/// A night in which the daemon is killed, `taken` ends while none runs, and the next daemon restarts it.
fn night() -> Place {
    let place = Place::new();
    std::fs::write(place.path("ecosystem.toml"), NIGHT).unwrap();
    place.run(&["up"]).left_with(1);
    wait_until("the policy gives up", || place.types("fails").contains(&"restart_refused".to_owned()).then_some(()));
    let taken = place.pid_of("taken");
    place.kill_daemon();
    send(taken, Signal::SIGKILL);
    wait_until("the process has ended", || gone(taken).then_some(()));
    place.run(&["start", "steady", "--reason", "after the crash"]);
    wait_until("the next daemon restarts it", || {
        let restarts = place.json(&["list", "--name", "taken"])[0]["restart_count"].clone();
        (restarts == 1).then_some(())
    });
    place
}

#[test]
fn a_night_with_a_killed_daemon_is_drawn() {
    let place = night();
    let timeline = place.json(&["timeline"]);
    let [gap] = timeline["unwatched"].as_array().unwrap().as_slice() else { panic!("{timeline}") };
    assert_eq!((&gap["cause"], &gap["is_open"]), (&json!("died"), &json!(false)));
    let [steady, fails, taken] = ["steady", "fails", "taken"].map(|name| lane(&timeline, name));
    assert_eq!((&steady["state"], &steady["marks"]["crash"]), (&json!("running"), &Value::Null));
    assert_eq!((&fails["state"], &fails["gave_up"]), (&json!("down"), &json!(true)));
    assert_eq!((&fails["marks"]["crash"], &fails["marks"]["refusal"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&taken["state"], &taken["restarts"], &taken["outages"]["count"]),
        (&json!("running"), &json!(1), &json!(1))
    );
    let [unseen] = timeline["unobserved_ends"].as_array().unwrap().as_slice() else { panic!("{timeline}") };
    assert_eq!((&unseen["process_id"], &unseen["mark"]["signal"]), (&taken["process_id"], &json!("SIGKILL")));
    let figures = &timeline["figures"];
    assert_eq!(
        (&figures["first_death"]["name"], &figures["most_restarts"]["name"]),
        (&json!("fails"), &json!("fails"))
    );
    assert_eq!(
        (&figures["down"][0]["name"], &figures["alive"], &figures["crashes"]),
        (&json!("fails"), &json!(2), &json!(4))
    );
    let text = place.run(&["timeline", "--width", "100"]).succeeded().stdout;
    for part in [
        "fails",
        "⊘",
        "gave up",
        "╱ no daemon ran, last known alive",
        "╲ no daemon ran, last known not running",
        "╳ no daemon ran",
        "no daemon ",
        "the daemon died",
        "ended unseen",
        "first to fail",
        "still down",
        "alive",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.contains("by people"), "{text}");
    assert!(text.contains("last line: no route to host") && text.contains("gave up: 2 restarts in"), "{text}");
    let people = text.split_once("by people").unwrap().1;
    assert_eq!(people.trim().lines().count(), 1, "the registrations and starts of one `up` are one entry: {people}");

    // Without a daemon, the last gap is open; with --until before that, it is not.
    let last = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    place.kill_daemon();
    let after = place.json(&["timeline"]);
    let gaps = after["unwatched"].as_array().unwrap();
    assert_eq!((gaps.len(), &gaps[1]["is_open"]), (2, &json!(true)), "{after}");
    assert_eq!(after["figures"]["is_last_known"], json!(true), "{after}");
    let text = place.run(&["timeline"]).succeeded().stdout;
    for part in ["not running", "LAST KNOWN", "last known, without a daemon: 2 alive"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    place.run(&["start", "steady"]);
    let before = place.json(&["timeline", "--until", &last]);
    assert_eq!(before["unwatched"].as_array().unwrap().len(), 1, "{before}");
}

/// A moment in a gap, with a daemon running now, and without one and in a gap that is still open.
#[test]
fn what_was_alive_when_no_daemon_ran_is_the_last_known() {
    let place = night();
    let time = |gap: &Value, key: &str| DateTime::parse_from_rfc3339(gap[key].as_str().unwrap()).unwrap();
    let middle = |gap: &Value, from: &str, to: &str| {
        let (from, to) = (time(gap, from), time(gap, to));
        (from + (to - from) / 2).to_rfc3339()
    };
    let gap = place.json(&["timeline"])["unwatched"][0].clone();
    let closed = middle(&gap, "from", "to");
    let last = place.json(&["tail", "-n", "1"])[0].clone();
    let check = |at: &str| {
        let listed = place.run(&["list", "--at", at]).succeeded().said(&["no daemon is known to have run then"]);
        assert!(listed.stdout.contains("running (last known)"), "{}", listed.stdout);
        let shown =
            place.run(&["show", "steady", "--until", at]).succeeded().said(&["no daemon is known to have run then"]);
        assert!(shown.stdout.contains("running (last known)"), "{}", shown.stdout);
        place.run(&["why", "steady", "--at", at]).succeeded().said(&["no daemon is known to have run then"]);
        let steady = &place.json(&["list", "--at", at, "--name", "steady"])[0];
        assert_eq!((&steady["uptime_secs"], &steady["supervised"]), (&Value::Null, &json!(false)));
    };
    check(&closed);
    let seq = last["seq"].to_string();
    for args in [&["list", "--at", &seq][..], &["show", "steady", "--until", &seq], &["why", "steady", "--at", &seq]] {
        assert_eq!(place.run(args).succeeded().stderr, "", "{args:?}");
    }
    place.kill_daemon();
    check(&closed);
    check("@99999999999");
    assert_eq!(place.run(&["list", "--at", &seq]).succeeded().stderr, "");
    // The next daemon stops what still runs.
    place.run(&["start", "steady"]);
}

/// An event that the opening of the ledger records is no sign that a daemon ran before it.
#[test]
fn the_opening_of_a_ledger_after_a_crash_is_a_moment_without_a_daemon() {
    let place = Place::new();
    std::fs::write(place.path("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1003']")
        .unwrap();
    place.run(&["up"]).succeeded();
    let before = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    place.kill_daemon();
    std::fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    place.run(&["up"]).succeeded();
    let rebuilt = place.json(&["tail", "--type", "store_rebuilt"])[0]["seq"].to_string();
    let listed = place.run(&["list", "--at", &rebuilt]).succeeded().said(&["no daemon is known to have run then"]);
    assert!(listed.stdout.contains("running (last known)"), "{}", listed.stdout);
    assert_eq!(place.run(&["list", "--at", &before]).succeeded().stderr, "");
}

#[test]
fn causes_and_persons_are_named() {
    let place = Place::new();
    let unhealthy = "
[[process]]
name = 'ill'
command = 'sleep'
args = ['1000']
restart = { policy = 'always', backoff = '1h' }
health = { check = { script = { command = 'false' } }, interval = '100ms', failure_threshold = 1, grace_period = '10ms' }

[[process]]
name = 'long'
command = 'sleep'
args = ['1002']

[[process]]
name = 'absent'
command = '/no/such/program'
restart = { policy = 'never' }
";
    std::fs::write(place.path("ecosystem.toml"), unhealthy).unwrap();
    place.run(&["up"]).left_with(1);
    wait_until("the health check stops it", || place.types("ill").contains(&"stopped".to_owned()).then_some(()));
    place.run(&["restart", "long", "--reason", "new certificates"]).succeeded();
    let text = place.run(&["timeline", "--width", "200"]).succeeded().stdout;
    for part in [
        "absent at ",
        "not started: /no/such/program: No such file or directory",
        "not restarted: policy never",
        "waits for its restart",
        "stopped by its health check with SIGTERM: ",
        "restarted long (new certificates)",
        "2 down",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let figures = place.json(&["timeline"])["figures"].clone();
    let ends = figures["ends"].as_array().unwrap();
    assert!(ends.iter().any(|end| end["actor"]["kind"] == "health"), "{figures}");
    assert_eq!((&figures["down"].as_array().unwrap().len(), &figures["gave_up"]), (&2, &json!(0)));
}

#[test]
fn who_stopped_the_daemon_is_named() {
    let place = Place::new();
    let fails = "
[[process]]
name = 'fails'
command = 'sh'
args = ['-c', 'exit 3']
restart = { policy = 'always', backoff = '1h' }
";
    std::fs::write(place.path("ecosystem.toml"), format!("{NIGHT}{fails}").replacen("fails", "given-up", 1)).unwrap();
    place.run(&["up"]);
    wait_until("the policy gives up", || place.types("given-up").contains(&"restart_refused".to_owned()).then_some(()));
    wait_until("a restart waits", || place.types("fails").contains(&"restart_scheduled".to_owned()).then_some(()));
    place.run(&["daemon", "--stop", "--reason", "new kernel"]).succeeded();
    let text = place.run(&["timeline", "--width", "200"]).succeeded().stdout;
    let who = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    for part in [
        format!("to the end: {who}"),
        format!("not restarted: {who} stopped the daemon (new kernel)"),
        "exit code 3; not restarted".to_owned(),
        "it wrote nothing".to_owned(),
        "last line: no route to host".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in {text}");
    }
    let people = text.split_once("by people").unwrap().1;
    assert!(people.lines().next().unwrap().ends_with(" stopped the daemon (new kernel)"), "{people}");
    let timeline = place.json(&["timeline"]);
    let reason = timeline["unwatched"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("new kernel"), "{timeline}");
    assert_eq!(timeline["actions"].as_array().unwrap().last().unwrap()["type"], "supervisor_stopped");
    // Of one process, the end of the daemon is said, too.
    assert!(place.run(&["timeline", "taken"]).succeeded().stdout.contains("stopped the daemon (new kernel)"));
}

#[test]
fn what_the_figures_leave_out_is_in_a_longer_list() {
    let place = Place::new();
    let processes = "[[process]]\nname = 'one'\ncommand = 'sleep'\nargs = ['1000']\ninstances = 7\n";
    std::fs::write(place.path("ecosystem.toml"), processes).unwrap();
    place.run(&["up"]).succeeded();
    let text = |args: &[&str]| place.run(&[&["timeline", "--width", "200"], args].concat()).succeeded().stdout;
    let short = text(&[]);
    assert!(short.contains(" and 3 more") && short.contains("timeline --limit all"), "{short}");
    let long = text(&["--limit", "all"]);
    let people = long.split_once("by people").unwrap().1;
    assert!(people.matches("one-").count() == 7 && !people.contains("more"), "{long}");
}

#[test]
fn each_way_of_reading_gives_the_same_timeline() {
    let place = night();
    let last = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    let middle = place.json(&["tail", "-n", "1", "--type", "supervisor_started"])[0]["seq"].to_string();
    for args in [
        &["timeline", "--until", &last][..],
        &["timeline", "taken", "fails", "--until", &last],
        &["timeline", "--since", &middle, "--until", &last],
        &["timeline", "--since", "12", "--until", &middle],
        &["timeline", "--exit", "SIGKILL", "--until", &last],
    ] {
        let mut ways = [args.to_vec(), [&["--offline"], args].concat()].map(|args| place.json(&args));
        let [online, offline] = &mut ways;
        assert_eq!(online, offline, "{args:?}");
    }
}

#[test]
fn filters_choose_processes() {
    let place = night();
    let names = |args: &[&str]| -> Vec<String> {
        let timeline = place.json(&[&["timeline"], args].concat());
        let all = timeline["processes"].as_array().unwrap().clone();
        all.iter().map(|process| process["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["fails", "steady", "taken"]);
    assert_eq!(names(&["--exit", "3"]), ["fails"]);
    assert_eq!(names(&["--type", "restart_scheduled"]), ["fails", "taken"]);
    assert_eq!(names(&["--state", "unhealthy"]), [] as [&str; 0]);
    assert_eq!(names(&["--limit", "1"]), ["fails"]);
    assert_eq!(names(&["steady", "--type", "running"]), ["steady"]);
    place.run(&["timeline", "nothing"]).left_with(3);
    place.run(&["timeline", "--since", "2026-01-31", "--until", "2026-01-30"]).left_with(2);
    place.run(&["timeline", "--width", "3"]).left_with(2);
    place.run(&["list", "--format", "svg"]).left_with(2).said(&["only `timeline` has"]);
}

#[test]
fn no_line_is_wider_than_asked_for() {
    let place = night();
    for width in [40, 41, 59, 60, 80, 100, 133, 200, 500] {
        for more in [&[][..], &["--ascii"]] {
            let columns = width.to_string();
            let args = [&["timeline", "--width", &columns][..], more].concat();
            let text = place.run(&args).succeeded().stdout;
            assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
            assert!(more.is_empty() || text.is_ascii(), "{text}");
        }
    }
    let columns = place.command(&["timeline"]).env("COLUMNS", "60").output().unwrap();
    let text = String::from_utf8(columns.stdout).unwrap();
    assert!(text.lines().all(|line| line.width() <= 60) && text.lines().any(|line| line.width() > 50), "{text}");
}

#[test]
fn a_ledger_without_processes_has_a_friendly_answer() {
    let place = Place::new();
    place.run(&["timeline"]).left_with(5);
    place.run_script(&["--name", "short"], "true").succeeded();
    let text = place.run(&["timeline", "--since", "2026-01-30", "--until", "2026-01-31"]).succeeded().stdout;
    assert!(text.contains("no process was alive or had events in this period"), "{text}");
    let svg = place.run(&["timeline", "--since", "2026-01-30", "--until", "2026-01-31", "--format", "svg"]);
    assert!(svg.succeeded().stdout.contains("no process was alive"));
    place.json(&["timeline", "--since", "2026-01-30", "--until", "2026-01-31"]);
}

#[test]
fn a_picture_is_written_to_a_new_file() {
    let place = night();
    place.run(&["timeline", "--format", "svg", "-o", "night.svg"]).succeeded().said(&["written to night.svg"]);
    let svg = std::fs::read_to_string(place.path("night.svg")).unwrap();
    for part in [
        "<svg ",
        "<title id=\"title\">",
        "<desc id=\"desc\">",
        "prefers-color-scheme:dark",
        "class=\"hatch\"",
        "</svg>",
    ] {
        assert!(svg.contains(part), "{part:?}");
    }
    assert!(!svg.contains("<script") && !svg.contains("href"), "{svg}");
    place.run(&["timeline", "--format", "svg", "-o", "night.svg"]).left_with(2).said(&["exists already"]);
}
