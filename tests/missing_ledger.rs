//! A ledger that does not exist, is empty, or lacks events.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Command,
};

use apm2_ledger::{Ledger, Reader};
use serde_json::{Value, json};

use crate::support::{Outcome, Place, Running};

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

/// A ledger whose journal is replaced by an earlier copy. Returns the missing events.
fn with_a_shortened_journal(place: &Place) -> (u64, u64) {
    place.run_script(&["--name", "it"], "echo line").succeeded();
    place.stop_daemon();
    let older = place.path("older");
    let journal = place.ledger().join("journal");
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    let size = || Reader::open(&place.ledger()).unwrap().head().unwrap().size;
    let before = size();
    copy(&journal, &older);
    place.run_script(&["--name", "later"], "true").succeeded();
    place.stop_daemon();
    let after = size();
    std::fs::remove_dir_all(&journal).unwrap();
    copy(&older, &journal);
    (before + 1, after)
}

#[test]
fn a_journal_that_is_shorter_than_it_was_is_said_by_each_command_that_reads_it() {
    for is_closed in [true, false] {
        let place = Place::new();
        with_a_shortened_journal(&place);
        if !is_closed {
            // After a crash there is no mark of a clean close, and readers do not open the store: the extent mark tells.
            std::fs::remove_file(place.ledger().join("clean")).unwrap();
            std::fs::remove_dir_all(place.ledger().join("sled")).unwrap();
            assert!(place.ledger().join("extent").exists(), "the file system has no birth times");
        }
        for args in [&["list"][..], &["show", "it"], &["tail"], &["replay"], &["logs", "it"]] {
            place.run(args).left_with(4).said(&["is shorter than it was", "are missing"]);
        }
        place.run(&["verify"]).left_with(4);
        place.run(&["run", "--", "true"]).left_with(4);
    }
}

#[test]
fn a_ledger_without_its_journal_is_an_integrity_error() {
    let place = Place::new();
    with_a_shortened_journal(&place);
    std::fs::remove_dir_all(place.ledger().join("journal")).unwrap();
    for args in [&["list"][..], &["verify"], &["run", "--", "true"]] {
        place.run(args).left_with(4);
    }
}

/// The notice of a document, or of its first element; there must be no other.
fn notice_of(document: &Value) -> Value {
    let Some(elements) = document.as_array() else { return document["notice"].clone() };
    let [first, rest @ ..] = elements.as_slice() else { return Value::Null };
    assert!(rest.iter().all(|element| element.get("notice").is_none()), "{document}");
    first["notice"].clone()
}

#[test]
fn json_has_a_notice_of_the_events_missing_from_a_journal() {
    let place = Place::new();
    let (first, last) = with_a_shortened_journal(&place);
    let commands = [
        &["list", "--all"][..],
        &["list", "--name", "later"],
        &["show", "it"],
        &["tail"],
        &["replay"],
        &["logs", "it"],
        &["logs", "it", "--stderr"],
    ];
    for args in commands {
        let formatted = |format| place.run(&[&["--format", format], args].concat()).left_with(4);
        let document = formatted("json").json();
        let lines = formatted("jsonl").stdout;
        let lines = Value::from_iter(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        for notice in [notice_of(&document), notice_of(&lines)] {
            assert_eq!(notice["kind"], "events_missing", "{args:?}: {document} {lines}");
            assert_eq!(notice["seqs"], json!({ "first": first, "last": last }), "{args:?}");
            assert!(notice["message"].as_str().unwrap().contains("is shorter than it was"), "{notice}");
        }
    }
    // The list is printed all the same, after the notice.
    let all = place.run(&["--format", "json", "list", "--all"]).left_with(4).json();
    assert_eq!((all.as_array().unwrap().len(), &all[1]["name"]), (2, &json!("it")));
    let later = place.run(&["--format", "json", "list", "--all", "--name", "later"]).left_with(4).json();
    assert_eq!(later.as_array().unwrap().len(), 1, "nothing but the notice: {later}");
}

#[test]
fn tail_follow_begins_with_the_events_missing_from_a_journal() {
    let place = Place::new();
    let (first, _) = with_a_shortened_journal(&place);
    let mut tail = Running::start(&mut place.command(&["--format", "json", "tail", "-f"]));
    let mut line = String::new();
    BufReader::new(tail.child().stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let notice = serde_json::from_str::<Value>(&line).unwrap()["notice"].clone();
    assert_eq!(notice["seqs"]["first"], first, "{line}");
}

#[test]
fn there_is_no_notice_about_a_whole_journal() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "echo line").succeeded();
    place.stop_daemon();
    for args in [&["list", "--all"][..], &["show", "it"], &["tail"], &["replay"], &["logs", "it"]] {
        let document = place.json(args);
        assert_eq!(notice_of(&document), Value::Null, "{args:?}: {document}");
        assert_eq!(document.is_object(), document.get("notice").is_some(), "{args:?}: {document}");
    }
}
