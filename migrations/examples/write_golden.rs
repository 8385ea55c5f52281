//! Writes the golden files: `cargo run -p apm2-migrations --example write_golden DIR`.
//!
//! The files are the golden ledger `DIR/v1/` and its encoded events `DIR/v1-events.txt`, and the encoded events that
//! need record version 2 or 3, `DIR/records-v2.txt` and `DIR/records-v3.txt`.
//!
//! Golden files are written once, when a format version is introduced, and are never changed. So existing files are not
//! overwritten.

#![expect(clippy::unwrap_used, reason = "an example that panics has failed")]

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::{
    collections::HashMap,
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use apm2_core::process::Event;
use apm2_ledger::{Ledger, Options, journal::segment::FORMAT_VERSION, record::encode_event};

/// Small segments, so that the sample history fills more than one segment.
const SEGMENT_BYTES: u64 = 8 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let golden = env::args_os().nth(1).map(PathBuf::from).ok_or("usage: write_golden DIR")?;
    fs::create_dir_all(&golden)?;
    let records = [("records-v2.txt", sample::records_v2::events()), ("records-v3.txt", sample::records_v3::events())];
    for (name, events) in records {
        if !golden.join(name).exists() {
            fs::write(golden.join(name), lines_of(&events)?)?;
        }
    }
    let ledger = golden.join(format!("v{FORMAT_VERSION}"));
    fs::create_dir(&ledger).map_err(|error| format!("{}: {error}", ledger.display()))?;
    write_journal(&ledger.join("journal"))?;
    let events = golden.join(format!("v{FORMAT_VERSION}-events.txt"));
    File::create_new(&events)
        .and_then(|mut file| file.write_all(event_lines()?.as_bytes()))
        .map_err(|error| format!("{}: {error}", events.display()))?;
    Ok(())
}

/// Creates a ledger with the sample history and keeps only its journal. Opening a ledger creates all other files.
fn write_journal(to: &Path) -> Result<(), Box<dyn Error>> {
    let work = tempfile::tempdir()?;
    let ledger = Ledger::open_with(work.path(), &Options { segment_bytes: SEGMENT_BYTES, ..Options::default() })?;
    let mut versions = HashMap::new();
    for drafts in sample::commits() {
        let Some(stream) = drafts.first().map(|draft| draft.stream) else { continue };
        let version = versions.entry(stream).or_insert(0);
        *version += ledger.append(stream, *version, drafts)?.len() as u64;
    }
    ledger.close()?;
    fs::create_dir(to)?;
    for entry in fs::read_dir(work.path().join("journal"))? {
        let path = entry?.path();
        // The prepared next segment contains no events.
        if path.extension().is_some_and(|extension| extension == "seg") {
            fs::write(to.join(path.file_name().unwrap_or_default()), fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Formats each event as one line: its kind and its bytes in hexadecimal.
fn event_lines() -> io::Result<String> {
    lines_of(&sample::events())
}

fn lines_of(events: &[Event]) -> io::Result<String> {
    let mut text = String::new();
    for event in events {
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).map_err(io::Error::other)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{} {hex}\n", event.kind.name()));
    }
    Ok(text)
}
