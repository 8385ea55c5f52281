//! Times of questions before and after `retain`, and of the same questions to a smaller ledger.

use std::{path::Path, time::Instant};

use apm2_ledger::Reader;

use crate::{
    Result,
    appends::median,
    questions::{Daemon, row, run, time},
    sizes::print_ledger,
};

/// The age of the events that move.
const OLDER_THAN: &str = "90d";

/// The ids of the processes that are asked for.
struct Asked {
    /// The process of the last event.
    recent: String,
    /// The process of the first event, which is gone in a ledger that was filled with `--gone`.
    first: String,
}

impl Asked {
    fn of(dir: &Path) -> Result<Self> {
        let reader = Reader::open(dir)?;
        let end = reader.head().map_or(0, |head| head.size);
        let id = |from: u64, to: u64| -> Result<String> {
            for event in reader.events(from, to) {
                let event = event?;
                if !event.stream.is_system() {
                    return Ok(event.stream.process_id.to_string());
                }
            }
            Err("the ledger has no process".into())
        };
        // The supervisor's own events may be the first or the last ones.
        Ok(Self { recent: id(end.saturating_sub(100).max(1), end)?, first: id(1, end)? })
    }
}

fn questions(asked: &Asked, size: u64) -> Vec<Vec<String>> {
    let (recent, first) = (asked.recent.as_str(), asked.first.as_str());
    let at = (size - size / 20).to_string();
    let questions: [&[&str]; 8] = [
        &["list"],
        &["list", "--all"],
        &["list", "--all", "--at", &at],
        &["show", recent, "--events", "20"],
        &["tail", "-n", "20"],
        &["tail", "--type", "crashed", "-n", "5"],
        &["why", recent],
        &["show", first, "--events", "20"],
    ];
    questions.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect()
}

/// The times of the questions with a daemon, without one, and that of the start of the daemon, in milliseconds.
struct Times {
    questions: Vec<[f64; 2]>,
    ready: f64,
    resident_kib: u64,
}

fn measure(command: &Path, dir: &Path, asked: &Asked, times: usize) -> Result<Times> {
    let questions = questions(asked, print_ledger(dir)?);
    let ask_all =
        || -> Result<Vec<f64>> { questions.iter().map(|words| time(times, || run(command, dir, words))).collect() };
    let alone = ask_all()?;
    let ready = (0..times).map(|_| Ok(Daemon::start(command, dir)?.1.as_secs_f64() * 1e3)).collect::<Result<_>>()?;
    let ready = median(ready);
    let (daemon, _) = Daemon::start(command, dir)?;
    let beside = ask_all()?;
    let resident_kib = daemon.resident_kib()?;
    drop(daemon);
    let questions = beside.into_iter().zip(alone).map(|(beside, alone)| [beside, alone]).collect();
    Ok(Times { questions, ready, resident_kib })
}

/// Asks the ledger in `dir`, moves its old events into an archive, asks it again, and asks the smaller ledger in `small`. Prints the
/// median times.
pub fn compare(command: &Path, dir: &Path, small: &Path, times: usize) -> Result<()> {
    let asked = Asked::of(dir)?;
    let before = measure(command, dir, &asked, times)?;
    let began = Instant::now();
    run(command, dir, &["retain", "--older-than", OLDER_THAN].map(str::to_owned))?;
    let took = began.elapsed();
    let after = measure(command, dir, &asked, times)?;
    let of_small = Asked::of(small)?;
    let other = measure(command, small, &of_small, times)?;
    println!("retain --older-than {OLDER_THAN}: {:.1} s", took.as_secs_f64());
    println!("{:<52} {:>19} {:>19} {:>19}", "milliseconds, median", "before", "after", "smaller ledger");
    println!("{:<52} {}", "", format!("{:>9} {:>9} ", "daemon", "no daemon").repeat(3));
    let placeholders = Asked { recent: "RECENT".to_owned(), first: "FIRST".to_owned() };
    let names = questions(&placeholders, 0);
    for (at, name) in names.iter().enumerate() {
        let found = [&before, &after, &other].map(|times| times.questions[at]);
        row(name.join(" "), found.as_flattened(), None);
    }
    for (name, times) in [("before", before), ("after", after), ("smaller ledger", other)] {
        println!("{name}: daemon ready in {:.0} ms, {} KiB resident", times.ready, times.resident_kib);
    }
    Ok(())
}
