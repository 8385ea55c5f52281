//! Display of output: incomplete lines, long lines, JSON objects, and the order of stdout and stderr.

use std::{
    fs::{self, File},
    io::Read as _,
    os::fd::AsFd as _,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Following, Place, wait_until};

/// The lines of a log, as objects.
fn objects(place: &Place, args: &[&str]) -> Vec<Value> {
    place.json(args).as_array().unwrap().clone()
}

#[test]
fn a_prompt_is_shown_though_its_line_has_no_end() {
    let place = Place::new();
    let script = "echo start; echo warn >&2; printf 'Enter token: '; while [ ! -e go ]; do sleep 0.01; done; \
                  echo got it; echo more >&2; while :; do sleep 0.01; done";
    let _running = place.start_script(&["--name", "it"], script);
    wait_until("it asks", || place.run(&["logs", "it"]).stdout.contains("Enter").then_some(()));
    let following = Following::start(&place, &["logs", "it", "-f"]);
    wait_until("what is there is shown", || following.printed().contains("warn").then_some(()));
    let began = Instant::now();
    wait_until("the prompt is shown", || following.printed().contains("Enter token: ").then_some(()));
    // It takes 300 ms; the rest is for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(following.printed().ends_with("it stdout | Enter token: "), "{}", following.printed());
    fs::write(place.path("go"), "").unwrap();
    wait_until("the line ends", || following.printed().contains("got it\n").then_some(()));
    wait_until("other lines stand alone", || following.printed().contains("\nit stderr | more\n").then_some(()));
    assert!(following.printed().contains("Enter token: got it\n"), "{}", following.printed());
}

#[test]
fn a_line_is_shown_whole_however_long_it_is() {
    let place = Place::new();
    let script = "echo first; head -c 2000000 /dev/zero | tr '\\0' x; echo; echo err >&2";
    place.run_script(&["--name", "it"], script).succeeded();
    let shown = place.run(&["logs", "it", "--stdout", "-n", "1"]).succeeded().stdout;
    assert_eq!((shown.len(), shown.trim_start_matches('x')), (2_000_001, "\n"));
    // Of both outputs, too.
    let shown = place.run(&["logs", "it", "-n", "1"]).succeeded().stdout;
    let whole = format!("==> it stdout <==\n{}\n\n==> it stderr <==\nerr\n", "x".repeat(2_000_000));
    assert!(shown == whole, "{} bytes", shown.len());
    let lines = objects(&place, &["logs", "it", "-n", "1", "--stdout"]);
    assert_eq!((lines.len(), lines[0]["text"].as_str().unwrap().len()), (1, 2_000_000));
}

#[test]
fn lines_are_objects_in_json() {
    let place = Place::new();
    let script = r#"printf 'a "b"\n\303(\nlast'; echo err >&2"#;
    place.run_script(&["--name", "it"], script).succeeded();
    let lines = objects(&place, &["logs", "it"]);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap();
            (text("name"), text("output"), text("text"), line["is_complete"].as_bool().unwrap())
        })
        .collect();
    let expected = [
        ("it", "stdout", "a \"b\"", true),
        ("it", "stdout", "\u{fffd}(", true),
        ("it", "stdout", "last", false),
        ("it", "stderr", "err", true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(lines[0]["instance"], 0);
    assert_eq!(lines[0]["process_id"], place.json(&["show", "it"])["handle"]["id"]);
    let text = place.run(&["--format", "jsonl", "logs", "it", "--stdout"]).succeeded().stdout;
    let parsed: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, lines[..3]);
    assert_eq!(place.run(&["--format", "json", "logs", "it", "-n", "0"]).succeeded().stdout, "[]\n");
    let following = Following::start(&place, &["--format", "json", "logs", "it", "-f"]);
    wait_until("they are followed", || following.printed().contains("last").then_some(()));
    let all_are_objects =
        |text: &str| text.lines().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object());
    assert!(all_are_objects(&following.printed()), "{}", following.printed());
}

#[test]
fn a_log_that_is_not_there_yet_or_is_cut_short_is_followed() {
    let place = Place::new();
    let script = "echo before; while [ ! -e cut ]; do sleep 0.01; done; echo after; \
                  while [ ! -e go ]; do sleep 0.01; done; echo late >&2; while :; do sleep 0.01; done";
    let _running = place.start_script(&["--name", "it"], script);
    wait_until("it writes", || place.run(&["logs", "it"]).stdout.contains("before").then_some(()));
    let following = Following::start(&place, &["logs", "it", "-f"]);
    wait_until("it is followed", || following.printed().contains("before").then_some(()));
    let log = place.ledger().join("logs/it-0/stdout.log");
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    fs::write(place.path("cut"), "").unwrap();
    wait_until("it is followed from its new beginning", || following.printed().contains("after").then_some(()));
    fs::write(place.path("go"), "").unwrap();
    wait_until("the other one is followed once it is there", || following.printed().contains("late").then_some(()));
    assert_eq!(following.printed().matches("before").count(), 1);
}

const IN_TURN: &str = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";

fn in_turn() -> String {
    (0..200).map(|number| format!("out {number}\nerr {number}\n")).collect()
}

#[test]
fn two_outputs_that_are_one_file_keep_the_order_of_their_lines() {
    let place = Place::new();
    let file = File::create(place.path("both")).unwrap();
    let mut command = place.command(&["run", "--name", "it", "--", "sh", "-c", IN_TURN]);
    let status = command.stdout(file.as_fd().try_clone_to_owned().unwrap()).stderr(file).status().unwrap();
    assert!(status.success());
    assert_eq!(fs::read_to_string(place.path("both")).unwrap(), in_turn());
    assert_eq!(place.run(&["logs", "it", "-n", "all"]).succeeded().stdout, in_turn());
    // And a pipe.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = place.command(&["run", "--name", "it", "--", "sh", "-c", IN_TURN]);
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, in_turn());
}

#[test]
fn two_outputs_are_one_when_that_is_asked_for_and_only_then() {
    let place = Place::new();
    let outcome = place.run(&["run", "--merge", "always", "--", "sh", "-c", IN_TURN]).succeeded();
    assert_eq!((outcome.stdout, outcome.stderr), (in_turn(), String::new()));
    let outcome = place.run(&["run", "--name", "apart", "--", "sh", "-c", IN_TURN]).succeeded();
    assert_eq!((outcome.stdout.lines().count(), outcome.stderr.lines().count()), (200, 200));
    let null = || Stdio::from(File::options().write(true).open("/dev/null").unwrap());
    let mut command = place.command(&["run", "--name", "null", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert!(command.stdout(null()).stderr(null()).status().unwrap().success());
    assert_eq!(place.run(&["logs", "null", "--stderr"]).succeeded().stdout, "err\n");
}
