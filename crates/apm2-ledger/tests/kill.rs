//! A writer process is killed with SIGKILL at many different moments, always in the same ledger.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::support::private_dir;

/// Number of kills in a normal test run. `APM2_KILL_ROUNDS` sets another number.
const ROUNDS: u64 = 25;

/// Path of the example `durability`, which cargo builds together with the tests.
fn durability() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/durability")
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_that_was_acknowledged() {
    let rounds = std::env::var("APM2_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let dir = private_dir();
    let mut acknowledged = 0_u64;
    for round in 0..rounds {
        let mut writer =
            Command::new(durability()).arg("write").arg(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        // The number of acknowledged appends before the kill differs in each round. In round 0, the writer is killed
        // while it opens the ledger.
        let patience = round * 37 % 211;
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut last = None;
        for line in lines.by_ref().take(usize::try_from(patience).unwrap()) {
            last = Some(line.unwrap());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        last = lines.map(Result::unwrap).last().or(last);
        if let Some(number) = last.and_then(|line| line.strip_prefix("ACK ")?.parse().ok()) {
            acknowledged = number;
        }
        let check =
            Command::new(durability()).arg("check").arg(dir.path()).arg(acknowledged.to_string()).output().unwrap();
        assert!(check.status.success(), "round {round}: {}", String::from_utf8_lossy(&check.stdout));
    }
    assert!(acknowledged > rounds, "{acknowledged} acknowledged in {rounds} rounds");
}
