//! Times of the questions that people ask of a ledger, in the three ways of reading it: the command beside a daemon, the
//! command without one, and the library in a process that has the ledger open.

use std::{
    fmt::Display,
    ops::ControlFlow,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::{ActorFilter, EndFilter, StreamId};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, Ledger, ReadLedger, Reader, StatesQuestion};

use crate::{
    Result,
    appends::median,
    events::{Fill, stream},
    sizes::print_ledger,
};

/// Bound of the wait for a daemon.
const DAEMON_WAIT: Duration = Duration::from_secs(60);
const DAEMON_POLL: Duration = Duration::from_millis(1);

/// The number of events between the moments of `diff`.
const RECENT_EVENTS: u64 = 1000;

/// A question, as arguments of the command.
struct Question {
    args: Vec<String>,
    /// The greatest time that is accepted, in milliseconds.
    aim_ms: f64,
}

fn questions(size: u64, id: StreamId) -> Vec<Question> {
    let id = id.process_id.to_string();
    let (early, late) = ((size / 10).to_string(), (size / 10 * 9).to_string());
    let recent = size.saturating_sub(RECENT_EVENTS).to_string();
    let question =
        |aim_ms, words: &[&str]| Question { aim_ms, args: words.iter().map(|word| (*word).to_owned()).collect() };
    vec![
        question(50.0, &["show", &id, "--events", "20"]),
        question(30.0, &["tail", "-n", "20"]),
        question(50.0, &["tail", "--type", "stopped", "-n", "5"]),
        question(50.0, &["tail", "--type", "crashed", "-n", "5"]),
        question(50.0, &["tail", "--since", "1s ago", "-n", "20"]),
        question(50.0, &["logs", &id]),
        question(50.0, &["tail", &id, "-n", "20"]),
        question(100.0, &["list", "--all"]),
        question(150.0, &["list", "--all", "--at", &early]),
        question(150.0, &["list", "--all", "--at", &late]),
        question(50.0, &["tail", "--actor", "operator", "-n", "5"]),
        question(50.0, &["tail", "--exit", "failed", "-n", "5"]),
        question(50.0, &["why", &id]),
        question(50.0, &["stats", &id]),
        question(50.0, &["diff", "--from", &recent]),
        question(50.0, &["show", &id, "--type", "crashed"]),
    ]
}

/// The median time of `times` calls, in milliseconds.
pub fn time(times: usize, mut ask: impl FnMut() -> Result<()>) -> Result<f64> {
    let ask_once = |_| {
        let began = Instant::now();
        ask()?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    Ok(median((0..times).map(ask_once).collect::<Result<_>>()?))
}

/// Runs the command once with its output thrown away.
pub fn run(command: &Path, dir: &Path, args: &[String]) -> Result<()> {
    let output = Command::new(command).args(args).env("APM2_LEDGER_DIR", dir).stdout(Stdio::null()).output()?;
    // `logs` of a process without output is no success.
    let is_answered = output.status.success() || args.first().is_some_and(|arg| arg == "logs");
    if is_answered { Ok(()) } else { Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into()) }
}

/// A daemon of the ledger, which is stopped when this is dropped.
pub struct Daemon<'a> {
    command: &'a Path,
    dir: &'a Path,
    process: Child,
}

impl<'a> Daemon<'a> {
    /// Starts a daemon, and waits until it answers. Returns the time that it took.
    pub fn start(command: &'a Path, dir: &'a Path) -> Result<(Self, Duration)> {
        let began = Instant::now();
        let process = Command::new(command).arg("daemon").env("APM2_LEDGER_DIR", dir).stderr(Stdio::null()).spawn()?;
        let daemon = Self { command, dir, process };
        while UnixStream::connect(dir.join("daemon.sock")).is_err() {
            if began.elapsed() > DAEMON_WAIT {
                return Err("the daemon does not answer".into());
            }
            thread::sleep(DAEMON_POLL);
        }
        Ok((daemon, began.elapsed()))
    }

    /// The resident memory of the daemon, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        drop(run(self.command, self.dir, &["daemon".to_owned(), "--stop".to_owned()]));
        drop(self.process.wait());
    }
}

