//! A closed pipe on standard output or standard error.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::support::{Place, Running};

#[test]
fn a_command_whose_reader_has_gone_runs_on_and_is_recorded() {
    let place = Place::new();
    let mut running = place.start_script(&["--name", "it"], "echo first; seq 1 200000; touch done; exit 3");
    let mut stdout = BufReader::new(running.child().stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    running.outcome().left_with(3);
    assert!(place.path("done").exists());
    assert_eq!(place.json(&["list", "--all"])[0]["exit_code"], 3);
}

#[test]
fn a_list_whose_reader_has_gone_ends_quietly() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    for args in
        [&["list", "--all"][..], &["show", "it"], &["replay", "--from-snapshot"], &["verify"], &["completions", "bash"]]
    {
        for format in ["table", "json", "jsonl"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let args: Vec<_> = ["--format", format].iter().chain(args).copied().collect();
            let child = place.command(&args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true), "{args:?}: {output:?}");
        }
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = place.command(&["list", "--all"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output"), "{output:?}");
}

#[test]
fn a_full_disk_behind_run_is_said_and_the_command_recorded() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["run", "--name", "it", "--", "sh", "-c", "echo lost; echo lost again; exit 6"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("stdout is lost").count(), 1, "{said}");
    assert_eq!(place.json(&["list", "--all"])[0]["exit_code"], 6);
}

#[test]
fn a_running_supervisor_is_gone_with_its_test() {
    let place = Place::new();
    let running: Running = place.start_script(&[], "while :; do sleep 0.01; done");
    let pid = running.pid();
    drop(running);
    assert!(crate::support::gone(pid));
}
