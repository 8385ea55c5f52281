//! Test program for kills and power failures: appends events and prints each acknowledgement, or checks that all
//! acknowledged events are in the ledger.
//!
//! ```text
//! durability write DIR      appends until it is killed, and prints "ACK n" when append n is durable
//! durability seal DIR       the same with small segments, which are sealed all the time
//! durability old DIR N      writes a ledger of format 1 with N appends in small segments
//! durability migrate DIR    migrates the ledger
//! durability sealed DIR N   adds N appends in small segments, and waits until the full ones are sealed
//! durability retain DIR TIME   moves the events before the time into an archive
//! durability rebuild DIR    builds the store again, and damaged segments from the old one
//! durability backup DIR TO  copies the ledger, or brings the copy up to date
//! durability restore FROM DIR  makes a ledger of the backup
//! durability check DIR N    exits with 0 if the ledger is valid and contains all appends up to N in order
//! ```

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    causes,
    process::{
        Actor, Clock as _, Event, EventKind, NewEvent, ProcessId, ProcessSpec, RedactedSpec, StreamId, SystemClock,
    },
};
use apm2_ledger::{Ledger, Options, backup, migrate, rebuild, restore, retain, verify};

/// The single process to which all events belong. An append names the expected stream version, so it fails with a
/// conflict if an earlier append was lost.
const PROCESS: ProcessId = ProcessId::from_bytes(*b"durability-test.");
const STREAM: StreamId = StreamId { process_id: PROCESS, instance: 0 };
/// Interval of large appends. The event of each append whose number is a multiple of this has a padding of up to 9,000
/// bytes, so that kills and power failures interrupt commits of many sizes.
const LARGE_EVERY: u64 = 7;
/// Length of a small segment in bytes: some dozens of appends fill it.
const SMALL_SEGMENT_BYTES: u64 = 8 * 1024;
/// Limit of the wait for sealed segments.
const SEALED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// Where the format version of a plain segment is, and the CRC-32C of the header.
const VERSION_AT: usize = 8;
const HEADER_CRC_AT: usize = 88;

fn small_segments() -> Options {
    Options { segment_bytes: SMALL_SEGMENT_BYTES, ..Options::default() }
}

fn draft(number: u64) -> NewEvent {
    let kind = if number == 1 {
        let spec = ProcessSpec::builder().id(PROCESS).name("durability").command("true").build();
        EventKind::Registered { spec: RedactedSpec::new(&spec) }
    } else {
        EventKind::BudgetReset
    };
    let padding = if number.is_multiple_of(LARGE_EVERY) {
        "x".repeat(usize::try_from(number % 9000).unwrap_or(0))
    } else {
        String::new()
    };
    let stamp = SystemClock.now();
    let reason = Some(format!("{number} {padding}"));
    NewEvent { stream: STREAM, run: 0, actor: Actor::System, reason, cause: None, stamp, kind }
}

fn write(dir: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let ledger = Ledger::open_with(dir, options)?;
    let mut version = ledger.reader().stream(STREAM)?.map_or(0, |stream| stream.version);
    loop {
        version += 1;
        ledger.append(STREAM, version - 1, vec![draft(version)])?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "ACK {version}")?;
        out.flush()?;
    }
}

/// Writes a ledger with `count` appends. Its segments are as the program of format 1 wrote them: they differ in the version.
fn write_old(dir: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let ledger = Ledger::open_with(dir, &Options { seal: false, ..small_segments() })?;
    for version in 1..=count {
        ledger.append(STREAM, version - 1, vec![draft(version)])?;
    }
    ledger.close()?;
    for entry in fs::read_dir(dir.join("journal"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let mut bytes = fs::read(&path)?;
            let (covered, rest) = bytes.split_at_mut_checked(HEADER_CRC_AT).ok_or("no header")?;
            covered.iter_mut().skip(VERSION_AT).take(1).for_each(|version| *version = 1);
            *rest.first_chunk_mut().ok_or("no header")? = crc32c::crc32c(covered).to_le_bytes();
            fs::write(&path, bytes)?;
        }
    }
    Ok(())
}

/// Adds `count` appends, and waits until each segment but the last is sealed. The plain files of sealed segments are removed.
fn write_sealed(dir: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let ledger = Ledger::open_with(dir, &small_segments())?;
    let before = ledger.reader().stream(STREAM)?.map_or(0, |stream| stream.version);
    for version in before + 1..=before + count {
        ledger.append(STREAM, version - 1, vec![draft(version)])?;
    }
    let plain = || -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let mut found: Vec<_> =
            fs::read_dir(dir.join("journal"))?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        found.sort();
        found.pop();
        Ok(found)
    };
    let began = Instant::now();
    while plain()?.iter().any(|path| !path.with_extension("sealed").exists()) {
        if began.elapsed() > SEALED_WITHIN {
            return Err("the segments are not sealed in time".into());
        }
        thread::sleep(POLL);
    }
    ledger.close()?;
    for path in plain()? {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Extracts the append number that an event was written with.
fn number(event: &Event) -> Option<u64> {
    event.reason.as_deref()?.split(' ').next()?.parse().ok()
}

fn check(dir: &Path, acknowledged: u64) -> Result<(), Box<dyn Error>> {
    let ledger = Ledger::open(dir)?;
    let mut count = 0;
    for event in ledger.reader().stream_events(STREAM) {
        let event = event?;
        count += 1;
        if event.version != count || number(&event) != Some(count) {
            return Err(format!("event {} is number {:?}, not {count}", event.seq, number(&event)).into());
        }
    }
    if count < acknowledged {
        return Err(format!("{acknowledged} were acknowledged, {count} are there").into());
    }
    ledger.close()?;
    let report = verify(dir, &mut |_| {})?;
    match report.findings.first() {
        Some(finding) => Err(finding.message.clone().into()),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["write", dir] => write(Path::new(dir), &Options::default()),
        ["seal", dir] => write(Path::new(dir), &small_segments()),
        ["old", dir, count] => count.parse().map_err(Into::into).and_then(|count| write_old(Path::new(dir), count)),
        ["migrate", dir] => migrate(Path::new(dir), &small_segments(), &mut |_| {}).map(drop).map_err(Into::into),
        ["retain", dir, before] => before.parse().map_err(Into::into).and_then(|before| {
            let done = retain(Path::new(dir), before, &small_segments(), &mut |_| {});
            done.map(drop).map_err(Into::into)
        }),
        ["sealed", dir, count] => {
            count.parse().map_err(Into::into).and_then(|count| write_sealed(Path::new(dir), count))
        }
        ["rebuild", dir] => rebuild(Path::new(dir), &small_segments(), &mut |_| {}).map(drop).map_err(Into::into),
        ["backup", dir, to] => backup(Path::new(dir), Path::new(to), false, &mut |_| {}).map(drop).map_err(Into::into),
        ["restore", from, dir] => {
            restore(Path::new(from), Path::new(dir), &small_segments(), &mut |_| {}).map(drop).map_err(Into::into)
        }
        ["check", dir, last] => last.parse().map_err(Into::into).and_then(|last| check(Path::new(dir), last)),
        _ => Err("usage: durability write|seal|migrate|rebuild DIR | durability old|sealed|check DIR N | \
                 durability retain DIR TIME | durability backup DIR TO | durability restore FROM DIR"
            .into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {}", causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
