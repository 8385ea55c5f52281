//! Output on a terminal, in contrast to a pipe.

use std::{fs::File, io::Read as _, os::fd::OwnedFd};

use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::{fixture, support::Place};

/// The output on a terminal of this width.
fn on_terminal(args: &[&str], columns: u16, env: &[(&str, &str)]) -> String {
    let place = Place::new();
    fixture::write(&place.ledger());
    let (text, code) = terminal(&place, args, columns, env);
    assert_eq!(code, Some(0), "{text}");
    text
}

/// The output on a terminal, and the exit code.
fn terminal(place: &Place, args: &[&str], columns: u16, env: &[(&str, &str)]) -> (String, Option<i32>) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let mut command = place.command(args);
    command.env("TERM", "xterm").envs(env.iter().copied()).stdout(slave);
    let mut child = command.spawn().unwrap();
    // Our copy of the terminal's descriptor is closed with it, so the output ends when the program does.
    drop(command);
    let text = read_to_end(master);
    (text, child.wait().unwrap().code())
}

fn read_to_end(master: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // Reading from a terminal whose other side is closed fails with EIO.
    drop(File::from(master).read_to_end(&mut bytes));
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [20, 40, 80] {
        for args in [&["list"][..], &["show", "build"], &["verify"]] {
            let args: Vec<_> = ["--color", "never"].iter().chain(args).copied().collect();
            let text = on_terminal(&args, columns, &[]);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(columns), "{columns}: {text}");
            assert!(columns > 40 || text.contains('…'), "{columns}: {text}");
        }
    }
}

/// On a narrow terminal, less important columns are left out before important ones are truncated.
#[test]
fn a_narrow_list_still_has_the_commands() {
    let list = ["--color", "never", "list", "--at", "@1769861400"];
    let narrow = on_terminal(&list, 100, &[]);
    assert!(narrow.contains("9m 45s  serve") && !narrow.contains("STARTED"), "{narrow}");
    assert!(on_terminal(&list, 140, &[]).contains("STARTED"));
}

#[test]
fn nothing_is_cut_off_in_a_pipe() {
    let place = Place::new();
    fixture::write(&place.ledger());
    assert!(!place.run(&["show", "build"]).succeeded().stdout.contains('…'));
}

#[test]
fn a_terminal_is_not_cleared_before_there_is_something_to_show() {
    assert_eq!(terminal(&Place::new(), &["list", "--watch"], 80, &[]), (String::new(), Some(5)));
}

#[test]
fn colour_is_for_terminals_and_color_always() {
    let is_coloured = |text: &str| text.contains("\x1b[");
    assert!(is_coloured(&on_terminal(&["list"], 80, &[])));
    assert!(!is_coloured(&on_terminal(&["list"], 80, &[("NO_COLOR", "1")])));
    assert!(!is_coloured(&on_terminal(&["list"], 80, &[("TERM", "dumb")])));
    assert!(!is_coloured(&on_terminal(&["--color", "never", "list"], 80, &[])));
    assert!(is_coloured(&on_terminal(&["--color", "always", "list"], 80, &[("NO_COLOR", "1")])));
    let place = Place::new();
    fixture::write(&place.ledger());
    assert!(!is_coloured(&place.run(&["list"]).succeeded().stdout));
    assert!(is_coloured(&place.run(&["--color", "always", "list"]).succeeded().stdout));
}

/// Displayed times are accepted as input: local time with its offset, and UTC in pipes.
#[test]
fn times_are_local_on_a_terminal_and_utc_elsewhere() {
    let three_hours_east = [("TZ", "XYZ-3")];
    for args in [&["list", "--at", "@1769861400"][..], &["show", "build"], &["tail"]] {
        let text = on_terminal(args, 200, &three_hours_east);
        assert!(text.contains("2026-01-31T15:00:") && text.contains("+03:00") && !text.contains("T12:00:"), "{text}");
    }
    let place = Place::new();
    fixture::write(&place.ledger());
    let piped = place.command(&["show", "build"]).envs(three_hours_east).output().unwrap();
    assert!(String::from_utf8_lossy(&piped.stdout).contains("2026-01-31T12:00:09.000Z"), "{piped:?}");
    let json = terminal(&place, &["--format", "json", "show", "build"], 200, &three_hours_east).0;
    assert!(json.contains("\"2026-01-31T12:00:09.000000000Z\"") && !json.contains("+03:00"), "{json}");
}
