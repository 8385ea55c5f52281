//! The help texts and manual pages, as snapshots.

use crate::support::Place;

const COMMANDS: [&str; 35] = [
    "run",
    "up",
    "down",
    "start",
    "stop",
    "restart",
    "reload",
    "scale",
    "list",
    "top",
    "show",
    "why",
    "diff",
    "stats",
    "timeline",
    "cost",
    "sessions",
    "logs",
    "tail",
    "replay",
    "report",
    "web",
    "verify",
    "doctor",
    "export",
    "import",
    "backup",
    "restore",
    "salvage",
    "rebuild",
    "retain",
    "migrate",
    "completions",
    "man",
    "daemon",
];

#[test]
fn the_help_of_each_command() {
    let place = Place::new();
    let mut texts = place.run(&["--help"]).succeeded().stdout;
    for command in COMMANDS {
        texts += &format!("\n======== {command}\n\n{}", place.run(&[command, "--help"]).succeeded().stdout);
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let place = Place::new();
    place.run(&["man", "pages/man1"]).succeeded();
    for command in COMMANDS {
        let page = std::fs::read_to_string(place.path(&format!("pages/man1/apm2-ledger-{command}.1"))).unwrap();
        assert!(page.contains("Examples:"), "{command}");
    }
    let overview = place.run(&["man"]).succeeded().stdout;
    assert!(overview.starts_with(".ie") || overview.contains(".TH apm2-ledger 1"), "{overview}");
}

#[test]
fn there_are_completions_for_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).succeeded().stdout;
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let place = Place::new();
    let version = format!("apm2-ledger {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.run(&["--version"]).succeeded().stdout, version);
}
