//! What a supervised process is, what happens to it, and what follows from that.
//!
//! Data and pure functions: specifications ([`spec`]), events ([`event`]), the state machine and the folds over events
//! ([`state`]), and the decisions of the supervisor ([`policy`]). No process is started here, no file is read and nothing is
//! waited for; [`clock`] is the one file that reads something from the system.
//!
//! What does not live here: process control (`apm2-core`), storage (`apm2-ledger`), and anything that people read
//! (`apm2-ledger-cli`).

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
