//! The daemon's own log: bounded while the daemon lives, and each line tells what it is about.

use std::fs;

use apm2_ledger::Ledger;
use rustix::process::Resource;

use crate::support::{Place, limit, wait_until};

#[test]
fn the_log_of_a_daemon_is_rotated_while_it_lives() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n").unwrap();
    place.run(&["up"]).succeeded();
    let daemon = place.daemon().unwrap();
    let (log, old) = (place.ledger().join("daemon.log"), place.ledger().join("daemon.log.1"));
    for round in 1..=2 {
        // As if it had said that much: it writes at the end of the file.
        let full = format!("round {round}\n{}\n", "x".repeat(1 << 20));
        fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .and_then(|mut file| std::io::Write::write_all(&mut file, full.as_bytes()))
            .unwrap();
        let say = || {
            // Something that it says in its log: its socket is gone.
            let _ = fs::remove_file(place.ledger().join("daemon.sock"));
            wait_until("the socket is there again", || place.ledger().join("daemon.sock").exists().then_some(()));
        };
        say();
        wait_until("the full file is set aside", || {
            fs::read_to_string(&old).ok().filter(|text| text.contains(&format!("round {round}")))
        });
        say();
        wait_until("it says more in a new one", || {
            fs::read_to_string(&log).ok().filter(|text| text.contains("socket") && text.len() < 10_000)
        });
    }
    assert_eq!(place.daemon(), Some(daemon));
    let logs = fs::read_dir(place.ledger()).unwrap().flatten();
    assert_eq!(logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("daemon.log")).count(), 2);
}
/// The lines of a daemon's log that contain all of `words`.
fn lines_with(place: &Place, words: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(place.ledger().join("daemon.log")).unwrap_or_default();
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

/// The first such line; waits for it.
fn line_with(place: &Place, words: &[&str]) -> String {
    wait_until(&format!("the daemon logs {words:?}"), || lines_with(place, words).into_iter().next())
}

/// A directory in the place of a file that a rotated log is to become: no permission is needed for that to fail.
fn in_the_way_of(place: &Place, instance: u32, name: &str) {
    fs::create_dir_all(place.ledger().join(format!("logs/it-{instance}")).join(name)).unwrap();
}

/// What goes wrong with the files of a process goes wrong on threads that serve all of them.
#[test]
fn a_line_about_a_process_names_its_instance_and_its_run_and_says_why() {
    let place = Place::new();
    let text = "[[process]]\nname = 'it'\ncommand = 'sh'\ninstances = 3\n\
                args = ['-c', 'while echo 0123456789012345678901234567890123456789; do sleep 0.05; done']\n\
                restart = { policy = 'never' }\n\
                [process.log]\nrotate_bytes = 100\ncompress = true\n";
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    Ledger::open(&place.ledger()).unwrap().close().unwrap();
    in_the_way_of(&place, 0, "stdout.log.00000001");
    in_the_way_of(&place, 1, "stdout.log.00000001.gz");
    place.run(&["up"]).succeeded();
    let of_instance = |instance: u32, run: u32| format!("instance{{name=it-{instance}}}:run{{number={run}}}: ");
    let why = "Is a directory (os error 21)";
    let (not_rotated, not_in_order) =
        ("a log file cannot be rotated", "rotated log files could not be compressed or removed");
    line_with(&place, &[&of_instance(0, 1), not_rotated, "logs/it-0/stdout.log", why]);
    line_with(&place, &[&of_instance(1, 1), not_in_order, why]);
    place.run(&["restart", "it-0"]).succeeded();
    line_with(&place, &[&of_instance(0, 2), not_rotated, why]);
    // The next daemon takes over what runs.
    place.kill_daemon();
    let before = lines_with(&place, &[&of_instance(1, 1), not_in_order]).len();
    place.run(&["list"]).succeeded();
    place.run(&["start", "it-2"]).succeeded();
    wait_until("it is named by the daemon that took it over, too", || {
        (lines_with(&place, &[&of_instance(1, 1), not_in_order, why]).len() > before).then_some(())
    });
    // Nothing is said about one that there is no trouble with, and nothing of any without its name.
    assert_eq!(lines_with(&place, &["it-2"]), [""; 0]);
    for what in [not_rotated, not_in_order] {
        let lines = lines_with(&place, &[what]);
        assert!(
            lines.iter().all(|line| line.contains("instance{name=it-") && line.contains(":run{number=")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_ledger_that_cannot_be_opened_again_is_logged_with_each_cause() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("it"), place.daemon().unwrap());
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["restart", "it"]).said(&["poisoned since "]);
    wait_until("it waits with its socket", || (place.run(&["list"]).code == 5).then_some(()));
    // A file in the place of the directory of the journal.
    let (journal, away) = (place.ledger().join("journal"), place.path("away"));
    fs::rename(&journal, &away).unwrap();
    fs::write(&journal, "").unwrap();
    limit(daemon, Resource::Fsize, None);
    line_with(&place, &["the ledger cannot be opened again yet", "/journal: Not a directory (os error 20)"]);
    fs::remove_file(&journal).unwrap();
    fs::rename(&away, &journal).unwrap();
    wait_until("it is back", || (place.run(&["list"]).code == 0).then_some(()));
    assert_eq!((place.pid_of("it"), place.daemon()), (pid, Some(daemon)));
}
