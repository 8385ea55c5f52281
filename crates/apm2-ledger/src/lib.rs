//! The durable event log of supervised processes.
//!
//! ```text
//! append -> journal (one fdatasync) -> acknowledged -> store (sled), a moment later
//! open   -> the journal decides, the store follows or is rebuilt
//! read   -> store, else journal -> events -> the same fold that made them legal -> handles
//! ```
//!
//! What an event is lives in `apm2-core`, and what a person reads in `apm2-ledger-cli`. Bytes and promises are written
//! down in `docs/format.md`, what happens after a crash in `docs/recovery.md`.

mod chain;
mod clean;
mod codec;
mod dir;
mod error;
mod events;
mod feeder;
mod find;
pub mod frame;
mod index;
pub mod journal;
mod key;
mod ledger;
pub mod limits;
mod live;
mod packer;
mod reader;
pub mod record;
mod recorder;
mod recovery;
mod replay;
mod store;
mod verify;
mod writer;

pub use self::{
    chain::Chain,
    codec::CodecError,
    error::{AppendError, Damage, FindError, OpenError, ReadError},
    events::Events,
    ledger::{Ledger, Options},
    live::Head,
    reader::{ReadAccess, Reader, Source},
    recorder::LedgerRecorder,
    replay::{Origin, Replayed},
    store::StoreError,
    verify::{FINDINGS_MAX, Finding, FindingKind, StoreCheck, VerifyReport, verify},
};
