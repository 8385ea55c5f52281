//! Version 2 of the records: golden bytes of what version 1 cannot hold.

use std::fs;

use apm2_ledger::record::{decode_event, encode_event};

use crate::{golden, sample::records_v2};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_golden_bytes_are_what_is_written_and_mean_what_they_meant() {
    let golden = fs::read_to_string(golden::path("records-v2.txt")).unwrap();
    let events = records_v2::events();
    assert_eq!(golden.lines().count(), events.len());
    for (line, event) in golden.lines().zip(&events) {
        let (name, text) = line.split_once(' ').unwrap();
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).unwrap();
        assert_eq!((name, text), (event.kind.name(), hex(&bytes).as_str()));
        assert_eq!(bytes.first(), Some(&2), "{name} is written as version 2");
        assert_eq!(&decode_event(event.seq, &bytes).unwrap(), event);
    }
}
