//! The command's output is copied completely and unchanged.

use std::io::Read as _;

use crate::support::{Place, wait_until};

#[test]
fn every_byte_passes_through_on_the_output_that_it_was_written_to() {
    let place = Place::new();
    let outcome = place.run_script(&[], r"printf '\377\000\r\033[31m\n'; printf 'no line end' >&2").succeeded();
    assert_eq!(outcome.bytes, b"\xff\0\r\x1b[31m\n");
    assert_eq!(outcome.stderr, "no line end");
}

#[test]
fn a_hundred_megabytes_pass_through_whole() {
    const SIZE: u64 = 100_000_000;
    let place = Place::new();
    let mut running = place.start_script(&["--name", "it"], &format!("head -c {SIZE} /dev/zero"));
    let mut stdout = running.child().stdout.take().unwrap();
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let bytes = stdout.read(&mut buffer).unwrap();
        if bytes == 0 {
            break;
        }
        assert!(buffer[..bytes].iter().all(|byte| *byte == 0));
        total += bytes as u64;
    }
    assert_eq!(total, SIZE);
    running.outcome().succeeded();
    assert_eq!(place.json(&["list", "--all"])[0]["state"], "stopped");
}

#[test]
fn output_comes_as_it_is_written() {
    let place = Place::new();
    let mut running = place.start_script(&[], "echo first; while [ ! -e go ]; do sleep 0.01; done; echo second");
    let mut stdout = running.child().stdout.take().unwrap();
    let mut first = [0; 6];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    std::fs::write(place.path("go"), "").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second\n");
    running.outcome().succeeded();
}

#[test]
fn a_message_follows_the_output_of_its_run() {
    let place = Place::new();
    let options = ["--name", "it", "--restart", "on-failure", "--max-restarts", "1", "--backoff", "1ms"];
    let outcome = place.run_script(&options, "echo said >&2; exit 1").left_with(1);
    let lines: Vec<_> = outcome.stderr.lines().collect();
    for (remark, runs) in [("restart: attempt 1", 1), ("no restart", 2)] {
        let place = lines.iter().position(|line| line.contains(remark)).unwrap();
        let said = lines[..place].iter().filter(|line| **line == "said").count();
        assert!(said >= runs, "{}", outcome.stderr);
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn nothing_is_said_as_long_as_all_goes_well() {
    let place = Place::new();
    let outcome = place.run_script(&[], "true").succeeded();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    place.run_script(&["-v", "--name", "it"], "true").succeeded().said(&[
        "recording it in",
        "it: ",
        "stopped: exit code 0",
    ]);
}

#[test]
fn a_stop_does_not_wait_for_an_output_that_is_not_read() {
    let place = Place::new();
    let running = place.start_script(&["--name", "it"], "touch ready; yes");
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
    // The pipe fills up, since it is not read until the supervisor has exited.
    let pid = running.pid();
    running.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("the supervisor leaves", || crate::support::gone(pid).then_some(()));
    running.outcome().left_with(143);
    assert_eq!(place.json(&["list", "--all"])[0]["state"], "stopped");
}
