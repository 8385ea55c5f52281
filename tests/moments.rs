//! Times as typed by a user, and limits on how much history is shown.

use apm2_core::process::{Clock as _, SystemClock};
use chrono::SecondsFormat;
use serde_json::Value;

use crate::{
    fixture,
    support::{Place, wait_until},
};

/// The fixed ledger: from 12:00:01 UTC of 31 January 2026 on, an event or more each second.
fn fixed() -> Place {
    let place = Place::new();
    fixture::write(&place.ledger());
    place
}

/// The sequence numbers in the output for these arguments, with a UTC offset of three hours.
fn seqs(place: &Place, args: &[&str]) -> Vec<u64> {
    let args: Vec<_> = ["--format", "jsonl"].iter().chain(args).copied().collect();
    let output = place.command(&args).env("TZ", "XYZ-3").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(seq).collect()
}

#[test]
fn a_tail_has_a_beginning_and_an_end() {
    let place = fixed();
    assert_eq!(seqs(&place, &["tail", "--since", "3", "--until", "6"]), [4, 5, 6]);
    assert_eq!(seqs(&place, &["tail", "--until", "6", "-n", "2"]), [5, 6]);
    assert_eq!(seqs(&place, &["tail", "--since", "3", "--until", "6", "-n", "1"]), [6]);
    assert_eq!(seqs(&place, &["tail", "--since", "6", "--until", "3"]), Vec::<u64>::new());
    assert_eq!(seqs(&place, &["tail", "build", "--until", "20", "-n", "all"]), (1..=15).collect::<Vec<_>>());
    // The second 12:00:02 has the events 3 and 4.
    for time in ["2026-01-31T12:00:02Z", "2026-01-31T15:00:02+03:00", "2026-01-31 15:00:02", "@1769860802"] {
        assert_eq!(seqs(&place, &["tail", "--until", time, "-n", "all"]), [1, 2, 3, 4], "{time}");
    }
    assert_eq!(seqs(&place, &["tail", "--until", "2026-01-31"]), Vec::<u64>::new(), "a day begins at local midnight");
    assert_eq!(seqs(&place, &["tail", "--until", "yesterday", "-n", "1"]).len(), 1);
}

#[test]
fn the_moment_before_the_first_event_has_the_time_of_the_first_event() {
    let place = fixed();
    let first = &place.json(&["tail", "--until", "1"])[0]["at"];
    let stats = place.json(&["stats", "--since", "0", "--until", "9"]);
    assert_eq!(&stats["from"], first);
    assert!(!stats["processes"].as_array().unwrap().is_empty(), "{stats}");
    assert_eq!(&place.json(&["diff", "--from", "0", "--to", "9"])["from"]["at"], first);
    // 24 hours before the earliest time that can be represented.
    assert_eq!(place.json(&["stats", "--until", "@-8334601228800"])["processes"], serde_json::json!([]));
    let later = ["--from", "2026-01-31T13:00:00Z", "--to", "2026-01-31T12:30:00Z"];
    place.run(&[&["diff"][..], &later].concat()).left_with(2).said(&["--from is later than --to"]);
}

#[test]
fn a_page_has_the_last_events_and_says_how_to_get_all() {
    let place = Place::new();
    fixture::write_long(&place.ledger());
    let heading = |args: &[&str]| {
        let page = place.run(&[&["show", "long"], args].concat()).succeeded().stdout;
        let (before, events) = page.split_at(page.find("Events").unwrap());
        assert!(before.starts_with("name"), "{before}");
        let mut lines = events.lines();
        // The heading is followed by the head of the table.
        (lines.next().unwrap().to_owned(), lines.count() - 1)
    };
    assert_eq!(heading(&[]), ("Events (after 954 more, see --events all)".to_owned(), 50));
    assert_eq!(heading(&["--events", "2"]), ("Events (after 1,002 more, see --events all)".to_owned(), 2));
    assert_eq!(heading(&["--events", "all"]), ("Events".to_owned(), 1004));
    // JSON is complete by default.
    assert_eq!(seqs(&place, &["show", "long"]).len(), 1004);
    assert_eq!(seqs(&place, &["show", "long", "--events", "2"]), [1003, 1004]);
    assert_eq!(place.json(&["show", "long"])["events"].as_array().unwrap().len(), 1004);
}

