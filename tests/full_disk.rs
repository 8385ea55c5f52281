//! A full disk below the log files: the process is not blocked, and lost output is recorded.

use std::{fs, path::Path, process::Command};

use crate::support::{Place, wait_until};

/// A small tmpfs that is unmounted when the test ends, however it ends.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Self {
        fs::create_dir(path).unwrap();
        let options = format!("size={size},mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        assert!(status.unwrap().success(), "mount needs root");
        Self(path)
    }
}

/// Fills the disk of `dir` up to about this many free bytes.
fn fill(dir: &Path, left: u64) {
    let stat = nix::sys::statvfs::statvfs(dir).unwrap();
    let taken = (stat.blocks_available() * stat.fragment_size()).saturating_sub(left);
    fs::write(dir.join("filler"), vec![1; usize::try_from(taken).unwrap()]).unwrap();
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0).status().ok();
    }
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn on_a_full_disk_a_process_runs_on_and_what_is_lost_is_counted() {
    let place = Place::new();
    let path = place.path("small");
    let _disk = SmallDisk::mount(&path, "1m");
    // First output that fills the disk, then output that is lost, then, with free space again, output that is stored.
    let script = "head -c 2000000 /dev/zero; : > full; until [ -e room ]; do sleep 0.01; done; echo kept; : > done; \
                  exec sleep 1000";
    let text = format!(
        "[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\nlog = {{ stdout = 'small/out.log' }}\n"
    );
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]).succeeded();
    wait_until("it has written and does not wait", || place.path("full").exists().then_some(()));
    wait_until("the loss is on record", || place.types("it").contains(&"output_dropped".to_owned()).then_some(()));
    let dropped = place.events("it").into_iter().find(|event| event["type"] == "output_dropped").unwrap();
    assert!(dropped["problem"].as_str().unwrap().contains("No space left"), "{dropped}");
    let in_file = fs::metadata(path.join("out.log")).unwrap().len();
    fs::remove_file(path.join("out.log")).unwrap();
    let wanted = || {
        // The next attempt follows shortly.
        fs::write(place.path("room"), "").unwrap();
        place.path("done").exists().then_some(())
    };
    wait_until("there is room again", wanted);
    place.run(&["stop", "it"]).succeeded();
    let events = place.events("it");
    let lost: u64 = events
        .iter()
        .filter(|event| event["type"] == "output_dropped")
        .map(|event| event["bytes"].as_u64().unwrap())
        .sum();
    let kept = fs::read(path.join("out.log")).map_or(0, |bytes| bytes.len());
    assert_eq!(in_file + lost + u64::try_from(kept).unwrap(), 2_000_005, "each byte is kept or counted");
    assert_eq!(place.json(&["verify"])["ok"], true);
}

/// Stops the daemon of a place whose file system is about to be unmounted.
struct Daemon<'a>(&'a Place);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.0.run(&["daemon", "--stop"]);
    }
}

/// Free space in bytes that is too little for a start, and enough for everything else.
const LITTLE: u64 = 8 << 20;

#[test]
#[ignore = "needs root, to mount a small file system"]
fn on_a_full_disk_nothing_is_stopped_that_could_not_be_started_again() {
    let place = Place::new();
    let ledger = place.ledger();
    let _disk = SmallDisk::mount(&ledger, "96m");
    let daemon = Daemon(&place);
    let write = |seconds: u32| {
        let text = format!("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['{seconds}']\n");
        fs::write(place.path("ecosystem.toml"), text).unwrap();
    };
    write(1000);
    place.run(&["up"]).succeeded();
    let pid = place.pid_of("it");
    fill(&ledger, LITTLE);
    write(2000);
    for command in [&["restart", "it"][..], &["up"]] {
        let refused = place.run(command);
        assert_ne!(refused.code, 0, "{command:?}");
        assert!(refused.stderr.contains("free"), "{refused:?}");
        assert_eq!(place.pid_of("it"), pid, "{command:?}");
    }
    fs::remove_file(ledger.join("filler")).unwrap();
    place.run(&["up"]).succeeded();
    assert_ne!(place.pid_of("it"), pid);
    drop(daemon);
    assert_eq!(place.json(&["verify"])["ok"], true);
}
