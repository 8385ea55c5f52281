//! A copy of a ledger's directory, or a restored backup of its journal, beside the ledger itself on the same boot.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Outcome, Place, finish, gone, helpers_of, wait_until};

const ECOSYSTEM: &str = "[[process]]\nname = 'svc'\ncommand = 'sleep'\nargs = ['1000']
restart = { policy = 'always', backoff = '10ms' }\n";

/// A copy of the ledger. Its daemon is ended with it.
struct Copied<'a> {
    place: &'a Place,
    ledger: PathBuf,
}

impl<'a> Copied<'a> {
    /// The whole directory, with times, modes and dead sockets.
    fn whole(place: &'a Place) -> Self {
        let ledger = place.path("copy");
        assert!(Command::new("cp").arg("-a").arg(place.ledger()).arg(&ledger).status().unwrap().success());
        Self { place, ledger }
    }

    /// Hard links to all files, sockets included (`cp -al`, `rsync --link-dest`).
    fn linked(place: &'a Place) -> Self {
        let ledger = place.path("linked");
        assert!(Command::new("cp").arg("-al").arg(place.ledger()).arg(&ledger).status().unwrap().success());
        Self { place, ledger }
    }

    /// A backup of the journal alone.
    fn journal(place: &'a Place) -> Self {
        let ledger = place.path("restored");
        fs::DirBuilder::new().mode(0o700).create(&ledger).unwrap();
        let journal = place.ledger().join("journal");
        assert!(Command::new("cp").arg("-r").arg(journal).arg(&ledger).status().unwrap().success());
        Self { place, ledger }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        finish(self.place.command(args).env("APM2_LEDGER_DIR", &self.ledger))
    }

