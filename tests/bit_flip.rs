//! One flipped bit in the journal: `verify` finds it and names the events, and no command panics.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{fixture, support::Place};

/// Distance in bytes between the tried positions; prime, so that every kind of field is covered.
const STRIDE_BYTES: usize = 97;

fn segments(ledger: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(ledger.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// The journal's first segment and the number of its bytes in use; the rest is zeros.
fn used(ledger: &Path) -> (PathBuf, Vec<u8>, usize) {
    let first = segments(ledger).into_iter().next().unwrap();
    let bytes = fs::read(&first).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (first, bytes, used)
}

fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1 << (place % 8);
    bytes
}

#[track_caller]
fn assert_found(place: &Place, at: usize, events: u64) {
    let outcome = place.run(&["--format", "json", "verify"]).left_with(4);
    let report = outcome.json();
    assert_eq!(report["ok"], false, "byte {at}");
    let findings = report["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "byte {at}");
    for finding in findings {
        let (first, last) = (finding["seqs"]["first"].as_u64().unwrap(), finding["seqs"]["last"].as_u64().unwrap());
        assert!(1 <= first && first <= last && last <= events, "byte {at}: {finding}");
        assert!(finding["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let place = Place::new();
    let events = fixture::write(&place.ledger());
    let (segment, bytes, used) = used(&place.ledger());
    // In the unused part, the next event is the one concerned.
    let unused = [used, used + STRIDE_BYTES, bytes.len() - 1].map(|at| (at, events + 1));
    for (at, last) in (0..used).step_by(STRIDE_BYTES).map(|at| (at, events)).chain(unused) {
        fs::write(&segment, flipped(&bytes, at)).unwrap();
        assert_found(&place, at, last);
    }
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn what_is_before_the_damage_can_be_read_and_what_is_behind_it_is_not_left_out_in_silence() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let (segment, bytes, used) = used(&place.ledger());
    fs::write(&segment, flipped(&bytes, used / 2)).unwrap();
    let reads: [&[&str]; 9] = [
        &["list"],
        &["replay"],
        &["--offline", "list"],
        &["--offline", "show", "build"],
        &["--offline", "tail", "-n", "3"],
        &["--offline", "tail", "-n", "all", "--reverse"],
        &["--offline", "diff", "--from", "1"],
        &["--offline", "stats"],
        &["export"],
    ];
    for args in reads {
        let outcome = place.run(args).left_with(4).said(&["damaged", "apm2-ledger verify"]);
        assert_eq!(outcome.stdout, "");
    }
    // It is written while the events are read.
    place.run(&["export", "--as", "csv"]).left_with(4).said(&["damaged"]);
    assert_eq!(place.json(&["--offline", "list", "--at", "1"]).as_array().map(Vec::len), Some(1));
    place.run(&["run", "--", "true"]).left_with(4).said(&["damaged"]);
}

#[test]
fn the_table_names_the_events() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let (segment, bytes, used) = used(&place.ledger());
    fs::write(&segment, flipped(&bytes, used - 20)).unwrap();
    let outcome = place.run(&["verify"]).left_with(4);
    assert!(outcome.stdout.contains("broken") && outcome.stdout.contains("EVENTS"), "{}", outcome.stdout);
    let report: Value = place.run(&["--format", "jsonl", "verify"]).left_with(4).json();
    let first = report["findings"][0]["seqs"]["first"].to_string();
    let mut table = outcome.stdout.lines().skip_while(|line| !line.contains("EVENTS")).skip(1);
    let line = table.next().unwrap();
    assert!(line.contains(&first), "{line}");
    assert!(outcome.stdout.contains("apm2-ledger salvage"), "{}", outcome.stdout);
}

/// Positions in a sealed segment that are tried.
const TRIED: usize = 24;

#[test]
fn a_report_from_a_damaged_sealed_segment_says_so() {
    let place = Place::new();
    fixture::write_sealed(&place.ledger());
    let is_sealed = |path: &PathBuf| path.extension().is_some_and(|found| found == "sealed");
    let sealed = segments(&place.ledger()).into_iter().find(is_sealed).unwrap();
    let bytes = fs::read(&sealed).unwrap();
    let sound = place.run(&["report", "--since", "1"]).succeeded();
    assert!(sound.stdout.contains("The ledger is sound"));
    let mut said = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / TRIED).chain([bytes.len() - 1]) {
        fs::write(&sealed, flipped(&bytes, at)).unwrap();
        let outcome = place.run(&["report", "--since", "1"]);
        let is_refused = outcome.code == 4 && outcome.stdout.is_empty() && outcome.stderr.contains("damaged");
        let is_said = outcome.code == 4
            && outcome.stdout.contains("The ledger is broken")
            && outcome.stderr.contains("apm2-ledger verify");
        assert!(is_refused || is_said, "byte {at}: code {}, {}", outcome.code, outcome.stderr);
        said += usize::from(is_said);
    }
    assert!(said > 0, "each damage was in an event");
}
