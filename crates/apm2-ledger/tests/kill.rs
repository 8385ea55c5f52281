//! A process is killed with SIGKILL at many different moments: while it appends, while full segments are sealed, and while it
//! migrates a ledger of format 1.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Random, copy_of, private_dir, sealed, segments};

/// Number of kills in a normal test run. `APM2_KILL_ROUNDS` sets another number.
const ROUNDS: u64 = 25;

/// Number of kills of a migration and of a sealing writer in a normal test run.
const SEALING_ROUNDS: u64 = 4;

/// Appends of the ledger that is migrated.
const OLD_APPENDS: u64 = 800;

/// Number of acknowledgements after which a sealing writer is killed, at most.
const ACKS_MAX: u64 = 250;

/// Age of a sealed segment after which its plain file may be removed, with some seconds more.
const PLAIN_KEPT: Duration = Duration::from_secs(310);

/// Path of the example `durability`, which cargo builds together with the tests.
fn durability() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/durability")
}

fn rounds(normally: u64) -> u64 {
    std::env::var("APM2_KILL_ROUNDS").map_or(normally, |text| text.parse().unwrap())
}

fn start(command: &str, dir: &Path) -> Child {
    Command::new(durability()).arg(command).arg(dir).stdout(Stdio::piped()).spawn().unwrap()
}

/// Checks that the ledger is valid, and has the appends up to `acknowledged`.
fn check(dir: &Path, acknowledged: u64, context: &str) {
    let check = Command::new(durability()).arg("check").arg(dir).arg(acknowledged.to_string()).output().unwrap();
    assert!(check.status.success(), "{context}: {}", String::from_utf8_lossy(&check.stdout));
}

