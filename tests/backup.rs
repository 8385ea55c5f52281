//! The commands `backup` and `restore`: a copy of a ledger that is made beside its daemon, and the ledger made of it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    fixture,
    support::{Outcome, Place, finish, helpers_of, wait_until},
};

const ECOSYSTEM: &str = "[[process]]\nname = 'svc'\ncommand = 'sleep'\nargs = ['1000']
env = { API_TOKEN = 'invented-token-7' }\n";

fn on(place: &Place, ledger: &Path, args: &[&str]) -> Outcome {
    finish(place.command(args).env("APM2_LEDGER_DIR", ledger))
}

fn json_on(place: &Place, ledger: &Path, args: &[&str]) -> serde_json::Value {
    on(place, ledger, &[&["--format", "json"], args].concat()).succeeded().json()
}

#[test]
fn a_ledger_in_use_is_backed_up_and_restored() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("svc");
    let (backup, restored) = (place.path("backup"), place.path("restored"));
    let (to, from) = (backup.to_str().unwrap(), restored.to_str().unwrap());
    let plan = place.json(&["backup", "--dry-run", to]);
    assert!(!backup.exists());
    let first = place.json(&["backup", to]);
    assert_eq!((&plan["files_copied"], &plan["dry_run"]), (&first["files_copied"], &true.into()));
    assert_eq!(first["size_before"], serde_json::Value::Null);
    place.run(&["run", "--name", "later", "--", "true"]).succeeded();
    let size = place.json(&["verify"])["size"].as_u64().unwrap();
    let second = place.json(&["backup", to, "--logs"]);
    assert_eq!(second["size_before"], first["size"]);
    assert!(second["size"].as_u64().unwrap() >= size, "{second}");
    place.run(&["backup", to]).succeeded();

    // Secrets are in the launch files only, which other users cannot read.
    let launch = fs::read_dir(backup.join("launch")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(&launch).unwrap().contains("invented-token-7"));
    assert_eq!(fs::metadata(&launch).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o700);

    // The backup can be read, and is not written.
    let names = |ledger: &Path| -> Vec<String> {
        let list = json_on(&place, ledger, &["list", "--all"]);
        let mut names: Vec<_> =
            list.as_array().unwrap().iter().map(|process| process["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&backup), ["later", "svc"]);
    assert_eq!(json_on(&place, &backup, &["verify"])["ok"], true);
    on(&place, &backup, &["run", "--", "true"]).left_with(5).said(&["holds a backup", "restore"]);
    on(&place, &backup, &["migrate"]).succeeded();
    wait_until("no daemon is left", || helpers_of(&backup, &["daemon"]).is_empty().then_some(()));

    let plan = place.json(&["--ledger", from, "restore", "--dry-run", to]);
    assert!(!restored.exists());
    let done = place.json(&["--ledger", from, "restore", to]);
    assert_eq!((&done["size"], &done["chain"]), (&plan["size"], &plan["chain"]));
    place.run(&["--ledger", from, "restore", to]).left_with(1).said(&["exists already"]);
    let verified = json_on(&place, &restored, &["verify"]);
    assert_eq!((&verified["ok"], &verified["store"], &verified["size"]), (&true.into(), &"done".into(), &done["size"]));
    assert_eq!(verified["chain"], done["chain"]);

    // The restored ledger goes on, and leaves the process of the original alone.
    on(&place, &restored, &["run", "--name", "again", "--", "true"]).succeeded();
    on(&place, &restored, &["stop", "svc"]);
    assert_eq!(names(&restored), ["again", "later", "svc"]);
    on(&place, &restored, &["daemon", "--stop"]);
    wait_until("its daemon is gone", || helpers_of(&restored, &["daemon", "keeper"]).is_empty().then_some(()));
    assert_eq!(json_on(&place, &restored, &["verify"])["ok"], true);
    assert_eq!(place.pid_of("svc"), pid, "the original supervises it");
    // The restored ledger has other events by now.
    on(&place, &restored, &["backup", to]).succeeded();
    place.run(&["backup", to]).left_with(1).said(&["restore"]);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_refused() {
    let place = Place::new();
    let to = place.path("backup").to_str().unwrap().to_owned();
    place.run(&["backup", &to]).left_with(5).said(&["there is no ledger"]);
    fixture::write(&place.ledger());
    place.run(&["backup", place.ledger().to_str().unwrap()]).left_with(1).said(&["directory of the ledger"]);
    place.run(&["backup", place.path("").to_str().unwrap()]).left_with(1).said(&["holds no backup"]);
    place.run(&["--ledger", place.path("x").to_str().unwrap(), "restore", &to]).left_with(1).said(&["no backup in"]);
    place.run(&["backup", &to]).succeeded();
    place.run(&["restore", &to]).left_with(1).said(&["exists already"]);
    // A backup that is damaged is not restored.
    let segment = place.path("backup/journal/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[300] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let restored = place.path("restored");
    let refused = on(&place, &restored, &["restore", &to]).left_with(4).said(&["damaged", "nothing was restored"]);
    assert!(!restored.exists(), "{refused:?}");
    on(&place, &restored, &["restore", "--dry-run", &to]).left_with(4);
    // The next backup repairs it.
    place.run(&["backup", &to]).succeeded();
    on(&place, &restored, &["restore", &to]).succeeded();
    assert_eq!(json_on(&place, &restored, &["list", "--all"]), place.json(&["list", "--all"]));
}
