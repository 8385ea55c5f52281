//! Copies of `journal/` that are made while the journal is written. Each copy must be a valid ledger that contains the
//! events up to some moment.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use apm2_core::process::EventKind;
use apm2_ledger::{Ledger, Options, Reader, verify};
use tempfile::TempDir;

use crate::support::{all_events, draft_at, private_dir, registered, segments, small_segments, stream};

/// Number of copies in a normal test run. `APM2_COPY_ROUNDS` sets another number.
const ROUNDS: u64 = 24;

/// Number of copies of one ledger. Then a new ledger is created, because the ledger grows and each copy takes longer
/// than the previous one.
const ROUNDS_OF_ONE: u64 = 24;

/// One of this number of copies is opened and written to. Opening a copy builds its store, which takes far longer than
/// copying.
const OPENED_EVERY: u64 = 4;

/// The longest delay between the start of the writers and the start of a copy, in microseconds.
const DELAY_MICROS_MAX: u64 = 20_000;

/// Copy tools with their shell commands, which copy `$1/journal` to `$2/journal`. A file that vanishes or changes
/// during the copy is not treated as an error.
const COPIES: [(&str, &str); 3] = [
    ("cp", "cp -r \"$1/journal\" \"$2/\" || true"),
    ("tar", "{ tar -C \"$1\" -cf - journal || true; } | tar -C \"$2\" -xf -"),
    ("rsync", "rsync -a \"$1/journal\" \"$2/\" || true"),
];

fn is_installed(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\""]).arg(tool).stdout(Stdio::null()).status();
    found.unwrap().success()
}

fn copy(script: &str, from: &Path, to: &Path) {
    let status = Command::new("sh").args(["-c", script, "sh"]).args([from, to]).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

/// Options with short segments, so that many copies overlap with the end of a segment.
fn options() -> Options {
    Options { segment_bytes: 32 * 1024, ..small_segments() }
}

/// Deterministic pseudo-random number for a round.
fn scattered(round: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32
}

/// A ledger that two threads write to while it is copied.
struct Source {
    dir: TempDir,
    ledger: Ledger,
    /// Whether the writer threads write. They pause between two copies, because more events would only make the next
    /// copy slower.
    is_written: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    /// Number of events that were recorded before the last copy began.
    known: u64,
}

/// A finished copy.
struct Copied {
    dir: TempDir,
    /// Whether the source started a new segment during the copy.
    has_rolled: bool,
}

impl Source {
    fn begin() -> Self {
        let dir = private_dir();
        let ledger = Ledger::open_with(dir.path(), &options()).unwrap();
        let (is_written, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let writers = (1..=2)
            .map(|number| {
                let (ledger, is_written, is_over) = (ledger.clone(), Arc::clone(&is_written), Arc::clone(&is_over));
                thread::spawn(move || write(&ledger, number, &is_written, &is_over))
            })
            .collect();
        Self { dir, ledger, is_written, is_over, writers, known: 0 }
    }

    /// Copies the journal while the writer threads append to it.
    fn copied(&mut self, script: &str, round: u64) -> Copied {
        let dir = private_dir();
        self.is_written.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_micros(scattered(round) % DELAY_MICROS_MAX));
        self.known = self.size();
        let before = segments(self.dir.path()).len();
        copy(script, self.dir.path(), dir.path());
        let has_rolled = segments(self.dir.path()).len() > before;
        self.is_written.store(false, Ordering::Relaxed);
        Copied { dir, has_rolled }
    }

    fn size(&self) -> u64 {
        self.ledger.reader().head().unwrap().size
    }

    /// Checks that a copy is a valid ledger with at least the events that were recorded before the copy began. Returns
    /// the number of its events, or the first problem.
    fn check(&self, copied: &Copied) -> Result<u64, String> {
        let report = verify(copied.dir.path(), &mut |_| {}).map_err(|error| error.to_string())?;
        if !report.findings.is_empty() {
            return Err(format!("{:?}", report.findings));
        }
        let reader = Reader::open(copied.dir.path()).map_err(|error| error.to_string())?;
        let read = reader.events(1, u64::MAX).try_fold(0, |_, event| event.map(|event| event.seq));
        match read.map_err(|error| error.to_string())? {
            read if read != report.head.size => Err(format!("{read} events are read, {} verified", report.head.size)),
            read if read < self.known => Err(format!("{read} events, and {} had been recorded", self.known)),
            read => Ok(read),
        }
    }

    /// Opens a copy that contains `read` events, compares its last events with the source, and appends an event.
    fn open(&self, copied: &Copied, read: u64) -> Result<(), String> {
        let ledger = Ledger::open_with(copied.dir.path(), &options()).map_err(|error| error.to_string())?;
        let events = all_events(&ledger);
        let original: Vec<_> = self.ledger.reader().events(read.max(5) - 4, read).map(Result::unwrap).collect();
        let read = usize::try_from(read).unwrap();
        if events[read - original.len()..read] != original {
            return Err("its last events are not those of the original".to_owned());
        }
        ledger.append(stream(9), 0, vec![registered(stream(9), "mine")]).map_err(|error| error.to_string())?;
        ledger.close().map_err(|error| error.to_string())?;
        let report = verify(copied.dir.path(), &mut |_| {}).map_err(|error| error.to_string())?;
        if report.findings.is_empty() { Ok(()) } else { Err(format!("once it was opened: {:?}", report.findings)) }
    }

    /// Stops the writer threads, and checks that the source ledger is valid.
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.writers.into_iter().for_each(|writer| writer.join().unwrap());
        self.ledger.close().unwrap();
        assert_eq!(verify(self.dir.path(), &mut |_| {}).unwrap().findings, []);
    }
}

