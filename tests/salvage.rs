//! The command `salvage`: a new ledger of the intact events of a damaged one, also after the command was killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::{Actor, EventKind, NewEvent, ProcessSpec, RedactedSpec, StreamId, Timestamp};
use apm2_ledger::{Ledger, Options};

use crate::{
    fixture,
    support::{Outcome, Place, finish},
};

/// Kills of the command. `SALVAGE_KILLS` sets another number.
const KILLS: u64 = 8;

fn on(place: &Place, ledger: &Path, args: &[&str]) -> Outcome {
    finish(place.command(args).env("APM2_LEDGER_DIR", ledger))
}

/// The files below a directory, with their contents.
pub(crate) fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(contents(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}

/// Overwrites some bytes of a file.
fn damage(path: &Path, at: usize, len: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at..at + len].fill(0x55);
    fs::write(path, bytes).unwrap();
}

/// Writes a ledger of 1,001 events of each of so many processes. `before_close` is called with its directory.
pub(crate) fn write_many(dir: &Path, processes: u32, options: &Options, before_close: impl Fn(&Path)) {
    let ledger = Ledger::open_with(dir, options).unwrap();
    for number in 0..processes {
        let spec = ProcessSpec::builder().name(format!("p{number}")).command("true").build();
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let new = |kind| {
            let stamp = Timestamp { wall_ns: 1, boot_ns: 1, boot_id: uuid::Uuid::nil() };
            NewEvent { stream, run: 0, actor: Actor::System, reason: None, cause: None, stamp, kind }
        };
        ledger.append(stream, 0, vec![new(EventKind::Registered { spec: RedactedSpec::new(&spec) })]).unwrap();
        ledger.append(stream, 1, vec![new(EventKind::BudgetReset); 1000]).unwrap();
    }
    before_close(dir);
    ledger.close().unwrap();
}

#[test]
fn a_damaged_ledger_is_salvaged_and_the_gaps_are_named() {
    let place = Place::new();
    let size = fixture::write(&place.ledger());
    let new = place.path("new");
    let to = new.to_str().unwrap();
    place.run(&["salvage", to]).left_with(0).said(&[]);
    let sound = place.json(&["salvage", "--dry-run", to]);
    assert_eq!((&sound["ok"], &sound["last_seq"]), (&true.into(), &size.into()));
    assert!(!new.exists());
    damage(&place.ledger().join("journal/0000000001.seg"), 5000, 40);
    // Only the journal is damaged: the store has the events.
    let before = contents(&place.ledger());
    let plan = place.run(&["--format", "json", "salvage", "--dry-run", to]).left_with(4).json();
    assert!(!new.exists());
    assert_eq!((&plan["size"], &plan["lost_events"], &plan["dry_run"]), (&size.into(), &0.into(), &true.into()));
    assert!(plan["store_events"].as_u64().unwrap() > 0, "{plan}");
    fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    fs::create_dir(place.ledger().join("launch")).unwrap();
    fs::write(place.ledger().join("launch/a.json"), "1").unwrap();
    let done = place.run(&["--format", "json", "salvage", to]).left_with(4).json();
    assert_eq!(done["last_seq"], size);
    let (kept, lost) = (done["size"].as_u64().unwrap(), done["lost_events"].as_u64().unwrap());
    assert!(kept > 0 && lost > 0, "{done}");
    assert_eq!(kept + lost + done["unplaced_events"].as_u64().unwrap(), size);
    assert!(done["gaps"][0]["reason"].as_str().unwrap().contains("segment 1"), "{done}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(new.join("salvaged.json")).unwrap()).unwrap();
    assert_eq!(report, done);
    let unplaced = fs::read_to_string(new.join("salvaged-unplaced.jsonl")).unwrap();
    assert_eq!(unplaced.lines().count() as u64, done["unplaced_events"].as_u64().unwrap() + 1);
    assert!(unplaced.lines().skip(1).all(|line| line.contains("\"record\"") && line.contains("history_lost")));
    assert_eq!(fs::read_to_string(new.join("launch/a.json")).unwrap(), "1");
    let verified = on(&place, &new, &["--format", "json", "verify"]).succeeded().json();
    assert_eq!((&verified["ok"], &verified["size"], &verified["store"]), (&true.into(), &kept.into(), &"done".into()));
    let list = on(&place, &new, &["--format", "json", "list", "--all"]).succeeded().json();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    on(&place, &new, &["show", &id]).succeeded();
    place.run(&["salvage", to]).left_with(1).said(&["exists already"]);
    let other = place.path("other");
    place.run(&["salvage", other.to_str().unwrap()]).left_with(4);
    let inside = place.ledger().join("new");
    place.run(&["salvage", inside.to_str().unwrap()]).left_with(1).said(&["damaged ledger"]);
    let after = contents(&place.ledger());
    assert!(
        before
            .iter()
            .filter(|(path, _)| !path.starts_with(place.ledger().join("sled")))
            .all(|file| after.contains(file))
    );
}

#[test]
fn a_salvage_that_is_killed_leaves_no_ledger_or_a_whole_one() {
    let kills = std::env::var("SALVAGE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let place = Place::new();
    write_many(&place.ledger(), 20, &Options::default(), |_| {});
    fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    damage(&place.ledger().join("journal/0000000001.seg"), 300_000, 2000);
    let before = contents(&place.ledger());
    let (new, began) = (place.path("new"), Instant::now());
    let to = new.to_str().unwrap().to_owned();
    let whole = place.run(&["--format", "json", "salvage", &to]).left_with(4).json();
    let took = began.elapsed();
    fs::remove_dir_all(&new).unwrap();
    let mut killed = 0;
    for number in 0..kills {
        let mut command = place.command(&["salvage", &to]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Spread over the time that the command takes.
        let nanos = u64::try_from(took.as_nanos()).unwrap();
        thread::sleep(Duration::from_nanos(nanos * (number * 61 % 97) / 97));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += u64::from(status.code().is_none());
        if new.exists() {
            let verified = on(&place, &new, &["--format", "json", "verify"]).succeeded().json();
            assert_eq!(verified["size"], whole["size"], "{number}");
            fs::remove_dir_all(&new).unwrap();
        }
        assert!(contents(&place.ledger()) == before, "the damaged ledger was changed by {number}");
    }
    println!("{killed} of {kills} were killed");
    assert!(killed > 0);
    let done = place.run(&["--format", "json", "salvage", &to]).left_with(4).json();
    assert_eq!((&done["size"], &done["gaps"]), (&whole["size"], &whole["gaps"]));
    assert_eq!(on(&place, &new, &["--format", "json", "verify"]).succeeded().json()["ok"], true);
    assert!(!place.path("new.partial").exists());
    place.run(&["salvage", place.path("second").to_str().unwrap()]).left_with(4);
}

#[test]
fn a_ledger_in_use_is_not_salvaged() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let to = place.path("new");
    place.run(&["salvage", to.to_str().unwrap()]).left_with(5).said(&["in use"]);
    assert!(!to.exists());
}
