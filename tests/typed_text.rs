//! Errors quote what was typed, and must not control the terminal.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use crate::support::{Place, finish};

#[test]
fn a_mistake_on_the_command_line_is_shown_without_control_characters() {
    let place = Place::new();
    let mistakes: [&[&[u8]]; 6] = [
        &[b"list", b"--no\x1b[31msuch"],
        &[b"\x1b]0;title\x07"],
        &[b"--format", b"js\x1b[2Jon", b"list"],
        &[b"run", b"--restart", b"a\x1b\rb", b"--", b"true"],
        &[b"list", b"\xe2\x80\xae\x1b[1m"],
        &[b"run", b"--name", b"\xff\x1b[1m", b"--", b"true"],
    ];
    for mistake in mistakes {
        let words: Vec<OsString> = mistake.iter().map(|word| OsStr::from_bytes(word).to_owned()).collect();
        let outcome = finish(&mut place.command(&words)).left_with(2);
        let raw = outcome.stderr.chars().find(|c| (c.is_control() && *c != '\n') || "\u{202e}\u{feff}".contains(*c));
        assert_eq!(raw, None, "{:?}", outcome.stderr);
        assert!(outcome.stderr.contains("error:"), "{:?}", outcome.stderr);
    }
}

#[test]
fn a_ledger_whose_path_is_not_utf_8_works_in_run_and_up_alike() {
    let place = Place::new();
    let ledger = place.path("x").with_file_name(OsStr::from_bytes(b"odd\xff")).join("ledger");
    std::fs::create_dir(ledger.parent().unwrap()).unwrap();
    std::fs::write(place.path("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n")
        .unwrap();
    let on = |words: &[&str]| finish(place.command(words).env("APM2_LEDGER_DIR", &ledger));
    assert_eq!(on(&["run", "--", "sh", "-c", "echo hi; exit 3"]).left_with(3).stdout, "hi\n");
    on(&["up"]).succeeded();
    assert!(on(&["list", "--all"]).succeeded().stdout.contains("crashed (3)"));
    on(&["down"]).succeeded();
    on(&["daemon", "--stop"]).succeeded();
    assert!(on(&["verify"]).succeeded().stdout.contains("sound"));
}

#[test]
fn a_directory_to_start_in_that_is_not_utf_8_is_refused_in_run_and_up_alike() {
    let place = Place::new();
    let odd = place.path("x").with_file_name(OsStr::from_bytes(b"odd\xff\x1b[1m"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'true'\n").unwrap();
    for words in [&["run", "--", "true"][..], &["up"]] {
        let outcome = finish(place.command(words).current_dir(&odd)).left_with(2);
        assert!(outcome.stderr.contains("is not UTF-8") && !outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    }
}
