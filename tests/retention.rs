//! Logs of removed processes: how long and how much is kept, and how they are removed.

use std::{fs, process::Stdio, time::Duration};

use crate::support::{Place, wait_until};

fn ecosystem(place: &Place, names: &[&str]) {
    let process = |name: &&str| {
        format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', 'echo {name}; exec sleep 1000']\n")
    };
    fs::write(place.path("ecosystem.toml"), names.iter().map(process).collect::<String>()).unwrap();
}

/// The existing directories of logs.
fn logs(place: &Place) -> Vec<String> {
    let Ok(entries) = fs::read_dir(place.ledger().join("logs")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn wait_for_output(place: &Place, name: &str) {
    let file = place.ledger().join(format!("logs/{name}-0/stdout.log"));
    wait_until("the output", || fs::metadata(&file).ok().filter(|metadata| metadata.len() > 0));
}

#[test]
fn what_is_taken_out_keeps_its_logs_until_they_are_purged() {
    let place = Place::new();
    ecosystem(&place, &["a", "b", "c"]);
    place.run(&["up"]).succeeded();
    ["a", "b", "c"].iter().for_each(|name| wait_for_output(&place, name));
    place.run(&["down", "--name", "a"]).succeeded();
    assert_eq!(logs(&place), ["a-0", "b-0", "c-0"]);
    assert!(place.run(&["logs", "a"]).succeeded().stdout.contains('a'));
    // Purges a supervised process with its logs, and one that was removed before by its name.
    let purged = place.json(&["down", "--name", "b", "--name", "a", "--purge"]);
    let done: Vec<_> = purged
        .as_array()
        .unwrap()
        .iter()
        .map(|done| (done["action"].as_str().unwrap(), done["name"].as_str().unwrap(), done["bytes"].as_u64()))
        .collect();
    assert_eq!(done, [("remove", "b", None), ("purge", "b-0", Some(2)), ("purge", "a-0", Some(2))]);
    assert_eq!(logs(&place), ["c-0"]);
    place.run(&["down", "--name", "never", "--purge"]).left_with(3);
    // Running processes keep their logs.
    let all = place.run(&["down", "--purge"]).succeeded();
    assert!(
        all.stdout.contains("remove     c\n") && all.stdout.contains("purge      c-0: 2 bytes of logs"),
        "{}",
        all.stdout
    );
    assert_eq!(logs(&place), [""; 0]);
    assert!(place.types("a").contains(&"stopped".to_owned()), "its history stays");
}

#[test]
fn a_daemon_removes_what_is_too_old_or_too_much() {
    let place = Place::new();
    ecosystem(&place, &["old", "new", "runs"]);
    place.run(&["up"]).succeeded();
    ["old", "new", "runs"].iter().for_each(|name| wait_for_output(&place, name));
    place.run(&["down", "--name", "old", "--name", "new"]).succeeded();
    place.kill_daemon();
    let written = fs::metadata(place.ledger().join("logs/old-0/stdout.log")).unwrap().modified().unwrap();
    let long_ago = written - Duration::from_secs(100 * 24 * 60 * 60);
    for name in ["old", "runs"] {
        let dir = place.ledger().join(format!("logs/{name}-0"));
        for path in [dir.join("stdout.log"), dir.join("stderr.log"), dir] {
            if path.exists() {
                fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
            }
        }
    }
    place.run(&["start", "never"]).left_with(3);
    wait_until("the old ones are gone", || (logs(&place) == ["new-0", "runs-0"]).then_some(()));
    let log = || fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    let is_said = |log: &str| log.contains("instance=old-0") && log.contains("are removed");
    wait_until("the daemon's log says so", || is_said(&log()).then_some(()));
    // The limit on size: logs of supervised processes are kept in any case.
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("no daemon", || place.daemon().is_none().then_some(()));
    let mut daemon = place.command(&["daemon", "--logs-bytes-max", "1"]).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it is within its limit", || (logs(&place) == ["runs-0"]).then_some(()));
    place.stop_daemon();
    daemon.wait().unwrap();
}
