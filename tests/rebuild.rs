//! The command `rebuild`: the store is built again, and a daemon is in its way.

use std::fs;

use crate::{fixture, support::Place};

#[test]
fn a_store_is_rebuilt_while_no_daemon_has_the_ledger() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let pid = place.pid_of("it");
    place.run(&["rebuild"]).left_with(5).said(&["in use", "daemon --leave"]);
    assert_eq!(place.json(&["rebuild", "--dry-run"])["dry_run"], true);
    place.run(&["daemon", "--leave"]).succeeded();
    let before = place.json(&["verify"]);
    let done = place.json(&["rebuild"]);
    assert_eq!((&done["size"], &done["chain"]), (&before["size"], &before["chain"]));
    let after = place.json(&["verify"]);
    assert_eq!((&after["ok"], &after["store"], &after["size"]), (&true.into(), &"done".into(), &before["size"]));
    assert_eq!(place.pid_of("it"), pid, "it runs as before");
    place.run(&["stop", "it"]).succeeded();
    place.stop_daemon();
    let types: Vec<_> = place.json(&["tail", "-n", "all"]).to_string().matches("store_rebuilt").map(str::len).collect();
    assert!(types.is_empty(), "no event is recorded");
}

#[test]
fn a_missing_ledger_and_a_damaged_journal_are_refused() {
    let place = Place::new();
    place.run(&["rebuild"]).left_with(5).said(&["there is no ledger"]);
    fixture::write(&place.ledger());
    fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    assert_eq!(place.json(&["rebuild"])["bytes_before"], 0);
    let path = place.ledger().join("journal/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    place.run(&["rebuild"]).left_with(4).said(&["damaged"]);
    assert!(place.ledger().join("sled/db").exists());
}
