//! The durable event log of supervised processes.
//!
//! ```text
//! append -> journal (one fdatasync) -> acknowledged -> store (sled), a moment later
//! open   -> the journal decides, the store follows or is rebuilt
//! read   -> store, else journal -> events -> the same fold that made them legal -> handles
//! ```
//!
//! A process that is started, restarted by policy, and read back:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use apm2_core::{
//!     process::{ProcessSpec, ProcessState, Requester, StreamId, SystemClock},
//!     restart::{BackoffConfig, RestartConfig},
//!     supervisor::{LaunchSpec, Services, Supervisor, NoLaunchStore},
//! };
//! use apm2_ledger::{Ledger, Origin};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("ledger");
//! let ledger = Ledger::open(&dir)?;
//! let recording = ledger.clone();
//! let supervisor = Supervisor::new(Services {
//!     recorder: Box::new(move || Box::new(recording.recorder())),
//!     clock: Arc::new(SystemClock),
//!     launches: Arc::new(NoLaunchStore),
//!     place: None,
//!     holder: None,
//!     logs: None,
//!     adapters: Arc::new(|_| None),
//! });
//!
//! let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
//! let restart = RestartConfig { max_restarts: 2, backoff, ..RestartConfig::default() };
//! let spec = ProcessSpec::builder().name("agent").command("sh").args(["-c", "exit 3"]).restart(restart).build();
//! let id = StreamId { process_id: spec.id, instance: 0 };
//! supervisor.apply(LaunchSpec::new(spec), &Requester::default()).await?;
//! supervisor.start(id, &Requester::default()).await?;
//! let live = supervisor.wait(id).await?;
//!
//! let replayed = ledger.reader().replay(u64::MAX, Origin::Genesis)?.streams;
//! let handle = &replayed[&id].handle;
//! println!("{}: {}, restarted {} times", handle.display_name(), handle.state, handle.restart_count);
//! assert_eq!(handle, &live.handle);
//! assert_eq!((&handle.state, handle.restart_count), (&ProcessState::Crashed { exit_code: Some(3) }, 2));
//! # ledger.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! What an event is lives in `apm2-model`, and what a person reads in `apm2-ledger-cli`. Bytes and promises are written
//! down in `docs/format.md`, what happens after a crash in `docs/recovery.md`.

mod access;
mod chain;
mod clean;
mod codec;
mod compare;
mod dir;
mod error;
mod events;
mod feeder;
pub mod file;
mod find;
mod folds;
pub mod frame;
mod head;
mod heads;
mod index;
pub mod journal;
mod key;
mod ledger;
pub mod limits;
mod live;
mod lock;
mod options;
mod packer;
mod pending;
mod queue;
mod reader;
pub mod record;
mod recorder;
mod recovery;
mod replay;
mod report;
mod request;
mod store;
mod verify;
mod writer;

pub use crate::{
    chain::Chain,
    codec::CodecError,
    dir::{LedgerDir, Place, check_private},
    error::{AppendError, Damage, FindError, OpenError, ReadError},
    events::Events,
    head::Head,
    journal::JOURNAL_DIR,
    ledger::Ledger,
    live::Poison,
    lock::Lock as LedgerLock,
    options::Options,
    reader::{Reader, Source},
    recorder::LedgerRecorder,
    replay::{Origin, Replayed},
    report::{FINDINGS_MAX, Finding, FindingKind, StoreCheck, VerifyReport},
    store::error::StoreError,
    verify::verify,
};
