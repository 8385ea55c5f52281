//! The command `migrate`: a ledger of format 1 becomes one of format 2, with the same events.

use std::{fs, path::Path};

use apm2_ledger::{Ledger, Options};

use crate::{fixture, support::Place};

/// Makes a closed ledger one of format 1, as the program of that format wrote it.
fn make_format_1(ledger: &Path) {
    for path in files(ledger, "seg") {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        let crc = crc32c(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

fn files(ledger: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(ledger.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    found
}

#[test]
fn a_ledger_of_format_1_is_migrated_once() {
    let place = Place::new();
    fixture::write(&place.ledger());
    make_format_1(&place.ledger());
    let verified = place.json(&["verify"]);
    let list = place.json(&["list", "--all"]);

    let plan = place.json(&["migrate", "--dry-run"]);
    assert_eq!((&plan["needed"], &plan["dry_run"], &plan["segments"]), (&true.into(), &true.into(), &1.into()));
    assert!(place.run(&["migrate", "--dry-run"]).succeeded().stdout.contains("would be rewritten"));
    assert_eq!(files(&place.ledger(), "sealed").len(), 0);

    let done = place.json(&["migrate"]);
    assert_eq!((&done["size"], &done["chain"]), (&verified["size"], &verified["chain"]));
    assert_eq!((&done["needed"], &done["segments"]), (&true.into(), &1.into()));
    assert_eq!((files(&place.ledger(), "sealed").len(), files(&place.ledger(), "seg").len()), (1, 1));
    assert_eq!(place.json(&["verify"])["chain"], verified["chain"]);
    assert_eq!(place.json(&["list", "--all"]), list);

    let again = place.run(&["migrate"]).succeeded();
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    assert_eq!(place.json(&["migrate"])["needed"], false);
}

#[test]
fn a_ledger_with_a_daemon_is_migrated_after_it_left() {
    let place = Place::new();
    Ledger::open_with(&place.ledger(), &Options::default()).unwrap().close().unwrap();
    make_format_1(&place.ledger());
    fs::write(place.path("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n").unwrap();
    place.run(&["up"]).succeeded();
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();

    place.run(&["migrate"]).left_with(5).said(&["in use", "daemon --leave"]);
    assert_eq!(place.json(&["migrate", "--dry-run"])["needed"], true);
    place.run(&["daemon", "--leave"]).succeeded();
    place.run(&["migrate"]).succeeded();
    assert_eq!(place.json(&["list"])[0]["pid"], pid, "it runs as before");
    place.run(&["stop", "it"]).succeeded();
    assert_eq!(place.json(&["verify"])["ok"], true);
    place.run(&["daemon", "--stop"]).succeeded();
}

#[test]
fn a_damaged_ledger_and_a_missing_one_are_refused() {
    let place = Place::new();
    place.run(&["migrate"]).left_with(5).said(&["there is no ledger"]);
    fixture::write(&place.ledger());
    make_format_1(&place.ledger());
    let path = files(&place.ledger(), "seg").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, &bytes).unwrap();
    place.run(&["migrate"]).left_with(4).said(&["damaged", "left as it is", "apm2-ledger verify"]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
