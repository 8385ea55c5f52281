//! Writes the golden files: `cargo run -p apm2-migrations --example write_golden DIR`.
//!
//! The files are the golden ledger of the current format version, `DIR/v2/`, the encoded events of the sample history,
//! `DIR/v1-events.txt`, and the encoded events that need record versions 2 to 5, `DIR/records-v2.txt` to
//! `DIR/records-v5.txt`.
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
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::Event;
use apm2_ledger::{Ledger, Options, journal::segment::FORMAT_VERSION, record::encode_event};

/// Small segments, so that the sample history fills several.
const SEGMENT_BYTES: u64 = 3 * 1024;

/// The first sealed segment without its plain file, and the next one with both: those that a journal has while it is sealed.
/// Later full segments are plain.
const SEALED: [u64; 2] = [1, 2];

/// The limit of the wait for the sealing thread.
const SEALED_WITHIN: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let golden = env::args_os().nth(1).map(PathBuf::from).ok_or("usage: write_golden DIR")?;
    fs::create_dir_all(&golden)?;
    let records = [
        ("v1-events.txt", sample::events()),
        ("records-v2.txt", sample::records_v2::events()),
        ("records-v3.txt", sample::records_v3::events()),
        ("records-v4.txt", sample::records_v4::events()),
        ("records-v5.txt", sample::records_v5::events()),
    ];
    for (name, events) in records {
        if !golden.join(name).exists() {
            fs::write(golden.join(name), lines_of(&events)?)?;
        }
    }
    let ledger = golden.join(format!("v{FORMAT_VERSION}"));
    fs::create_dir(&ledger).map_err(|error| format!("{}: {error}", ledger.display()))?;
    write_journal(&ledger.join("journal"))
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
    let journal = work.path().join("journal");
    let plain = |number: u64| format!("{number:010}.seg");
    let sealed = |number: u64| format!("{number:010}.sealed");
    let began = Instant::now();
    while !SEALED.iter().all(|number| journal.join(sealed(*number)).exists()) {
        if began.elapsed() > SEALED_WITHIN {
            return Err("the segments were not sealed".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    ledger.close()?;
    fs::create_dir(to)?;
    // The prepared next segment contains no events.
    let is_kept = |name: &str| {
        let is_plain = name.ends_with(".seg") && name != plain(SEALED[0]);
        is_plain || SEALED.iter().any(|number| name == sealed(*number))
    };
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_kept(name)) {
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Formats each event as one line: its kind and its bytes in hexadecimal.
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
