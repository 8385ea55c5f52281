//! The command `rebuild`: the store is built again, and a daemon is in its way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use apm2_ledger::Options;

use crate::{
    fixture,
    salvage::{contents, write_many},
    support::{Place, wait_until},
};

/// Kills of the command. `REBUILD_KILLS` sets another number.
const KILLS: u64 = 5;

#[test]
fn a_store_is_rebuilt_while_no_daemon_has_the_ledger() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let pid = place.pid_of("it");
    place.run(&["rebuild"]).left_with(5).said(&["in use", "daemon --leave"]);
    assert_eq!(place.json(&["rebuild", "--dry-run"])["dry_run"], true);
    place.run(&["daemon", "--leave"]).succeeded();
    let before = place.json(&["verify"]);
    let done = place.json(&["rebuild"]);
    assert_eq!((&done["size"], &done["chain"]), (&before["size"], &before["chain"]));
    let after = place.json(&["verify"]);
    assert_eq!((&after["ok"], &after["store"], &after["size"]), (&true.into(), &"done".into(), &before["size"]));
    assert_eq!(place.pid_of("it"), pid, "it runs as before");
    place.run(&["stop", "it"]).succeeded();
    place.stop_daemon();
    let types: Vec<_> = place.json(&["tail", "-n", "all"]).to_string().matches("store_rebuilt").map(str::len).collect();
    assert!(types.is_empty(), "no event is recorded");
}

#[test]
fn a_missing_ledger_and_a_damaged_journal_are_refused() {
    let place = Place::new();
    place.run(&["rebuild"]).left_with(5).said(&["there is no ledger"]);
    fixture::write(&place.ledger());
    fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    assert_eq!(place.json(&["rebuild"])["bytes_before"], 0);
    let path = place.ledger().join("journal/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    place.run(&["rebuild"]).left_with(4).said(&["damaged"]);
    assert!(place.ledger().join("sled/db").exists());
}

/// The sealed segments of a ledger, in order.
fn sealed(ledger: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(ledger.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut sealed: Vec<_> = names.filter(|path| path.extension().is_some_and(|suffix| suffix == "sealed")).collect();
    sealed.sort();
    sealed
}

/// Writes a ledger of sealed segments without plain files beside them.
fn write_sealed(ledger: &Path) {
    write_many(ledger, 10, &Options { segment_bytes: 64 * 1024, ..Options::default() }, |opened| {
        let last = opened.join("journal/ahead");
        wait_until("all full segments are sealed", || {
            let plain = fs::read_dir(opened.join("journal")).unwrap();
            let plain =
                plain.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|suffix| suffix == "seg"));
            (last.exists() && sealed(opened).len() + 1 == plain.count()).then_some(())
        });
    });
    for path in sealed(ledger) {
        fs::remove_file(path.with_extension("seg")).unwrap();
    }
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_segments_are_written_again_or_named() {
    let place = Place::new();
    write_sealed(&place.ledger());
    let before = place.json(&["verify"]);
    let all = sealed(&place.ledger());
    damage(&all[2], 500);
    fs::remove_file(&all[4]).unwrap();
    place.run(&["verify"]).left_with(4).said(&[]);
    let told = place.run(&["verify"]).left_with(4).stdout;
    assert!(told.contains("apm2-ledger rebuild --dry-run") && told.contains("apm2-ledger salvage DEST"), "{told}");
    let files = contents(&place.ledger());
    let plan = place.json(&["rebuild", "--dry-run"]);
    assert!(contents(&place.ledger()) == files);
    assert_eq!((&plan["segments"][0]["number"], &plan["segments"][0]["written"]), (&3.into(), &true.into()));
    assert!(place.run(&["rebuild"]).succeeded().stdout.contains("written again from the store"));
    let after = place.json(&["verify"]);
    assert_eq!((&after["ok"], &after["chain"], &after["size"]), (&true.into(), &before["chain"], &before["size"]));
    // Without a store, the segment cannot be written again.
    damage(&all[2], 500);
    fs::remove_dir_all(place.ledger().join("sled")).unwrap();
    fs::remove_file(all[2].with_extension("sealed.damaged")).unwrap();
    place.run(&["rebuild"]).left_with(4).said(&["damaged", "rebuild --dry-run", "salvage DEST"]);
    let plan = place.json(&["rebuild", "--dry-run"]);
    assert_eq!(plan["segments"][0]["written"], false, "{plan}");
}

#[test]
fn a_rebuild_that_is_killed_leaves_each_segment_damaged_or_whole() {
    let kills = std::env::var("REBUILD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let place = Place::new();
    write_sealed(&place.ledger());
    let before = place.json(&["verify"]);
    let all = sealed(&place.ledger());
    let damaged = [1, 3, 5, 7].map(|number| &all[number]);
    let whole: Vec<_> = damaged.iter().map(|path| fs::read(path).unwrap()).collect();
    let break_all = || damaged.iter().for_each(|path| damage(path, 500));
    break_all();
    let began = Instant::now();
    place.run(&["rebuild"]).succeeded();
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap();
    let mut killed = 0;
    for number in 0..kills {
        for (path, bytes) in damaged.iter().zip(&whole) {
            fs::write(path, bytes).unwrap();
        }
        for path in fs::read_dir(place.ledger().join("journal")).unwrap().map(|entry| entry.unwrap().path()) {
            if path.to_str().unwrap().contains("damaged") {
                fs::remove_file(path).unwrap();
            }
        }
        break_all();
        let mut child = place.command(&["rebuild"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_nanos(nanos * (number * 61 % 97) / 97));
        child.kill().unwrap();
        killed += u64::from(child.wait().unwrap().code().is_none());
        for path in &damaged {
            assert!(path.exists(), "{number}: a damaged segment has no file: {}", path.display());
        }
        let done = place.json(&["rebuild"]);
        assert_eq!((&done["chain"], &done["size"]), (&before["chain"], &before["size"]), "{number}");
        let after = place.json(&["verify"]);
        assert_eq!(
            (&after["ok"], &after["chain"], &after["store"]),
            (&true.into(), &before["chain"], &"done".into()),
            "{number}"
        );
    }
    println!("{killed} of {kills} were killed");
    assert!(killed > 0);
}
