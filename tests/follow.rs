//! `logs -f`, `tail -f` and `list --watch`: what comes is shown, across rotations and the deaths of daemons.

use std::fs;

use crate::support::{Following, Place, wait_until};

#[test]
fn logs_are_followed_across_rotations_and_daemons() {
    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done";
    let place = Place::supervising_script(script, "log = { rotate_bytes = 500, total_bytes_max = 100000000 }");
    let following = Following::start(&place, &["logs", "it", "--stdout", "-n", "all", "-f"]);
    wait_until("it is followed", || (following.lines() > 300).then_some(()));
    place.kill_daemon();
    place.run(&["up"]).succeeded();
    let seen = following.lines();
    wait_until("and followed on", || (following.lines() > seen + 300).then_some(()));
    let printed = following.printed();
    let whole = printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let numbers: Vec<usize> = whole.map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "nothing is lost or doubled");
}

#[test]
fn lines_of_several_outputs_are_whole_and_have_their_title() {
    let script = "echo before; printf begun; echo error >&2; while [ ! -e go ]; do sleep 0.01; done; echo \" ended\"; \
                  echo late >&2; printf half; while :; do echo more >&2; sleep 0.01; done";
    let place = Place::supervising_script(script, "");
    let logs = || place.run(&["logs", "it"]).succeeded().stdout;
    wait_until("both outputs are there", || (logs().contains("begun") && logs().contains("error")).then_some(()));
    assert_eq!(logs(), "==> it stdout <==\nbefore\nbegun\n==> it stderr <==\nerror\n");
    let following = Following::start(&place, &["logs", "it", "-f"]);
    wait_until("what is there is shown", || following.printed().contains("| begun").then_some(()));
    let shown = "==> it stdout <==\nbefore\n\n==> it stderr <==\nerror\nit stdout | begun";
    assert_eq!(following.printed(), shown);
    fs::write(place.path("go"), "").unwrap();
    wait_until("what comes is shown", || following.printed().contains("it stderr | more\n").then_some(()));
    wait_until("the line has ended", || following.printed().contains("it stdout | begun ended\n").then_some(()));
    assert!(following.printed().contains("it stderr | late\n"), "{}", following.printed());
    wait_until("the next one has begun", || following.printed().contains("it stdout | half\n").then_some(()));
}

#[test]
fn the_ledger_is_followed_from_one_daemon_to_the_next() {
    let place = Place::supervising_script("sleep 1000", "");
    let following = Following::start(&place, &["--format", "json", "tail", "-f"]);
    wait_until("it is followed", || following.printed().contains("\"running\"").then_some(()));
    place.kill_daemon();
    place.run(&["restart", "it", "--reason", "to be seen"]).succeeded();
    wait_until("and followed on", || following.printed().contains("to be seen").then_some(()));
    wait_until("to the end", || following.printed().matches("\"type\":\"running\"").nth(1).map(drop));
    let seqs: Vec<u64> = following
        .printed()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[test]
fn a_list_is_shown_again_when_it_is_watched() {
    let place = Place::supervising_script("sleep 1000", "");
    let following = Following::start(&place, &["list", "--watch=100ms"]);
    wait_until("it runs", || following.printed().contains("running").then_some(()));
    place.run(&["stop", "it"]).succeeded();
    wait_until("it does not any more", || following.printed().contains("stopped").then_some(()));
    assert!(!following.printed().contains('\x1b'), "nothing for terminals goes into a pipe");
}

#[test]
fn the_last_lines_are_those_of_one_moment_however_much_is_written() {
    let place =
        Place::supervising_script("seq 1000000000", "log = { rotate_bytes = 1000000, total_bytes_max = 200000000 }");
    let number = |line: &str| line.parse::<u64>().unwrap();
    let all = || place.run(&["logs", "it", "--stdout", "-n", "60000", "--raw"]).succeeded().stdout;
    wait_until("as much is written as is asked for", || (all().lines().count() >= 60_000).then_some(()));
    for wanted in [1, 3, 50_000] {
        let count = wanted.to_string();
        let text = place.run(&["logs", "it", "--stdout", "-n", &count, "--raw"]).succeeded().stdout;
        // The last one may not have come to its end.
        let whole: Vec<&str> = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
        assert!(whole.len() + 1 >= wanted && whole.len() <= wanted, "{} of {wanted}", whole.len());
        assert!(whole.windows(2).all(|pair| number(pair[1]) == number(pair[0]) + 1), "{:?}", whole.first());
    }
}

/// The files of a process that writes without pause are rotated and removed faster than they are read.
#[test]
fn the_last_lines_of_an_output_that_is_rotated_fast_are_printed() {
    let place = Place::new();
    let script = "i=0; while :; do echo line $i; i=$((i+1)); done";
    let log = "rotate_bytes = 4096, total_bytes_max = 8192";
    let file = format!("[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', '{script}']\nlog = {{ {log} }}\n");
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]).succeeded();
    wait_until("it writes", || place.run(&["logs", "it"]).stdout.contains("line").then_some(()));
    for _ in 0..15 {
        let outcome = place.run(&["logs", "-n", "3", "it"]).succeeded();
        assert!(outcome.stdout.contains("line") || outcome.stderr.contains("were removed before they were read"));
    }
    place.run(&["down"]).succeeded();
}
