//! Standard input of a command: ours for the first run, a file at each start, else `/dev/null`.

use std::{
    fs::{self, File},
    io::Write as _,
    process::{Command, Stdio},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::{Outcome, Place, finish, wait_until};

/// `run` with this standard input.
fn run_with(place: &Place, stdin: Stdio, options: &[&str], script: &str) -> Outcome {
    let args: Vec<_> =
        ["run", "--name", "it"].iter().chain(options).chain(&["--", "sh", "-c", script]).copied().collect();
    let mut command = place.command(&args);
    command.stdin(stdin);
    finish(&mut command)
}

#[test]
fn a_pipe_is_read_to_its_end() {
    let place = Place::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let writing = std::thread::spawn(move || {
        let piece = [b'x'; 1000];
        (0..5000).for_each(|_| writer.write_all(&piece).unwrap());
    });
    let outcome = run_with(&place, reader.into(), &[], "wc -c").succeeded();
    writing.join().unwrap();
    assert_eq!(outcome.stdout.trim(), "5000000");
    let recorded = place.run(&["--format", "json", "show", "it"]).succeeded().stdout;
    assert!(!recorded.contains("xxxx"), "what is read is not recorded");
}

#[test]
fn a_file_is_read_from_where_it_stands() {
    let place = Place::new();
    fs::write(place.path("prompt.md"), "What is 2+2?\n").unwrap();
    let file = File::open(place.path("prompt.md")).unwrap();
    assert_eq!(run_with(&place, file.into(), &[], "cat").succeeded().stdout, "What is 2+2?\n");
}

#[test]
fn a_device_is_not_passed_on() {
    let place = Place::new();
    let zero = File::open("/dev/zero").unwrap();
    assert_eq!(run_with(&place, zero.into(), &[], "cat; readlink /proc/self/fd/0").succeeded().stdout, "/dev/null\n");
}

#[test]
fn a_restart_reads_nothing() {
    let place = Place::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"once\n").unwrap();
    drop(writer);
    let options = ["--restart", "on-failure", "--max-restarts", "2", "--backoff", "1ms"];
    let outcome = run_with(&place, reader.into(), &options, "cat; echo end; exit 1").left_with(1);
    assert_eq!(outcome.stdout, "once\nend\nend\nend\n");
}

#[test]
fn a_writer_notices_that_the_command_has_ended() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_apm2-ledger");
    let pipeline =
        format!("yes | {program} run --restart on-failure --backoff 1h -- sh -c 'head -n 1; exec <&-; exit 0'");
    let mut command = Command::new("sh");
    command.args(["-c", &pipeline]).env("APM2_LEDGER_DIR", place.ledger()).current_dir(place.path("."));
    assert_eq!(finish(&mut command).succeeded().stdout, "y\n");
}

/// Brings up `it`, which reads `stdin`.
fn up(place: &Place, stdin: &str, script: &str, more: &str) -> Outcome {
    let text =
        format!("[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\nstdin = '{stdin}'\n{more}\n");
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"])
}

#[test]
fn a_file_of_the_specification_is_opened_at_each_start() {
    let place = Place::new();
    fs::write(place.path("input"), "first\n").unwrap();
    up(&place, "input", "cat; exec sleep 1000", "").succeeded();
    let logs = || place.run(&["logs", "it", "--stdout"]).succeeded().stdout;
    wait_until("it is read", || (logs() == "first\n").then_some(()));
    fs::write(place.path("input"), "second\n").unwrap();
    place.run(&["restart", "it"]).succeeded();
    wait_until("it is read again", || (logs() == "first\nsecond\n").then_some(()));
}

#[test]
fn a_named_pipe_is_waited_at_and_has_no_end() {
    let place = Place::new();
    mkfifo(&place.path("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    // The FIFO has no writer; the process starts all the same.
    up(&place, "pipe", "while read -r line; do echo got $line; done", "").succeeded();
    for number in 0..2 {
        let mut pipe = File::options().write(true).open(place.path("pipe")).unwrap();
        writeln!(pipe, "{number}").unwrap();
        drop(pipe);
        let got = format!("got {number}\n");
        wait_until("it is read", || place.run(&["logs", "it"]).succeeded().stdout.contains(&got).then_some(()));
    }
    assert_eq!(place.json(&["list"])[0]["state"], "running");
}

#[test]
fn what_cannot_be_opened_is_a_failed_start() {
    for (stdin, why) in [("missing", "No such file or directory"), (".", "Is a directory")] {
        let place = Place::new();
        up(&place, stdin, "cat", "restart = { policy = 'never' }").left_with(1);
        let events = place.events("it");
        let crashed = events.iter().find(|event| event["type"] == "crashed").unwrap();
        let text = crashed.to_string();
        assert!(text.contains("\"stdin\"") && text.contains(why), "{text}");
    }
}
