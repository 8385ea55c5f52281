//! The durable event log of supervised processes.
//!
//! ```text
//! append: events -> journal (one fdatasync) -> acknowledgement -> store (sled)
//! open:   journal -> check of the store -> missing events added to the store, or store rebuilt
//! read:   store, or the journal without a store -> events -> stream states -> process handles
//! ```
//!
//! The journal is the record. The store is an index of the journal, and is filled by a second thread after the
//! acknowledgement. The state of a stream is replayed from its events by the same code that checks an event before it
//! is appended.
//!
//! Example with a supervisor: it starts a process, restarts it by its policy, and replays its state from the ledger.
//!
//! ```
//! use std::time::Duration;
//! use apm2_core::{
//!     process::{ProcessSpec, ProcessState},
//!     restart::{BackoffConfig, RestartConfig},
//!     supervisor::Supervisor,
//! };
//! use apm2_ledger::{Ledger, Origin};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("ledger");
//! let ledger = Ledger::open(&dir)?;
//! let (supervisor, _) = Supervisor::builder(ledger.clone()).recover().await?;
//!
//! let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
//! let restart = RestartConfig { max_restarts: 2, backoff, ..RestartConfig::default() };
//! let spec = ProcessSpec::builder().name("agent").command("sh").args(["-c", "exit 3"]).restart(restart).build();
//! let agent = supervisor.supervise(spec).await?;
//! let mut events = agent.events();
//! agent.start().await?;
//! let first = events.next().await?.ok_or("the supervisor is gone")?;
//! assert_eq!(first.kind.name(), "start_requested");
//! let live = agent.wait().await?.remove(0);
//!
//! let replayed = ledger.reader().replay(u64::MAX, Origin::Genesis)?.streams;
//! let handle = &replayed[&live.id].handle;
//! println!("{}: {}, restarted {} times", handle.display_name(), handle.state, handle.restart_count);
//! assert_eq!(handle, &live.handle);
//! assert_eq!((&handle.state, handle.restart_count), (&ProcessState::Crashed { exit_code: Some(3) }, 2));
//! # ledger.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Example without a supervisor and without an async runtime: a program starts a child process and records its events.
//!
//! ```
//! use std::process::Command;
//! use apm2_ledger::{Ledger, verify};
//! use apm2_model::{
//!     clock::{SystemClock, boot_id},
//!     event::{
//!         NewEvent,
//!         actor::Actor,
//!         exit::{Evidence, Exit, ExitOutcome, RunEnd},
//!         identity::ProcessIdentity,
//!         kind::{EventKind, StartTrigger},
//!         stream_id::StreamId,
//!         timestamp::Clock,
//!     },
//!     spec::{ProcessSpec, redact::spec::RedactedSpec},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("ledger");
//! let spec = ProcessSpec::builder().name("build").command("sh").args(["-c", "exit 3"]).build();
//! let stream = StreamId { process_id: spec.id, instance: 0 };
//! let event = |run, kind| {
//!     let (actor, stamp) = (Actor::System, SystemClock.now());
//!     NewEvent { stream, run, actor, reason: None, cause: None, stamp, kind }
//! };
//! let ledger = Ledger::open(&dir)?;
//! // The events that announce the start are durable before the process runs.
//! let trigger = StartTrigger::Start;
//! let intent = vec![
//!     event(0, EventKind::Registered { spec: RedactedSpec::new(&spec) }),
//!     event(1, EventKind::StartRequested { trigger }),
//! ];
//! ledger.append(stream, 0, intent)?;
//! let mut child = Command::new(&spec.command).args(&spec.args).spawn()?;
//! let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
//! let start_ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).ok_or("no start time")?;
//! let (boot_id, pid, start_ticks) = (boot_id(), child.id(), start_ticks.parse()?);
//! let identity = Some(ProcessIdentity { boot_id, pid, start_ticks, pid_namespace: None });
//! let started = vec![event(1, EventKind::Starting { identity, trigger }), event(1, EventKind::Running)];
//! ledger.append(stream, 2, started)?;
//! let outcome = child.wait()?.code().map_or(ExitOutcome::Unknown, ExitOutcome::Code);
//! let exit = Exit { outcome, evidence: Evidence::Observed };
//! ledger.append(stream, 4, vec![event(1, EventKind::Crashed { cause: RunEnd::Exit(exit) })])?;
//! println!("{}", ledger.reader().stream(stream)?.ok_or("the stream has no events")?.handle.state);
//! ledger.close()?;
//! assert!(verify(&dir, &mut |_| {})?.findings.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! The crate `apm2-model` defines the events, and the crate `apm2-ledger-cli` prints them. `docs/format.md` specifies
//! the files of a ledger and the guarantees of durability and compatibility. `docs/recovery.md` specifies how a ledger
//! is recovered after a crash.

