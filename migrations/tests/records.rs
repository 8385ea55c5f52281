//! Record versions 2 to 5: golden bytes of the events that the previous version cannot represent.

use std::{collections::BTreeSet, fs};

use apm2_core::process::{Event, EventKind};
use apm2_ledger::record::{decode_event, encode_event};

use crate::{golden, sample};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(golden_file: &str, record_version: u8, events: &[Event]) {
    let golden = fs::read_to_string(golden::path(golden_file)).unwrap();
    assert_eq!(golden.lines().count(), events.len());
    for (line, event) in golden.lines().zip(events) {
        let (name, text) = line.split_once(' ').unwrap();
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).unwrap();
        assert_eq!((name, text), (event.kind.name(), hex(&bytes).as_str()));
        assert_eq!(bytes.first(), Some(&record_version), "{name}");
        assert_eq!(&decode_event(event.seq, &bytes).unwrap(), event);
    }
}

#[test]
fn the_golden_bytes_of_version_2_are_what_is_written_and_mean_what_they_meant() {
    check("records-v2.txt", 2, &sample::records_v2::events());
}

#[test]
fn the_golden_bytes_of_version_3_are_what_is_written_and_mean_what_they_meant() {
    check("records-v3.txt", 3, &sample::records_v3::events());
}

#[test]
fn the_golden_bytes_of_version_4_are_what_is_written_and_mean_what_they_meant() {
    check("records-v4.txt", 4, &sample::records_v4::events());
}

#[test]
fn the_golden_bytes_of_version_5_are_what_is_written_and_mean_what_they_meant() {
    check("records-v5.txt", 5, &sample::records_v5::events());
}

#[test]
fn every_kind_has_golden_bytes_under_its_name() {
    let read = |name| fs::read_to_string(golden::path(name)).unwrap();
    let versions = ["v1-events.txt", "records-v2.txt", "records-v3.txt", "records-v4.txt", "records-v5.txt"];
    let golden = versions.map(read).concat();
    let recorded: BTreeSet<&str> = golden.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(recorded, BTreeSet::from(EventKind::NAMES));
}
