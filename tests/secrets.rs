//! A secret is passed to the command and is visible nowhere else.

use std::{fs, path::Path, process::Output};

use crate::support::Place;

const SECRETS: [&str; 4] = ["hunter2-in-env", "hunter2-from-outside", "hunter2-as-option", "hunter2-in-url"];

fn assert_nowhere_in(bytes: &[u8], what: &str) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in {what}");
    }
}

fn assert_nowhere_below(dir: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_nowhere_in(path.as_os_str().as_encoded_bytes(), "a file name");
        if path.is_dir() {
            files += assert_nowhere_below(&path);
        } else if path.is_file() {
            assert_nowhere_in(&fs::read(&path).unwrap(), &path.display().to_string());
            files += 1;
        }
    }
    files
}

/// Runs a command with each kind of secret; it writes down what it received.
fn run(place: &Place) -> Output {
    let options = ["run", "-v", "--name", "it", "--env", "SECRET=hunter2-in-env", "--env", "OUTSIDE"];
    let policy = ["--restart", "on-failure", "--max-restarts", "1", "--backoff", "1ms", "--"];
    place
        .command(&[&options[..], &policy].concat())
        .args(["sh", "-c", "echo \"$SECRET $OUTSIDE $*\" > given; exit 9", "sh"])
        .args(["--token", "hunter2-as-option", "db=postgres://u:hunter2-in-url@h/d"])
        .env("OUTSIDE", "hunter2-from-outside")
        .output()
        .unwrap()
}

#[test]
fn secrets_are_visible_to_the_command_only() {
    let place = Place::new();
    let output = run(&place);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let given = fs::read_to_string(place.path("given")).unwrap();
    assert!(SECRETS.iter().all(|secret| given.contains(secret)), "{given}");
    assert_nowhere_in(&output.stdout, "stdout");
    assert_nowhere_in(&output.stderr, "stderr");
    assert!(assert_nowhere_below(&place.ledger()) > 0);
}

#[test]
fn no_view_shows_a_secret() {
    let place = Place::new();
    run(&place);
    for format in ["table", "json", "jsonl"] {
        for args in [&["list"][..], &["show", "it"], &["replay"], &["verify"]] {
            let args: Vec<_> = ["-v", "--format", format].iter().chain(args).copied().collect();
            let outcome = place.run(&args).succeeded();
            assert_nowhere_in(outcome.stdout.as_bytes(), "a view");
            assert_nowhere_in(outcome.stderr.as_bytes(), "a remark");
        }
    }
    let spec = &place.events("it")[0]["spec"];
    assert_eq!(spec["env"], serde_json::json!(["OUTSIDE", "SECRET"]), "the names are kept");
}

#[test]
fn a_mistake_does_not_repeat_the_value() {
    let place = Place::new();
    let secret = "A=hunter2-in-env";
    for mistake in [
        &["run", "--env", "=hunter2-in-env", "--", "true"][..],
        &["run", "--env", secret, "--env", secret, "--", "true"],
        &["run", "--env", secret, "--no-such-option", "--", "true"],
        &["run", "--env", secret],
    ] {
        let outcome = place.run(mistake).left_with(2);
        assert_nowhere_in(outcome.stderr.as_bytes(), "stderr");
    }
}