    fn types(&self) -> Vec<String> {
        let shown = self.run(&["--format", "json", "show", "svc", "--all"]);
        let shown = if shown.code == 2 { self.run(&["--format", "json", "show", "svc"]) } else { shown };
        let events = shown.succeeded().json()["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that the daemon of the copy has adopted no process, and that `show` reports why.
    fn assert_adopts_nothing(&self) {
        let types = self.types();
        assert!(!types.contains(&"adopted".to_owned()), "{types:?}");
        let shown = self.run(&["show", "svc"]).succeeded().stdout;
        assert!(shown.contains("this is a copy of the ledger"), "{shown}");
    }
}

/// A ledger with a running process, and the pid of the process.
fn supervised() -> (Place, u32) {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("svc");
    (place, pid)
}

impl Drop for Copied<'_> {
    fn drop(&mut self) {
        drop(self.run(&["down", "--all"]));
        drop(self.run(&["daemon", "--stop"]));
        wait_until("its helpers leave", || helpers_of(&self.ledger, &["daemon", "keeper"]).is_empty().then_some(()));
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

#[test]
fn a_dry_run_starts_no_daemon_and_changes_nothing() {
    let (place, pid) = supervised();
    for copy in [Copied::whole(&place), Copied::journal(&place)] {
        let before = (files(&copy.ledger), files(&copy.ledger.join("journal")));
        let planned = copy.run(&["up", "--dry-run"]).succeeded();
        assert!(planned.stdout.contains("svc"), "{planned:?}");
        assert!(helpers_of(&copy.ledger, &["daemon", "keeper"]).is_empty());
        assert!((files(&copy.ledger), files(&copy.ledger.join("journal"))) == before, "nothing is written");
    }
    assert_eq!(place.pid_of("svc"), pid);
}

#[test]
fn nothing_of_the_ledger_is_touched_by_its_copy() {
    let (place, pid) = supervised();
    for copy in [Copied::whole(&place), Copied::journal(&place)] {
        // Each starts a daemon, which takes up what is its own.
        for args in [&["stop", "svc"][..], &["stop", "all"]] {
            drop(copy.run(args));
            assert!(!gone(pid), "{args:?}");
        }
        copy.assert_adopts_nothing();
        let said = fs::read_to_string(copy.ledger.join("daemon.log")).unwrap();
        assert!(said.contains("left alone") && said.contains(&pid.to_string()), "{said}");
        assert!(said.contains("then start it here"), "what to do is said: {said}");
    }
    assert_eq!(place.pid_of("svc"), pid);
    assert_eq!(place.json(&["show", "svc"])["handle"]["state"], "running");
}

/// The sockets of a hard-linked copy are those of the original.
#[test]
fn a_hard_linked_copy_does_not_reach_the_daemon_of_the_original() {
    let (place, pid) = supervised();
    let daemon = place.daemon();
    let copy = Copied::linked(&place);
    let listed = copy.run(&["--format", "json", "list", "--all"]).succeeded().json();
    assert_eq!(listed[0]["supervised"], false, "{listed}");
    copy.run(&["daemon", "--stop"]).succeeded().said(&["there is no daemon"]);
    assert_eq!(place.daemon(), daemon);
    drop(copy.run(&["stop", "svc"]));
    assert!(!gone(pid));
    copy.run(&["up"]).succeeded();
    assert!(!helpers_of(&copy.ledger, &["daemon"]).is_empty(), "it has a daemon of its own");
    assert_eq!((place.pid_of("svc"), place.daemon()), (pid, daemon));
}

#[test]
fn a_hard_linked_copy_does_not_reach_the_descriptor_store_of_the_original() {
    let (place, pid) = supervised();
    let copy = Copied::linked(&place);
    place.kill_daemon();
    drop(copy.run(&["stop", "svc"]));
    assert!(!gone(pid));
    copy.assert_adopts_nothing();
    // What the descriptor store holds is still there for the original.
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("svc"), pid);
    assert!(place.types("svc").contains(&"adopted".to_owned()));
    assert_eq!(helpers_of(&place.ledger(), &["keeper"]).len(), 1);
}

/// The process of the ledger is restarted by its own daemon, and by no other.
#[test]
fn a_copy_starts_nothing_by_itself() {
    let (place, pid) = supervised();
    let copy = Copied::whole(&place);
    place.run(&["restart", "svc"]).succeeded();
    wait_until("it is another process", || (place.pid_of("svc") != pid).then_some(()));
    // Its record has a run that has ended meanwhile.
    copy.run(&["run", "--", "true"]).succeeded();
    let state = copy.run(&["--format", "json", "show", "svc"]).succeeded().json()["handle"]["state"].clone();
    assert_eq!(state, "crashed");
    // What is asked for is started, beside the other: the copy is a place of its own by now.
    copy.run(&["start", "svc"]).succeeded();
    let own = copy.run(&["--format", "json", "show", "svc"]).succeeded().json()["handle"]["pid"].as_u64().unwrap();
    assert_ne!(own, u64::from(place.pid_of("svc")));
    let environ = String::from_utf8_lossy(&fs::read(format!("/proc/{own}/environ")).unwrap()).into_owned();
    let other =
        String::from_utf8_lossy(&fs::read(format!("/proc/{}/environ", place.pid_of("svc"))).unwrap()).into_owned();
    let marker = |environ: &str| environ.split('\0').find(|entry| entry.starts_with("APM2_RUN=2:")).map(str::to_owned);
    assert!(marker(&environ).is_some() && marker(&environ) != marker(&other), "{environ} {other}");
    copy.run(&["stop", "svc"]).succeeded();
    assert!(!gone(place.pid_of("svc")));
    assert!(gone(u32::try_from(own).unwrap()));
}

/// The place of a ledger is its directory, whatever that is called.
#[test]
fn a_ledger_that_is_moved_is_no_copy() {
    let (place, pid) = supervised();
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("the daemon leaves", || place.daemon().is_none().then_some(()));
    fs::rename(place.ledger(), place.path("moved")).unwrap();
    let listed = finish(place.command(&["up"]).env("APM2_LEDGER_DIR", place.path("moved"))).succeeded();
    assert!(listed.stdout.contains("unchanged"), "{listed:?}");
    assert!(!gone(pid));
    finish(place.command(&["down"]).env("APM2_LEDGER_DIR", place.path("moved"))).succeeded();
    assert!(gone(pid));
    finish(place.command(&["daemon", "--stop"]).env("APM2_LEDGER_DIR", place.path("moved"))).succeeded();
    wait_until("its helpers leave", || {
        helpers_of(&place.path("moved"), &["daemon", "keeper"]).is_empty().then_some(())
    });
}

/// A ledger from before places had names: what its keeper holds is its own.
#[test]
fn a_ledger_without_a_place_is_taken_over_with_its_keeper() {
    let (place, pid) = supervised();
    place.kill_daemon();
    fs::remove_file(place.ledger().join("place")).unwrap();
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("svc"), pid);
    let noted = fs::read_to_string(place.ledger().join("place")).unwrap();
    assert!(noted.contains("\"old_markers\":true"), "{noted}");
}
