//! A ledger that is not there, or has nothing in it.

use apm2_ledger::Ledger;
use serde_json::json;

use crate::support::{Outcome, Place};

fn readers(place: &Place) -> [Outcome; 4] {
    [&["list"][..], &["show", "it"], &["replay"], &["verify"]].map(|args| place.run(args))
}

#[test]
fn a_missing_ledger_is_said_and_not_made() {
    let place = Place::new();
    for outcome in readers(&place) {
        let outcome = outcome.left_with(5).said(&["there is no ledger in", "hint: ", "apm2-ledger run"]);
        assert_eq!(outcome.stdout, "");
    }
    assert!(!place.ledger().exists());
}

#[test]
fn an_empty_ledger_has_no_processes() {
    let place = Place::new();
    Ledger::open(&place.ledger()).unwrap().close().unwrap();
    let outcome = place.run(&["list"]).succeeded().said(&["no processes"]);
    assert_eq!(outcome.stdout, "");
    assert_eq!(place.json(&["list"]), json!([]));
    assert_eq!(place.run(&["--format", "jsonl", "list"]).succeeded().stdout, "");
    place.run(&["show", "it"]).left_with(3);
    assert_eq!(place.json(&["replay"])["events"], 0);
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn the_directory_comes_from_the_option_the_variable_or_the_home() {
    let place = Place::new();
    let run = |command: &mut std::process::Command| assert!(command.output().unwrap().status.success());
    let args = ["run", "--", "true"];
    run(place.command(&args).env("APM2_LEDGER_DIR", place.path("by-variable")));
    run(&mut place.command(&["--ledger", "by-option", "run", "--", "true"]));
    run(place.command(&args).env_remove("APM2_LEDGER_DIR").env("XDG_STATE_HOME", place.path("state")));
    run(place.command(&args).env_remove("APM2_LEDGER_DIR"));
    for dir in ["by-variable", "by-option", "state/apm2/ledger", ".local/state/apm2/ledger"] {
        assert!(place.path(dir).is_dir(), "{dir}");
    }
    assert!(!place.ledger().exists(), "the option wins over the variable");
    let homeless = place.command(&["list"]).env_remove("APM2_LEDGER_DIR").env_remove("HOME").output().unwrap();
    assert_eq!(homeless.status.code(), Some(2));
}

#[test]
fn the_ledger_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.run(&["run", "--", "true"]).succeeded();
    assert_eq!(place.ledger().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_journal_that_is_shorter_than_it_was_is_said_by_each_command_that_reads_it() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    place.stop_daemon();
    let older = place.path("older");
    let journal = place.ledger().join("journal");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copy(&journal, &older);
    place.run_script(&["--name", "later"], "true").succeeded();
    place.stop_daemon();
    std::fs::remove_dir_all(&journal).unwrap();
    copy(&older, &journal);
    for args in [&["list"][..], &["show", "it"], &["tail"], &["replay"]] {
        place.run(args).left_with(4).said(&["is shorter than it was", "are missing"]);
    }
    place.run(&["verify"]).left_with(4);
    place.run(&["run", "--", "true"]).left_with(4);
    std::fs::remove_dir_all(&journal).unwrap();
    for args in [&["list"][..], &["verify"], &["run", "--", "true"]] {
        place.run(args).left_with(4);
    }
}
