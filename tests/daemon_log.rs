//! The daemon's own log is bounded while the daemon lives.

use std::fs;

use crate::support::{Place, wait_until};

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
