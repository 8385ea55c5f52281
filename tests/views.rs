//! Snapshots of every view of one fixed ledger.

use crate::{fixture, support::Place};

/// The output of `args` on the fixed ledger, without parts that differ between ledgers.
fn view(args: &[&str]) -> String {
    let place = Place::new();
    fixture::write(&place.ledger());
    let stdout = place.run(args).succeeded().stdout;
    let steady = stdout.lines().map(|line| match line.split_once("chain") {
        Some((before, hash)) => format!("{before}chain{}", masked(hash)),
        None if line.contains("\"elapsed_ms\"") => "  \"elapsed_ms\": (time),".to_owned(),
        None => line.to_owned(),
    });
    steady.collect::<Vec<_>>().join("\n")
}

/// The chain begins with the ledger's own random id.
fn masked(hash: &str) -> String {
    let is_digit = |c: char| c.is_ascii_hexdigit();
    assert_eq!(hash.chars().filter(|c| is_digit(*c)).count(), 64, "{hash}");
    hash.replace(is_digit, "") + "(hash)"
}

/// A time at which one process is running.
const NOW: &str = "2026-01-31T12:10:00Z";

#[test]
fn list_table() {
    insta::assert_snapshot!(view(&["list", "--at", NOW]));
}

#[test]
fn list_all() {
    insta::assert_snapshot!(view(&["list", "--all", "--at", NOW]));
}

#[test]
fn list_json() {
    insta::assert_snapshot!(view(&["--format", "json", "list", "--at", NOW]));
}

#[test]
fn list_jsonl() {
    insta::assert_snapshot!(view(&["--format", "jsonl", "list", "--at", NOW]));
}

#[test]
fn list_filtered() {
    insta::assert_snapshot!(view(&["list", "--at", NOW, "--name", "web", "--state", "running"]));
}

/// The timeline of the fixed ledger until a fixed time.
fn timeline(more: &[&str]) -> String {
    view(&[&["timeline", "--until", NOW], more].concat())
}

#[test]
fn timeline_of_60_columns() {
    insta::assert_snapshot!(timeline(&["--width", "60"]));
}

#[test]
fn timeline_of_80_columns() {
    insta::assert_snapshot!(timeline(&["--width", "80"]));
}

#[test]
fn timeline_of_120_columns() {
    insta::assert_snapshot!(timeline(&["--width", "120"]));
}

#[test]
fn timeline_of_200_columns() {
    insta::assert_snapshot!(timeline(&["--width", "200"]));
}

#[test]
fn timeline_in_ascii() {
    insta::assert_snapshot!(timeline(&["--width", "80", "--ascii"]));
}

#[test]
fn timeline_in_colour() {
    insta::assert_snapshot!(timeline(&["--width", "60", "--color", "always"]).replace('\x1b', "ESC"));
}

#[test]
fn timeline_json() {
    insta::assert_snapshot!(timeline(&["--width", "40", "--format", "json"]));
}

#[test]
fn timeline_svg() {
    insta::assert_snapshot!(timeline(&["--width", "40", "--format", "svg"]));
}

#[test]
fn show_table() {
    insta::assert_snapshot!(view(&["show", "build"]));
}

#[test]
fn show_every_kind_of_event() {
    insta::assert_snapshot!(view(&["show", "web-0", "--at", NOW]));
}

#[test]
fn show_last_events() {
    insta::assert_snapshot!(view(&["show", "build", "--events", "2"]));
}

#[test]
fn show_json() {
    insta::assert_snapshot!(view(&["--format", "json", "show", "build"]));
}

#[test]
fn show_jsonl_of_every_kind_of_event() {
    insta::assert_snapshot!(view(&["--format", "jsonl", "show", "web-0"]));
}

#[test]
fn show_hostile_text() {
    insta::assert_snapshot!(view(&["show", "02020303"]));
}

#[test]
fn replay_json() {
    insta::assert_snapshot!(view(&["--format", "json", "replay", "--at", NOW]));
}

#[test]
fn verify_table() {
    insta::assert_snapshot!(view(&["verify"]));
}

#[test]
fn verify_json() {
    insta::assert_snapshot!(view(&["--format", "json", "verify"]));
}

#[test]
fn a_replay_says_what_a_list_says() {
    for at in ["5", "12", NOW] {
        assert_eq!(view(&["replay", "--at", at]), view(&["list", "--all", "--at", at]));
    }
}

/// The time at which an exit was found is not shown as the time of the exit.
#[test]
fn show_an_end_that_was_not_observed() {
    let place = Place::new();
    fixture::write_unobserved(&place.ledger());
    let page = place.run(&["show", "unseen"]).succeeded().stdout;
    let between = "ended between 2026-01-31T12:00:02.000Z and 2026-01-31T13:00:01.000Z";
    let of_run = format!("  -             -  exit code 7 (recovered); found at 2026-01-31T13:00:03.000Z, {between}\n");
    assert!(page.contains(&of_run), "{page}");
    assert_eq!(page.matches(between).count(), 2, "with the run and with its event: {page}");
    let run = place.json(&["show", "unseen"])["runs"][0].clone();
    let time = |field: &str| run[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(time("ended_not_before"), "2026-01-31T12:00:02.000000000Z");
    assert_eq!(time("ended_not_after"), "2026-01-31T13:00:01.000000000Z");
    assert_eq!(time("ended_at"), "2026-01-31T13:00:03.000000000Z");
    assert_eq!(run["duration_ms"], serde_json::Value::Null);
}

#[test]
fn diff_table() {
    insta::assert_snapshot!(view(&["diff", "--from", "10", "--to", NOW]));
}

#[test]
fn diff_json() {
    insta::assert_snapshot!(view(&["--format", "json", "diff", "--from", "20", "--to", NOW]));
}

#[test]
fn stats_table() {
    insta::assert_snapshot!(view(&["stats", "--since", "5", "--until", NOW]));
}

#[test]
fn stats_page() {
    insta::assert_snapshot!(view(&["stats", "build", "--until", NOW]));
}

#[test]
fn stats_json() {
    insta::assert_snapshot!(view(&["--format", "json", "stats", "build", "--until", NOW]));
}
