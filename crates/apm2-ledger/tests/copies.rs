//! Copies of `journal/` that are made while it is written: each is a ledger, of what had been recorded by some moment.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use apm2_core::process::EventKind;
use apm2_ledger::{Ledger, Options, Reader, verify};

use crate::support::{all_events, draft_at, private_dir, registered, small_segments, stream};

/// Copies in the suite; `APM2_COPY_ROUNDS` asks for more.
const ROUNDS: u64 = 24;

/// Ways to copy, for a shell: from `$1/journal` to `$2/journal`. A file that vanishes or changes meanwhile is no failure.
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

#[test]
fn a_copy_of_a_journal_that_is_being_written_is_a_ledger() {
    let rounds = std::env::var("APM2_COPY_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let dir = private_dir();
    // Short, so that a good part of the copies meets the end of a segment.
    let options = Options { segment_bytes: 96 * 1024, ..small_segments() };
    let ledger = Ledger::open_with(dir.path(), &options).unwrap();
    let (is_over, is_copying) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (1..=2)
        .map(|number| {
            let (ledger, is_over, is_copying) = (ledger.clone(), Arc::clone(&is_over), Arc::clone(&is_copying));
            thread::spawn(move || {
                let id = stream(number);
                ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
                for version in 1.. {
                    // What is written while no copy is made would only make the next one take longer.
                    while !is_copying.load(Ordering::Relaxed) && !is_over.load(Ordering::Relaxed) {
                        thread::sleep(std::time::Duration::from_micros(100));
                    }
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut draft = draft_at(id, 0, 1, EventKind::BudgetReset);
                    draft.reason = Some("r".repeat(usize::try_from(version * 631 % 3000).unwrap()));
                    ledger.append(id, version, vec![draft]).unwrap();
                }
            })
        })
        .collect();
    let tools: Vec<_> = COPIES.iter().filter(|(tool, _)| is_installed(tool)).collect();
    for (tool, _) in COPIES.iter().filter(|(tool, _)| !is_installed(tool)) {
        eprintln!("skipped: {tool} is not installed");
    }
    let mut last_sizes = vec![0; tools.len()];
    for round in 0..rounds {
        let which = usize::try_from(round).unwrap() % tools.len();
        let (tool, script) = tools[which];
        let target = private_dir();
        is_copying.store(true, Ordering::Relaxed);
        copy(script, dir.path(), target.path());
        is_copying.store(false, Ordering::Relaxed);
        let report = verify(target.path(), &mut |_| {}).unwrap();
        assert_eq!(report.findings, [], "round {round}, {tool}");
        let read = Reader::open(target.path()).unwrap().events(1, u64::MAX).map(Result::unwrap).last().unwrap().seq;
        assert_eq!(read, report.head.size);
        // What was recorded before the copy began is in it.
        assert!(read >= last_sizes[which], "round {round}, {tool}: {read} events");
        last_sizes[which] = ledger.reader().head().unwrap().size;
        // A store is built for each that is opened, which takes far longer than the copy.
        if round % 4 != 0 && round + 4 < rounds {
            continue;
        }
        let copied = Ledger::open_with(target.path(), &options).unwrap();
        let events = all_events(&copied);
        let original: Vec<_> = ledger.reader().events(read.max(5) - 4, read).map(Result::unwrap).collect();
        let read = usize::try_from(read).unwrap();
        assert_eq!(events[read - original.len()..read], original, "round {round}, {tool}");
        copied.append(stream(9), 0, vec![registered(stream(9), "mine")]).unwrap();
        copied.close().unwrap();
        assert_eq!(verify(target.path(), &mut |_| {}).unwrap().findings, [], "round {round}, {tool}, opened");
    }
    is_over.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    ledger.close().unwrap();
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
}

#[test]
fn what_a_copy_may_lack_is_damage_where_the_journal_was_written() {
    let (dir, _) = crate::support::closed_ledger();
    let all = crate::support::segments(dir.path());
    let last = all.last().unwrap();
    // A full segment without the next one.
    let kept = std::fs::read(last).unwrap();
    std::fs::remove_file(last).unwrap();
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    // A hole before a sound commit.
    let mut holed = kept.clone();
    holed[512..1024].fill(0);
    std::fs::write(last, &holed).unwrap();
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    assert!(Ledger::open_with(dir.path(), &small_segments()).err().unwrap().is_integrity());
    // The same in a copy of the journal alone.
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