/// Appends events of different lengths while `is_written` is set, until `is_over` is set.
fn write(ledger: &Ledger, number: u8, is_written: &AtomicBool, is_over: &AtomicBool) {
    let id = stream(number);
    ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
    for version in 1.. {
        while !is_written.load(Ordering::Relaxed) && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_micros(100));
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut draft = draft_at(id, 0, 1, EventKind::BudgetReset);
        draft.reason = Some("r".repeat(usize::try_from(version * 631 % 3000).unwrap()));
        ledger.append(id, version, vec![draft]).unwrap();
    }
}

/// Counts of the copies that were made with one tool.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "shown")]
struct Tally {
    tool: &'static str,
    accepted: u64,
    refused: u64,
    /// Number of copies during which the source started a new segment.
    rolled: u64,
    opened: u64,
}

#[test]
fn a_copy_of_a_journal_that_is_being_written_is_a_ledger() {
    let rounds = std::env::var("APM2_COPY_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let tools: Vec<_> = COPIES.iter().filter(|(tool, _)| is_installed(tool)).collect();
    for (tool, _) in COPIES.iter().filter(|(tool, _)| !is_installed(tool)) {
        eprintln!("skipped: {tool} is not installed");
    }
    let mut tallies: Vec<_> = tools.iter().map(|(tool, _)| Tally { tool, ..Tally::default() }).collect();
    let (mut refused, began) = (Vec::new(), Instant::now());
    let mut source = Source::begin();
    for round in 0..rounds {
        if round > 0 && round % ROUNDS_OF_ONE == 0 {
            std::mem::replace(&mut source, Source::begin()).end();
        }
        let which = usize::try_from(round).unwrap() % tools.len();
        let ((tool, script), tally) = (tools[which], &mut tallies[which]);
        let copied = source.copied(script, round);
        tally.rolled += u64::from(copied.has_rolled);
        let is_opened = round % OPENED_EVERY == 0;
        let checked = source.check(&copied).and_then(|read| {
            tally.opened += u64::from(is_opened);
            if is_opened { source.open(&copied, read) } else { Ok(()) }
        });
        match checked {
            Ok(()) => tally.accepted += 1,
            Err(why) => {
                tally.refused += 1;
                refused.push(format!("round {round}, {tool}: {why}"));
            }
        }
    }
    source.end();
    eprintln!("{rounds} copies in {:.0?}: {tallies:#?}", began.elapsed());
    assert_eq!(refused, [""; 0]);
}

#[test]
fn an_incomplete_end_is_accepted_in_a_copy_and_is_damage_in_the_original() {
    let (dir, _) = crate::support::closed_ledger();
    let all = segments(dir.path());
    let last = all.last().unwrap();
    // The last segment is missing, so the journal ends with a full segment.
    let kept = std::fs::read(last).unwrap();
    std::fs::remove_file(last).unwrap();
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    // The segment has a sector of zeros before a valid commit.
    let mut holed = kept.clone();
    holed[512..1024].fill(0);
    std::fs::write(last, &holed).unwrap();
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    assert!(Ledger::open_with(dir.path(), &small_segments()).err().unwrap().is_integrity());
    // In a copy of the journal directory, the same segment counts as a torn tail.
    let copied = private_dir();
    copy(COPIES[0].1, dir.path(), copied.path());
    assert_eq!(verify(copied.path(), &mut |_| {}).unwrap().findings, []);
    let ledger = Ledger::open_with(copied.path(), &small_segments()).unwrap();
    assert!(
        all_events(&ledger).iter().any(|event| matches!(event.kind, EventKind::TailCut { .. })),
        "the cut is recorded"
    );
    ledger.close().unwrap();
    // A flipped bit is damage in a copy, too.
    let copied = private_dir();
    copy(COPIES[0].1, dir.path(), copied.path());
    let mut flipped = kept;
    flipped[600] ^= 0x10;
    std::fs::write(copied.path().join("journal").join(last.file_name().unwrap()), flipped).unwrap();
    assert!(!verify(copied.path(), &mut |_| {}).unwrap().findings.is_empty());
}
