//! Measures the memory that a ledger uses after appends of many finished processes.
//!
//! ```text
//! memory fill DIR N    appends the histories of N one-off processes, and closes the ledger
//! memory grow DIR N    does the same, and prints the resident set size before and after, in KiB
//! ```
//!
//! The journal is not synced, because only memory is measured.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{error::Error, fs, fs::File, io, os::unix::fs::FileExt as _, path::Path, process::ExitCode, sync::Arc};

use apm2_core::process::{
    Actor, Clock as _, EventKind, Evidence, Exit, ExitOutcome, NewEvent, ProcessId, ProcessIdentity, ProcessSpec,
    RedactedSpec, StartTrigger, StreamId, SystemClock,
};
use apm2_ledger::{Ledger, Options, journal::storage_backend::StorageBackend};

/// Storage backend without syncs.
struct Unsynced;

impl StorageBackend for Unsynced {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

/// The commits of one run of one process, as a supervisor writes them.
fn commits(id: StreamId, number: usize) -> [Vec<NewEvent>; 3] {
    let spec = ProcessSpec::builder().id(id.process_id).name(format!("job-{number:05}")).command("sh");
    let spec = spec.args(["-c", "cargo test --workspace --all-targets && ./publish --dry-run"]).cwd("/srv/project");
    let draft = |run, kind| {
        let actor = Actor::Operator { uid: 1000, user: Some("operator".to_owned()), terminal: None };
        NewEvent { stream: id, run, actor, reason: None, cause: None, stamp: SystemClock.now(), kind }
    };
    let trigger = StartTrigger::Start;
    let boot_id = uuid::Uuid::from_u128(7);
    let identity = Some(ProcessIdentity { boot_id, pid: 4242, start_ticks: 99, pid_namespace: None });
    let exit = Exit { outcome: ExitOutcome::Code(0), evidence: Evidence::Observed };
    let tail = EventKind::OutputTail { stdout: vec!["done: 12 of 12".to_owned()], stderr: Vec::new() };
    let registered = EventKind::Registered { spec: RedactedSpec::new(&spec.build()) };
    [
        vec![draft(0, registered), draft(1, EventKind::StartRequested { trigger })],
        vec![draft(1, EventKind::Starting { identity, trigger }), draft(1, EventKind::Running)],
        vec![draft(1, EventKind::Stopped { exit }), draft(1, tail)],
    ]
}

fn append(ledger: &Ledger, count: usize) -> Result<(), Box<dyn Error>> {
    for number in 0..count {
        let id = StreamId { process_id: ProcessId::new(), instance: 0 };
        let mut version = 0;
        for drafts in commits(id, number) {
            version += ledger.append(id, version, drafts)?.len() as u64;
        }
    }
    Ok(())
}

/// Resident set size of this process in KiB, from `/proc/self/status` (proc(5)).
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [what, dir, count] = args else { return Err("usage: memory fill DIR N | memory grow DIR N".into()) };
    let ledger = Ledger::open_with(Path::new(dir), &Options { backend: Arc::new(Unsynced), ..Options::default() })?;
    let before = resident_kib()?;
    append(&ledger, count.parse()?)?;
    if *what == "grow" {
        println!("{before} {}", resident_kib()?);
    }
    Ok(ledger.close()?)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
