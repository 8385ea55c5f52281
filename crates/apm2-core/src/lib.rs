//! What a supervised process is, and how one is run.
//!
//! This crate holds the data (specifications, states, events), the rules (one pure transition function, one fold)
//! and the process control of the flight recorder. It knows no storage: whoever drives a
//! [`process::ProcessRunner`] hands it a [`process::Recorder`], and the `apm2-ledger` crate is one.
//!
//! What does not live here: bytes on a disk (`apm2-ledger`) and anything a person reads (`apm2-ledger-cli`).

pub mod adapter;
pub mod blocking;
mod causes;
pub mod credentials;
pub mod duration;
pub mod health;
pub mod log;
pub mod notify;
pub mod process;
pub mod restart;
pub mod shutdown;
pub mod supervisor;

pub use causes::causes;
