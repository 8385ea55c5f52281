//! The model of a supervised process: its specification, its events, its state, and the policies of its supervisor.
//!
//! The crate holds data and pure functions: specifications ([`spec`]), events ([`event`]), the state machine and the
//! folds over events (state that is computed by replaying events, [`state`]), and the decisions of the supervisor
//! ([`policy`]). This crate starts no process, reads no file and does not block; [`clock`] alone reads from the system.
//!
//! The back-off ([`spec::config::restart`], [`policy::restart`]) and the secret filter ([`spec::redact`]) are
//! implemented here instead of taken from a crate; the heads of these files give the reasons.
//!
//! Other crates hold process control (`apm2-core`), storage (`apm2-ledger`) and presentation (`apm2-ledger-cli`).

pub mod causes;
pub mod clock;
pub mod duration;
pub mod event;
pub mod id_query;
pub mod policy;
pub mod recorder;
pub mod signal;
pub mod spec;
pub mod state;
#[cfg(test)]
mod testing;