#[test]
fn logs_have_a_beginning_where_lines_have_times() {
    let place = Place::new();
    let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; sleep 1000";
    let process = |name: &str, more: &str| {
        format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', '{script}']\n{more}\n")
    };
    let text = process("timed", "log = { timestamps = true }") + &process("untimed", "");
    std::fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]).succeeded();
    let logs = |args: &[&str]| place.run(&[&["logs", "--stdout"], args].concat()).succeeded();
    let has = |name: &str, word: &str| logs(&[name]).stdout.contains(word).then_some(());
    wait_until("both have written", || has("timed", "one").and(has("untimed", "one")));
    let now = || SystemClock.now().wall();
    let written = now();
    // Lines have their times to the millisecond.
    let between =
        wait_until("a millisecond later", || Some(now()).filter(|now| (*now - written).num_milliseconds() > 1));
    std::fs::write(place.path("go"), "").unwrap();
    wait_until("both have written again", || has("timed", "two").and(has("untimed", "two")));

    let since = between.to_rfc3339_opts(SecondsFormat::Micros, true);
    let timed = logs(&["timed", "--since", &since]);
    assert!(timed.stdout.ends_with("Z two\n") && !timed.stdout.contains("one"), "{timed:?}");
    assert_eq!(timed.stderr, "");
    assert_eq!(logs(&["timed", "--since", "1h ago"]).stdout.lines().count(), 2);
    assert_eq!(logs(&["timed", "--since", "1h ago", "-n", "1"]).stdout.lines().count(), 1);
    assert_eq!(logs(&["timed", "--since", "@99999999999"]).stdout, "");
    let until = logs(&["timed", "--until", &since]);
    assert!(until.stdout.ends_with("Z one\n") && until.stdout.lines().count() == 1, "{until:?}");
    assert_eq!(logs(&["timed", "--since", &since, "--until", &since]).stdout, "");
    logs(&["untimed", "--until", &since]).said(&["untimed", "lines have no times"]);
    // Lines without timestamps cannot be filtered exactly, which a message says.
    let untimed = logs(&["untimed", "--since", &since]).said(&["untimed", "lines have no times"]);
    assert_eq!(untimed.stdout, "one\ntwo\n");
    assert_eq!(logs(&["untimed", "--since", "@99999999999"]).stdout, "");
    place.run(&["logs", "timed", "--since", "1200"]).left_with(2).said(&["--since", "write a time"]);
}

#[test]
fn the_output_of_one_run_is_found_by_its_number() {
    let place = Place::new();
    let script =
        "n=$(cat runs 2>/dev/null || echo 0); echo $((n + 1)) > runs; echo this is run $((n + 1)); sleep 0.1; exit 1";
    let restart = "restart = { policy = 'on-failure', max_restarts = 2, backoff = '100ms' }";
    let text = format!(
        "[[process]]\nname = 'often'\ncommand = 'sh'\nargs = ['-c', '{script}']\n{restart}\nlog = {{ timestamps = true }}\n"
    );
    std::fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]);
    wait_until("the policy gives up", || place.types("often").contains(&"restart_refused".to_owned()).then_some(()));
    for run in 1..=3 {
        let found = wait_until("its line is written", || {
            let found = place.run(&["logs", "often", "--stdout", "--run", &run.to_string()]).succeeded().stdout;
            (!found.is_empty()).then_some(found)
        });
        assert!(found.ends_with(&format!("this is run {run}\n")) && found.lines().count() == 1, "{run}: {found}");
    }
    place.run(&["logs", "often", "--run", "4"]).left_with(2).said(&["has no run 4", "its last run is run 3"]);
    let named = place.run(&["logs", "--stdout", "--process", "often", "often", "--limit", "1"]).succeeded().stdout;
    assert!(named.ends_with("this is run 3\n") && named.lines().count() == 1, "{named}");
}