mod append;
mod backup;
mod chain;
mod codec;
mod dir;
mod disk_usage;
mod error;
pub mod file;
pub mod frame;
mod free_space;
mod head;
mod import;
pub mod journal;
mod ledger;
pub mod limits;
mod lock;
mod migrate;
mod new_ledger;
mod options;
mod read;
mod rebuild;
pub mod record;
mod recovery;
mod restore;
mod retain;
mod salvage;
mod segment_repair;
mod sha256;
mod shared_state;
mod staged_dir;
mod store;
mod stream_map;
mod verify;

pub use crate::{
    append::{recorder::LedgerRecorder, segment_sealer::SegmentSealError},
    backup::{BackupReport, CopyProgress, backup, backup_plan, error::BackupError},
    chain::{Chain, leaf},
    codec::CodecError,
    dir::{LedgerDir, Place, check_private},
    disk_usage::{DiskUsage, allocated_bytes, disk_usage},
    error::{AppendError, Damage, FindError, OpenError, ReadError},
    head::Head,
    import::{ImportError, Importer},
    journal::{JOURNAL_DIR, sealed::kind_set::KindSet},
    ledger::Ledger,
    lock::Lock as LedgerLock,
    migrate::{
        Migrated, MigrationProgress,
        error::MigrateError,
        migrate,
        plan::{MigrationPlan, migration_plan},
    },
    options::Options,
    read::{
        archived::MissingArchive,
        cancel::Cancel,
        events::Events,
        query::{Direction, EventQuery},
        read_ledger::{EventsQuestion, Found, LedgerHead, ReadLedger, StatesQuestion, StreamAt},
        reader::{Reader, Source},
        replay::{Origin, Replayed},
    },
    rebuild::{RebuildError, RebuildPlan, RebuildProgress, Rebuilt, rebuild, rebuild_plan},
    recovery::ExpectedLedger,
    restore::{RestoreProgress, RestoreReport, error::RestoreError, restore, restore_plan},
    retain::{
        RetainProgress, Retained,
        archive_files::{ArchiveFile, archive_files, remove_archive},
        error::RetainError,
        files::ProcessFile,
        is_retention_due, retain, retain_plan,
    },
    salvage::{
        REPORT_FILE as SALVAGE_REPORT_FILE, SalvageForm, SalvageProgress, UNPLACED_FILE as SALVAGE_UNPLACED_FILE,
        UnplacedEvent,
        error::SalvageError,
        evidence::SearchProgress,
        report::{Gap, Placed, SalvageReport, SalvagedPart, UnplacedEvents, UnplacedReason, UnusedFile},
        salvage, salvage_plan,
        source_file::SourceKind,
    },
    segment_repair::SegmentRepair,
    shared_state::Poison,
    staged_dir::StagedDirError,
    store::error::StoreError,
    verify::{
        report::{FINDINGS_MAX, Finding, FindingKind, StoreCheck, VerifyReport},
        verify,
    },
};

/// Runs the Rust examples of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