/// Kills a writer after `count` acknowledgements. Returns the number of the last one that it printed.
fn kill_after(mut writer: Child, count: u64) -> Option<u64> {
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last = None;
    for line in lines.by_ref().take(usize::try_from(count).unwrap()) {
        last = Some(line.unwrap());
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    last = lines.map(Result::unwrap).last().or(last);
    last.and_then(|line| line.strip_prefix("ACK ")?.parse().ok())
}

/// Random numbers. The tests print the seed; `APM2_KILL_SEED` sets it.
fn random() -> Random {
    let random = || uuid::Uuid::new_v4().as_u64_pair().0;
    Random(std::env::var("APM2_KILL_SEED").map_or_else(|_| random(), |text| text.parse().unwrap()))
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_that_was_acknowledged() {
    let rounds = rounds(ROUNDS);
    let dir = private_dir();
    let mut acknowledged = 0_u64;
    for round in 0..rounds {
        // The number of acknowledged appends before the kill differs in each round. In round 0, the writer is killed
        // while it opens the ledger.
        acknowledged = kill_after(start("write", dir.path()), round * 37 % 211).unwrap_or(acknowledged);
        check(dir.path(), acknowledged, &format!("round {round}"));
    }
    assert!(acknowledged > rounds, "{acknowledged} acknowledged in {rounds} rounds");
}

#[test]
fn a_writer_killed_while_segments_are_sealed_loses_nothing_that_was_acknowledged() {
    let rounds = rounds(SEALING_ROUNDS);
    let mut random = random();
    eprintln!("a writer whose segments are sealed: APM2_KILL_SEED={}", random.0);
    let dir = private_dir();
    let (mut acknowledged, mut unfinished) = (0_u64, 0);
    for round in 0..rounds {
        let count = random.below(ACKS_MAX);
        acknowledged = kill_after(start("seal", dir.path()), count).unwrap_or(acknowledged);
        unfinished += u64::from(dir.path().join("journal/sealing.new").exists());
        check(dir.path(), acknowledged, &format!("round {round}, killed after {count} acknowledgements"));
        // In the next round, the plain files of these segments may be removed.
        for path in sealed(dir.path()) {
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(file.metadata().unwrap().modified().unwrap() - PLAIN_KEPT).unwrap();
        }
    }
    let (sealed, plain) = (sealed(dir.path()).len(), segments(dir.path()).len());
    eprintln!(
        "{rounds} kills, {unfinished} while a sealed segment was written; {acknowledged} appends acknowledged, none \
         lost; {sealed} sealed and {plain} plain segments"
    );
    assert!(sealed > 0 && acknowledged > rounds, "{sealed} sealed, {acknowledged} acknowledged");
}

/// What a killed migration left.
#[derive(Debug, Default)]
struct Left {
    nothing_sealed: u64,
    some_sealed: u64,
    all_sealed: u64,
    some_removed: u64,
    finished: u64,
    unfinished_file: u64,
}

impl Left {
    fn add(&mut self, dir: &Path, before: usize) {
        let (sealed, plain) = (sealed(dir).len(), segments(dir).len());
        let place = match (sealed, plain) {
            (0, _) => &mut self.nothing_sealed,
            (_, 1) => &mut self.finished,
            (sealed, plain) if sealed == before && plain <= before => &mut self.some_removed,
            (sealed, _) if sealed == before => &mut self.all_sealed,
            _ => &mut self.some_sealed,
        };
        *place += 1;
        self.unfinished_file += u64::from(dir.join("journal/sealing.new").exists());
    }
}

/// Sleeps for a random time of a migration, or until a random number of segments was sealed or removed, so that the short
/// steps are met as often as the long ones.
fn wait_for_moment(random: &mut Random, dir: &Path, before: usize, duration: Duration) -> String {
    let began = Instant::now();
    let limit = u64::try_from(before).unwrap();
    let count = usize::try_from(random.below(limit) + 1).unwrap();
    let is_reached: &dyn Fn() -> bool = match random.below(3) {
        0 => &|| sealed(dir).len() >= count,
        1 => &|| segments(dir).len() <= before + 1 - count && sealed(dir).len() == before,
        _ => {
            let delay = Duration::from_micros(random.below(u64::try_from(duration.as_micros()).unwrap()));
            thread::sleep(delay);
            return format!("after {delay:?}");
        }
    };
    while !is_reached() && began.elapsed() < duration * 4 {
        thread::sleep(Duration::from_micros(50));
    }
    format!("after {count} of {before} segments, {:?}", began.elapsed())
}

#[test]
fn a_migration_killed_at_any_moment_loses_nothing_and_is_finished() {
    let rounds = rounds(SEALING_ROUNDS);
    let mut random = random();
    eprintln!("a migration: APM2_KILL_SEED={}", random.0);
    let old = private_dir();
    let written = Command::new(durability()).arg("old").arg(old.path()).arg(OLD_APPENDS.to_string()).status().unwrap();
    assert!(written.success());
    let before = segments(old.path()).len();
    assert!(before >= 20, "{before} segments");
    let whole = copy_of(old.path());
    let began = Instant::now();
    assert!(start("migrate", whole.path()).wait().unwrap().success());
    let duration = began.elapsed();
    let mut left = Left::default();
    for round in 0..rounds {
        let dir = copy_of(old.path());
        let mut migration = start("migrate", dir.path());
        let moment = wait_for_moment(&mut random, dir.path(), before, duration);
        migration.kill().unwrap();
        migration.wait().unwrap();
        left.add(dir.path(), before);
        let context = format!("round {round}, killed {moment}");
        // It is opened and verified, and then migrated to the end.
        check(dir.path(), OLD_APPENDS, &context);
        assert!(start("migrate", dir.path()).wait().unwrap().success(), "{context}");
        check(dir.path(), OLD_APPENDS, &context);
        assert_eq!((sealed(dir.path()).len(), segments(dir.path()).len()), (before, 1), "{context}");
    }
    eprintln!("{rounds} kills of a migration of {before} segments, which takes {duration:?}: {left:?}");
}
