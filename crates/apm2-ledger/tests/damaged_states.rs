//! The states that are read from a ledger with damaged, missing or foreign segments are those of the events, or there is an error.

use std::{fs, ops::ControlFlow, path::Path};

use apm2_ledger::{Ledger, Options, ReadError, ReadLedger as _, Reader, StatesQuestion, StreamAt};
use apm2_model::{event::Event, state::stream::Stream};
use tempfile::TempDir;

use crate::{
    sealed::wait_until_sealed,
    support::{
        Random, all_events, copy_of, private_dir, registered, remove_plain, run_commits, sealed, states_after, stream,
        tiny_segments,
    },
};

/// The last one has events in the last segment only.
const STREAMS: u8 = 6;

const RUNS: u64 = 40;

/// Ledgers with damage that are tried.
const ROUNDS: u64 = 80;

/// A closed ledger of sealed segments but for the last, without their plain files; most have events of several streams.
fn ledger() -> (TempDir, Vec<Event>) {
    let dir = private_dir();
    let options = Options { seal: true, ..tiny_segments() };
    let ledger = Ledger::open_with(dir.path(), &options).unwrap();
    let append = |number: u8, commit| {
        let id = stream(number);
        let version = ledger.reader().stream(id).unwrap().map_or(0, |state| state.version);
        ledger.append(id, version, commit).unwrap();
    };
    for run in 1..=RUNS {
        for number in 1..STREAMS {
            if run == 1 {
                append(number, vec![registered(stream(number), &format!("p{number}"))]);
            }
            // Some end long before the others.
            if run <= RUNS / u64::from(number) {
                let commits = run_commits(stream(number), run, i64::try_from(run).unwrap() * 60, 0);
                commits.into_iter().for_each(|commit| append(number, commit));
            }
        }
    }
    wait_until_sealed(dir.path());
    append(STREAMS, vec![registered(stream(STREAMS), "last")]);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    remove_plain(dir.path());
    assert!(sealed(dir.path()).len() > 5);
    (dir, events)
}

fn states(reader: &Reader, asked: &[StreamAt]) -> Result<Vec<Stream>, ReadError> {
    let mut found = Vec::new();
    reader.states(&StatesQuestion::Of(asked.to_vec()), &mut |state| {
        found.push(state);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Damages one sealed segment, or two. Returns what was done.
fn damage(dir: &Path, other: &Path, random: &mut Random) -> String {
    let all = sealed(dir);
    let at = usize::try_from(random.below(all.len() as u64)).unwrap();
    let path = &all[at];
    let bytes = fs::read(path).unwrap();
    let kind = random.below(8);
    let from = usize::try_from(random.below(all.len() as u64)).unwrap();
    let mut flip = |from: u64, below: u64| {
        let place = usize::try_from(from + random.below(below)).unwrap();
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << random.below(8);
        fs::write(path, flipped).unwrap();
        format!("byte {place}")
    };
    let len = bytes.len() as u64;
    let done = match kind {
        0 => {
            fs::remove_file(path).unwrap();
            "removed".to_owned()
        }
        1 => flip(0, 96),
        2 => flip(0, len),
        3 => flip(len - 200, 200),
        4 => {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            "cut off".to_owned()
        }
        5 => {
            fs::copy(&sealed(other)[at], path).unwrap();
            "of another ledger".to_owned()
        }
        6 => {
            fs::copy(&sealed(other)[at], path).unwrap();
            all.get(at + 1).into_iter().for_each(|next| fs::remove_file(next).unwrap());
            "of another ledger, the next one removed".to_owned()
        }
        _ => {
            fs::copy(&all[from], path).unwrap();
            format!("a copy of {}", all[from].file_name().unwrap().display())
        }
    };
    format!("{}: {done}", path.file_name().unwrap().display())
}

#[test]
fn a_state_from_a_damaged_ledger_is_that_of_the_events_or_an_error() {
    let ((sound, events), (other, _)) = (ledger(), ledger());
    let size = events.len() as u64;
    let (mut right, mut failed) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        let dir = copy_of(sound.path());
        let what = format!("seed {seed}, {}", damage(dir.path(), other.path(), &mut random));
        let reader = Reader::open(dir.path()).unwrap();
        for _ in 0..6 {
            let any = |random: &mut Random| StreamAt {
                id: stream(1 + u8::try_from(random.below(u64::from(STREAMS))).unwrap()),
                seq: if random.below(4) == 0 { size } else { random.below(size + 2) },
            };
            let asked: Vec<StreamAt> = (0..1 + random.below(8)).map(|_| any(&mut random)).collect();
            let expected = |at: &StreamAt| states_after(&events, at.seq).remove(&at.id);
            let alone: Vec<_> = asked.iter().map(|at| reader.stream_at(at.id, at.seq)).collect();
            for (at, found) in asked.iter().zip(&alone) {
                match found {
                    Ok(found) => assert_eq!(*found, expected(at), "{at:?}, {what}"),
                    Err(_) => failed += 1,
                }
                right += usize::from(found.is_ok());
            }
            match states(&reader, &asked) {
                Ok(found) => assert!(asked.iter().filter_map(expected).eq(found), "{asked:?}, {what}"),
                Err(error) => assert!(alone.iter().any(Result::is_err), "{error}: {asked:?}, {what}"),
            }
        }
    }
    assert!(right > failed && failed > 50, "{right} were right, and {failed} failed");
}
