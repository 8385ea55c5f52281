//! Wrong usage.

use crate::{
    fixture,
    support::{Outcome, Place},
};

#[track_caller]
fn misused(args: &[&str], words: &[&str]) {
    let place = Place::new();
    fixture::write(&place.ledger());
    let outcome = place.run(args).left_with(2).said(words);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn wrong_usage_is_2_and_says_what_is_right() {
    misused(&[], &["Usage:"]);
    misused(&["no-such-command"], &["no-such-command"]);
    misused(&["run"], &["COMMAND"]);
    misused(&["run", "true"], &["--"]);
    misused(&["run", "--name", "a b", "--", "true"], &["--name", "letters, digits"]);
    misused(&["run", "--backoff", "soon", "--", "true"], &["--backoff", "not a duration"]);
    misused(&["run", "--restart", "maybe", "--", "true"], &["never", "on-failure", "always"]);
    misused(&["run", "--stop-signal", "SIGNOPE", "--", "true"], &["is not a signal"]);
    misused(&["run", "--env", "NOT_SET_ANYWHERE", "--", "true"], &["NOT_SET_ANYWHERE", "hint: "]);
    misused(&["run", "--", ""], &["command"]);
    misused(&["daemon", "--idle-timeout", "1s"], &["--on-demand"]);
    misused(&["show"], &["<ID>"]);
    misused(&["list", "--at", "soon"], &["--at", "2h ago", "14:00"]);
    for (command, option) in [("list", "--at"), ("replay", "--at"), ("tail", "--since"), ("tail", "--until")] {
        misused(&[command, option, "1000000"], &[&format!("{option} 1000000: the ledger ends with event")]);
        misused(&[command, option, "99999999d ago"], &[option, "too long ago"]);
    }
    for option in ["--at", "--until"] {
        for command in [&["show", "build"][..], &["stats"]] {
            let asked = [command, &[option, "1000000"]].concat();
            misused(&asked, &[&format!("{option} 1000000: the ledger ends with event")]);
        }
        misused(&["stats", &format!("{option}=1000000")], &[&format!("{option} 1000000")]);
    }
    misused(&["tail", "-f", "--until", "14:00"], &["--until"]);
    misused(&["show", "build", "--events", "some"], &["--events", "all"]);
    misused(&["list", "--state", "tired"], &["crashed"]);
    misused(&["tail", "--type", "tired"], &["crashed", "tail_cut"]);
    misused(&["--format", "xml", "list"], &["jsonl"]);
}

fn shown(id: &str) -> Outcome {
    let place = Place::new();
    fixture::write(&place.ledger());
    place.run(&["--format", "json", "show", id])
}

#[test]
fn a_process_is_found_by_id_prefix_and_name() {
    for id in ["01010101-0101-4101-8101-010101010101", "0101", "01010101-0101", "build"] {
        assert_eq!(shown(id).succeeded().json()["handle"]["name"], "build", "{id}");
    }
    assert_eq!(shown("web-1").succeeded().json()["handle"]["instance"], 1);
}

#[test]
fn a_process_that_is_not_there_is_3() {
    for id in ["nobody", "ffff", "010", "web-7", "", "../ledger", "00000000-0000-0000-0000-000000000000"] {
        let outcome = shown(id).left_with(3).said(&["no process", "hint: ", "apm2-ledger list"]);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn an_ambiguous_id_is_refused() {
    // Two ids begin with these digits; one name has two instances.
    shown("0202").left_with(2).said(&["fits several", "web", "hostile"]);
    shown("web").left_with(2).said(&["several instances", "web-0"]);
}

#[test]
fn a_process_that_was_not_there_yet_is_3() {
    let place = Place::new();
    fixture::write(&place.ledger());
    place.run(&["show", "web-1", "--at", "1"]).left_with(3).said(&["yet"]);
}