/// The times of the same questions, asked of the open store by the library.
fn ask_library(dir: &Path, size: u64, id: StreamId, times: usize) -> Result<Vec<f64>> {
    let ledger = Ledger::open(dir)?;
    let reader = ledger.reader();
    let end = ReadLedger::head(&reader)?.end();
    let last = |query, max| -> Result<f64> {
        let question = EventsQuestion::last(query, (1, end), max);
        time(times, || {
            ReadLedger::events(&reader, &question, &mut |_| ControlFlow::Continue(()))?;
            Ok(())
        })
    };
    let kind = |name| EventQuery { kinds: Some(KindSet::named([name])), ..EventQuery::default() };
    let since =
        EventQuery { wall_ns: Some((last_wall_ns(&reader, end)? - 1_000_000_000, i64::MAX)), ..EventQuery::default() };
    let found = time(times, || {
        let found = ReadLedger::find(&reader, &id.process_id.to_string())?;
        found.streams?;
        Ok(())
    })?;
    let states = |seq| {
        time(times, || {
            ReadLedger::states(&reader, &StatesQuestion::All(seq), &mut |_| ControlFlow::Continue(()))?;
            Ok(())
        })
    };
    let found_times = vec![
        last(EventQuery::stream(id), 20)?,
        last(EventQuery::default(), 20)?,
        last(kind("stopped"), 5)?,
        last(kind("crashed"), 5)?,
        last(since, 20)?,
        found,
        last(EventQuery::stream(id), 20)?,
        states(end)?,
        states(size / 10)?,
        states(size / 10 * 9)?,
        last(EventQuery { actors: vec![ActorFilter::Operator], ..EventQuery::default() }, 5)?,
        last(EventQuery { ends: vec![EndFilter::Failure], ..EventQuery::default() }, 5)?,
        // The command computes these answers from the others.
        f64::NAN,
        f64::NAN,
        f64::NAN,
        last(EventQuery { kinds: Some(KindSet::named(["crashed"])), ..EventQuery::stream(id) }, 5)?,
    ];
    ledger.close()?;
    Ok(found_times)
}

fn last_wall_ns(reader: &Reader, end: u64) -> Result<i64> {
    let last = reader.events(end, end).next().ok_or("the ledger is empty")??;
    Ok(last.stamp.wall_ns)
}

pub fn row(name: impl Display, times: &[f64], aim: Option<f64>) {
    print!("{name:<52}");
    for time in times {
        if time.is_nan() { print!(" {:>9}", "-") } else { print!(" {time:>9.1}") }
    }
    match aim {
        Some(aim) => println!(" {aim:>9.1}"),
        None => println!(),
    }
}

/// A ledger and the questions about it.
struct Asked<'a> {
    dir: &'a Path,
    size: u64,
    /// One of the processes that `fill` created.
    id: StreamId,
    questions: Vec<Question>,
}

impl<'a> Asked<'a> {
    fn new(dir: &'a Path) -> Result<Self> {
        let size = print_ledger(dir)?;
        let id = stream(size / Fill::EVENTS_A_STREAM / 2);
        Ok(Self { dir, size, id, questions: questions(size, id) })
    }
}

/// The median times of the questions about each ledger, each asked `times` times. The ledgers take turns, so that what else the
/// machine does disturbs all of them in the same way.
fn ask_in_turn(command: &Path, ledgers: &[Asked<'_>], times: usize) -> Result<Vec<Vec<f64>>> {
    let mut medians = vec![Vec::new(); ledgers.len()];
    for number in 0..ledgers.first().map_or(0, |ledger| ledger.questions.len()) {
        let mut found = vec![Vec::new(); ledgers.len()];
        for _ in 0..times {
            for (ledger, found) in ledgers.iter().zip(&mut found) {
                found.push(time(1, || run(command, ledger.dir, &ledger.questions[number].args))?);
            }
        }
        medians.iter_mut().zip(found).for_each(|(medians, found)| medians.push(median(found)));
    }
    Ok(medians)
}

/// Prints the times for each ledger, and for two ledgers the ratio of the second one's times to the first one's.
pub fn ask(command: &Path, dirs: &[&Path], times: usize) -> Result<()> {
    let ledgers = dirs.iter().map(|dir| Asked::new(dir)).collect::<Result<Vec<_>>>()?;
    let alone = ask_in_turn(command, &ledgers, times)?;
    let daemons = ledgers.iter().map(|ledger| Daemon::start(command, ledger.dir)).collect::<Result<Vec<_>>>()?;
    let beside = ask_in_turn(command, &ledgers, times)?;
    let mut tables = Vec::new();
    for (((ledger, alone), beside), (daemon, opened)) in ledgers.iter().zip(alone).zip(beside).zip(daemons) {
        let resident = daemon.resident_kib()?;
        drop(daemon);
        let library = ask_library(ledger.dir, ledger.size, ledger.id, times)?;
        println!("{}, {} events", ledger.dir.display(), ledger.size);
        println!("{:<52} {:>9} {:>9} {:>9} {:>9}", "milliseconds, median", "daemon", "no daemon", "library", "aim");
        let mut rows = Vec::new();
        for (((question, beside), alone), library) in ledger.questions.iter().zip(beside).zip(alone).zip(library) {
            let found = [beside, alone, library];
            row(question.args.join(" "), &found, Some(question.aim_ms));
            rows.push(found);
        }
        println!("daemon: ready after {} ms, {resident} KiB resident after the questions", opened.as_millis());
        tables.push(rows);
    }
    let [first, second] = tables.as_slice() else { return Ok(()) };
    println!("{:<52} {:>9} {:>9} {:>9}", "second ledger to first", "daemon", "no daemon", "library");
    for ((number, first), second) in (1..).zip(first).zip(second) {
        let ratios: Vec<f64> = first.iter().zip(second).map(|(first, second)| second / first).collect();
        row(format!("question {number}"), &ratios, None);
    }
    Ok(())
}
