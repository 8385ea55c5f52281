//! Tests of the attributes that a child inherits. A child must inherit as few attributes as possible.

use std::collections::HashMap;

use apm2_core::process::ProcessRunner;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::support::{Lines, in_time, sh, sh_builder};

async fn output_of(spec: apm2_core::process::ProcessSpec) -> String {
    let mut runner = ProcessRunner::new(spec, 0);
    let mut chunks = runner.subscribe_output();
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    let mut bytes = Vec::new();
    while let Ok(chunk) = chunks.try_recv() {
        bytes.extend(chunk.bytes);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn it_leads_its_own_session_and_group() {
    let mut runner = ProcessRunner::new(sh("cat /proc/$$/stat"), 0);
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pid = runner.handle().pid;
    let stat = lines.next().await;
    in_time(runner.wait()).await.unwrap();
    let fields: Vec<u32> =
        stat.rsplit_once(") ").unwrap().1.split(' ').skip(2).take(2).map(|f| f.parse().unwrap()).collect();
    let own: u32 = stat.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(fields, [own, own], "its group and its session");
    assert!(pid.is_none_or(|pid| pid == own));
}

/// Other tests open descriptors at the same time; a leak of any one fails this test.
#[tokio::test]
async fn it_has_no_descriptor_but_three() {
    // The descriptor is not close-on-exec on purpose, like a descriptor that a careless library opens.
    let careless = std::fs::File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&careless, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    // Descriptor 3 is the directory that `ls` itself has opened.
    let listed = output_of(sh("exec ls /proc/self/fd")).await;
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn it_ignores_and_blocks_no_signal() {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    let mut before = SigSet::empty();
    // The signal mask belongs to this thread, and the runtime of this test has no other one.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before)).unwrap();
    // Rust itself ignores SIGPIPE, which would be inherited.
    let status = output_of(sh("exec cat /proc/self/status")).await;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).unwrap();
    for field in ["SigIgn:", "SigBlk:"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        assert_eq!(line.trim_start_matches(field).trim(), "0000000000000000", "{line}");
    }
}

#[tokio::test]
async fn its_environment_is_the_allowed_part_of_ours_and_its_own() {
    let text = output_of(sh_builder("exec env").env("MINE", "1").env("HOME", "/elsewhere").build()).await;
    let variables: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(variables.get("MINE"), Some(&"1"));
    assert_eq!(variables.get("HOME"), Some(&"/elsewhere"));
    assert!(variables.contains_key("PATH") && variables.contains_key("APM2_RUN"));
    // Cargo sets this variable for its tests. The variable is not in the list of inherited variables.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!variables.contains_key("CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn it_starts_in_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let text = output_of(sh_builder("pwd -P").cwd(directory.path()).build()).await;
    assert_eq!(text.trim_end(), directory.path().canonicalize().unwrap().display().to_string());
}
