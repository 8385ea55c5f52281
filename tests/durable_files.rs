//! Files beside the ledger survive a power cut: what is synced, and in which order, as seen by strace(1).

use std::{
    fs,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
};

use crate::support::{Place, wait_until};

const ECOSYSTEM: &str = r#"
[[process]]
name = "a"
command = "sh"
args = ["-c", "for i in 1 2 3 4 5 6; do head -c 3000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done; exec sleep 1000"]
log = { rotate_bytes = 4000, compress = true }
"#;

/// The number of the first line from `from` on that contains all of `words`.
fn find(trace: &[&str], from: usize, words: &[&str]) -> usize {
    let found = trace.iter().skip(from).position(|line| words.iter().all(|word| line.contains(word)));
    found.map(|line| line + from).unwrap_or_else(|| panic!("{words:?} is not in {trace:#?}"))
}

#[test]
#[ignore = "needs strace(1), and to be allowed to use it"]
fn a_file_is_removed_only_after_its_replacement_is_synced() {
    let place = Place::new();
    let (trace, ledger) = (place.path("trace"), place.ledger());
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    let mut daemon = Command::new("strace")
        // What it starts is let go of when it becomes its program.
        .args(["-f", "--seccomp-bpf", "-b", "execve", "-y", "-e", "trace=fsync,fdatasync,rename,unlink,mkdir", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_apm2-ledger"))
        .arg("--ledger")
        .arg(&ledger)
        .arg("daemon")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A client that finds no socket would start a second daemon, which waits for the lock and serves after the first.
    wait_until("the daemon answers", || UnixStream::connect(ledger.join("daemon.sock")).ok());
    place.run(&["up"]).succeeded();
    let is_compressed = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".gz");
    wait_until("a compressed file", || {
        let entries = fs::read_dir(ledger.join("logs/a-0")).ok()?;
        entries.filter_map(Result::ok).any(is_compressed).then_some(())
    });
    place.stop_daemon();
    daemon.wait().unwrap();
    let trace = fs::read_to_string(trace).unwrap();
    let trace: Vec<&str> = trace.lines().collect();
    let made = find(&trace, 0, &["mkdir(", "/launch\""]);
    let kept = find(&trace, made, &["fsync(", "/ledger>"]);
    find(&trace, kept, &["rename(", ".json\""]);
    let part = find(&trace, 0, &["fsync(", ".00000001.part>"]);
    let renamed = find(&trace, part, &["rename(", ".00000001.part\""]);
    let listed = find(&trace, renamed, &["fsync(", "/logs/a-0>"]);
    find(&trace, listed, &["unlink(", "stdout.log.00000001\""]);
}

#[test]
fn unfinished_files_are_removed() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    place.run(&["up"]).succeeded();
    wait_until("the output", || fs::metadata(place.ledger().join("logs/a-0/stdout.log")).ok());
    place.kill_daemon();
    let leftovers = [
        place.ledger().join("launch/00000000-0000-4000-8000-000000000001.new"),
        place.ledger().join("logs/a-0/stdout.log.00000099.part"),
    ];
    for path in &leftovers {
        fs::write(path, "TOKEN=hunter2").unwrap();
    }
    place.run(&["restart", "a"]).succeeded();
    wait_until("both are gone", || leftovers.iter().all(|path| !path.exists()).then_some(()));
}
