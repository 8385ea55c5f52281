//! The command `diff`: what changed between two moments, with real processes, in each way of reading.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{Place, wait_until};

const BEFORE: &str = "
[[process]]
name = 'kept'
command = 'sleep'
args = ['1000']

[[process]]
name = 'changed'
command = 'sleep'
args = ['1001']

[[process]]
name = 'removed'
command = 'sleep'
args = ['1002']
";

const AFTER: &str = "
[[process]]
name = 'kept'
command = 'sleep'
args = ['1000']

[[process]]
name = 'changed'
command = 'sleep'
args = ['1003', '1004']
restart = { max_restarts = 7 }

[[process]]
name = 'added'
command = 'sleep'
args = ['1005']
";

/// The change of each instance by its name.
fn changes(diff: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let changes = diff["changes"].as_array().unwrap();
    changes.iter().map(|change| (text(&change["after"]["name"]), text(&change["change"]))).collect()
}

#[test]
fn what_was_added_removed_and_changed_is_found_in_each_way_of_reading() {
    let place = Place::supervising(BEFORE);
    let first = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    fs::write(place.path("ecosystem.toml"), AFTER).unwrap();
    place.run(&["up"]).succeeded();
    let asked = || {
        wait_until("both answer the same", || {
            let last = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
            let args = ["diff", "--from", &first, "--to", &last];
            let (daemon, journal) = (place.json(&args), place.json(&[&["--offline"], &args[..]].concat()));
            (daemon == journal).then_some((daemon, last))
        })
    };
    let (diff, last) = asked();
    let expected = [("added", "added"), ("changed", "changed"), ("removed", "removed")];
    assert_eq!(changes(&diff), expected.map(|(name, change)| (name.to_owned(), change.to_owned())));
    let changed = &diff["changes"][1];
    let settings: Vec<_> = changed["settings"].as_array().unwrap().iter().map(ToString::to_string).collect();
    assert!(
        settings.iter().any(|setting| setting.contains("\"args[0]\"") && setting.contains("\"1003\"")),
        "{settings:?}"
    );
    assert!(settings.iter().any(|setting| setting.contains("\"restart.max_restarts\"")), "{settings:?}");
    assert_eq!((&changed["runs"], &changed["restarts"]), (&1.into(), &0.into()));
    let page = place.run(&["diff", "--from", &first, "--to", &last]).succeeded().stdout;
    assert!(page.starts_with("3 changes from "), "{page}");
    for part in ["\n+  added  running", "\n~  changed  running, 1 run\n", "\n-  removed  "] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    let of_one = place.json(&["diff", "kept", "changed", "--from", &first, "--to", &last]);
    assert_eq!(changes(&of_one), [("changed".to_owned(), "changed".to_owned())]);
    let nothing = place.json(&["diff", "--from", &last, "--to", &last]);
    assert!(changes(&nothing).is_empty(), "{nothing}");
    place.run(&["diff", "--from", &last, "--to", &first]).left_with(2).said(&["--from is later than --to"]);
    place.run(&["diff", "--since", &last, "--until", &first]).left_with(2).said(&["--since is later than --until"]);
    place.run(&["diff"]).left_with(2);
}

const RESTARTED: &str = "
[[process]]
name = 'p'
command = 'sleep'
args = ['1000']
restart = { policy = 'always', backoff = '1h' }
";

#[test]
fn a_restart_that_was_scheduled_in_between_is_shown() {
    let place = Place::supervising(RESTARTED);
    let pid = place.json(&["list"])[0]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let scheduled = wait_until("a restart is scheduled", || {
        let events = place.json(&["tail", "-n", "1", "--type", "restart_scheduled"]);
        events.as_array()?.first().map(|event| event["seq"].as_u64().unwrap())
    });
    let (from, to) = ((scheduled - 1).to_string(), scheduled.to_string());
    let diff = place.json(&["diff", "--from", &from, "--to", &to]);
    let change = &diff["changes"][0];
    assert_eq!(
        (change["before"]["state"].clone(), change["after"]["state"].clone()),
        ("crashed".into(), "crashed".into())
    );
    let follow_up = &change["follow_up"];
    assert_eq!((&follow_up["before"]["kind"], &follow_up["before"]["attempt"]), (&"undecided".into(), &Value::Null));
    assert_eq!((&follow_up["after"]["kind"], &follow_up["after"]["attempt"]), (&"restart".into(), &1.into()));
    assert_eq!(follow_up["after"]["at"], change["after"]["restart_at"]);
    let page = place.run(&["diff", "--from", &from, "--to", &to]).succeeded().stdout;
    assert!(page.contains("    follow-up  not decided yet  ->  restart 1 in "), "{page}");
    // A scheduled restart has not begun.
    assert_eq!((&change["runs"], &change["restarts"]), (&0.into(), &0.into()));
}
