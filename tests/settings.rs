//! Settings of health checks and logs: invalid ones are refused before anything runs, valid ones take effect.

use std::{fs, os::unix::net::UnixListener};

use nix::sys::signal::Signal;

use crate::support::{Place, send, wait_until};

#[test]
fn what_can_never_work_is_refused_with_its_line_and_nothing_runs() {
    let place = Place::new();
    std::os::unix::fs::symlink(place.path("target.log"), place.path("link.log")).unwrap();
    for (setting, said) in [
        (r#"health = { check = { http = { url = "http://127.0.0.1:99999/" } } }"#, "no port"),
        (r#"health = { check = { http = { url = "http://" } } }"#, "no"),
        (r#"health = { check = { http = { url = "http://a b/" } } }"#, "URL"),
        (r#"health = { check = { tcp = { address = "unix:/run/x.sock" } } }"#, "unix = { path"),
        (r#"health = { check = { tcp = { address = "tcp://127.0.0.1:80" } } }"#, "host:port"),
        (r#"health = { check = { tcp = { address = "127.0.0.1:99999" } } }"#, "no port"),
        (r#"log = { stdout = "link.log" }"#, "a symbolic link"),
        (r#"log = { stdout = "." }"#, "a directory"),
        (r#"log = { stderr = "" }"#, "is empty"),
    ] {
        let file = format!("[[process]]\nname = \"a\"\ncommand = \"sleep\"\nargs = [\"1000\"]\n{setting}\n");
        fs::write(place.path("ecosystem.toml"), file).unwrap();
        for args in [&["up"][..], &["up", "--dry-run"]] {
            place.run(args).left_with(2).said(&["ecosystem.toml: line 5: process \"a\": ", said]);
        }
    }
    assert!(!place.ledger().exists(), "nothing was begun");
}

#[test]
fn output_that_goes_nowhere_is_kept_nowhere() {
    let place = Place::new();
    let file = r#"
[[process]]
name = "a"
command = "sh"
args = ["-c", "head -c 300000 /dev/zero; echo x >&2; exit 3"]
restart = { policy = "never" }
log = { stdout = "none", stderr = "/dev/null" }
[[process]]
name = "b"
command = "sh"
args = ["-c", "head -c 300000 /dev/zero; echo kept >&2; exit 3"]
restart = { policy = "never" }
log = { stdout = "none" }
instances = 2
"#;
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]);
    wait_until("the ends", || {
        let list = place.json(&["list"]);
        let codes = list.as_array().unwrap().iter().filter(|handle| handle["exit_code"] == 3).count();
        (codes == 3).then_some(())
    });
    place.run(&["logs", "a"]).succeeded().said(&["nothing was written"]);
    for instance in ["b-0", "b-1"] {
        assert!(place.run(&["logs", instance]).succeeded().stdout.contains("kept"));
    }
    let logs = fs::read_dir(place.ledger().join("logs")).unwrap();
    let mut dirs: Vec<_> = logs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    dirs.sort();
    assert_eq!(dirs, ["b-0", "b-1"]);
    assert!(!place.types("a").contains(&"output_dropped".to_owned()), "nothing was lost that was to be kept");
    assert_eq!(
        fs::read_dir("/dev").unwrap().filter(|entry| entry.as_ref().is_ok_and(|it| it.file_name() == "null-1")).count(),
        0
    );
}

#[test]
fn a_process_that_is_stopped_is_unhealthy_and_restarted() {
    let place = Place::new();
    let file = r#"
[[process]]
name = "a"
command = "sleep"
args = ["1000"]
health = { check = "liveness", interval = "100ms", timeout = "200ms", failure_threshold = 2 }
restart = { backoff = "1ms" }
"#;
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]).succeeded();
    let pid = || place.json(&["list"])[0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let first = wait_until("it runs", pid);
    send(first, Signal::SIGSTOP);
    wait_until("another one", || pid().filter(|pid| *pid != first));
    let events = place.events("a");
    let unhealthy = events.iter().find(|event| event["type"] == "unhealthy").unwrap_or_else(|| panic!("{events:?}"));
    assert!(unhealthy.to_string().contains("stopped (SIGSTOP)"), "{unhealthy}");
}

#[test]
fn a_unix_socket_and_several_statuses_can_be_checked() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.path("x.sock")).unwrap();
    let file = r#"
[[process]]
name = "a"
command = "sleep"
args = ["1000"]
health = { check = { unix = { path = "x.sock" } }, interval = "100ms", timeout = "5s", failure_threshold = 1 }
restart = { policy = "never" }
[[process]]
name = "b"
command = "sleep"
args = ["1000"]
env = { MODE = "batch" }
restart = { policy = "never" }
[process.health]
check = { script = { command = "sh", args = ["-c", 'echo "$MODE $EXTRA $APM2_PID" > checked.new; mv checked.new checked; echo trouble; echo the database is not there >&2; exit 9'] } }
env = { EXTRA = "more" }
interval = "100ms"
failure_threshold = 1
[[process]]
name = "c"
command = "sleep"
args = ["1000"]
health = { check = { http = { url = "http://127.0.0.1:1/", expected_status = [200, 204] } }, initial_delay = "1h" }
"#;
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]).succeeded();
    wait_until("the check fails", || place.types("b").contains(&"unhealthy".to_owned()).then_some(()));
    let events = place.events("b");
    let unhealthy = events.iter().find(|event| event["type"] == "unhealthy").unwrap();
    assert!(unhealthy.to_string().contains("the database is not there"), "{unhealthy}");
    let pid = events.iter().find_map(|event| event["pid"].as_u64()).unwrap();
    assert_eq!(fs::read_to_string(place.path("checked")).unwrap(), format!("batch more {pid}\n"));
    assert!(!place.types("a").contains(&"unhealthy".to_owned()));
}
