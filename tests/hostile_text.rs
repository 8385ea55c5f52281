//! Recorded text does not control the terminal.

use crate::support::Place;

/// Clears a screen, sets a title, hides, overwrites, reorders, is invisible.
const HOSTILE: &str = "\x1b[2J\x1b]0;owned\x07\r\x08\u{7f}\u{9b}31m\u{202e}\u{200b}\u{2066}\u{feff}end";

/// Fails when `text` contains anything but printable characters and line ends.
#[track_caller]
fn assert_harmless(text: &str) {
    let is_harmless = |character: char| {
        character == '\n' || !(character.is_control() || "\u{202e}\u{200b}\u{2066}\u{feff}".contains(character))
    };
    assert!(text.chars().all(is_harmless), "{text:?}");
}

#[test]
fn tables_are_escaped_and_json_is_faithful() {
    let place = Place::new();
    place.run(&["run", "--name", "it", "--reason", HOSTILE, "--", "true", HOSTILE]).succeeded();
    for args in [&["list", "--all"][..], &["show", "it"], &["replay"], &["list", "--at", "3"]] {
        let outcome = place.run(args).succeeded();
        assert_harmless(&outcome.stdout);
        assert_harmless(&outcome.stderr);
        assert!(outcome.stdout.contains(r"\x1b[2J") && outcome.stdout.contains(r"\u202e"), "{}", outcome.stdout);
    }
    let registered = &place.events("it")[0];
    assert_eq!((&registered["spec"]["args"][0], &registered["reason"]), (&HOSTILE.into(), &HOSTILE.into()));
}

#[test]
fn messages_and_errors_are_escaped() {
    let place = Place::new();
    let program = format!("./{HOSTILE}");
    let outcome = place.run(&["run", "-v", "--reason", HOSTILE, "--", &program]).left_with(127);
    assert_harmless(&outcome.stderr);
    assert_harmless(&place.run(&["show", HOSTILE]).left_with(3).stderr);
    let dir = place.path(HOSTILE);
    assert_harmless(&place.run(&["list", "--ledger", dir.to_str().unwrap()]).left_with(5).stderr);
}

#[test]
fn a_name_is_made_of_harmless_characters() {
    let place = Place::new();
    std::fs::copy("/bin/true", place.path(HOSTILE)).unwrap();
    place.run(&["run", "--", &format!("./{HOSTILE}")]).succeeded();
    let name = place.json(&["list", "--all"])[0]["name"].as_str().unwrap().to_owned();
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)), "{name:?}");
    place.run(&["show", &name]).succeeded();
}
