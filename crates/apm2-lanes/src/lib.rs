//! Lanes: what each process did over a period, to be drawn or listed.
//!
//! [`LanesFold`](fold::LanesFold) reads the states at the beginning of a period and then the events of the period, in the
//! order of the ledger. It gives [`Lanes`](lanes::Lanes): for each process, its states and marks (ends, restarts, refusals and others)
//! in equal parts of the period ([`Grid`](grid::Grid)); when no supervisor ran; how many processes were alive; and the figures of
//! [`Summary`](summary::Summary). The size of the result depends on the number of processes and of parts, not on that of events.
//!
//! Data and pure functions: nothing here reads a file or a clock, and nothing is drawn.

pub mod actions;
pub mod alive;
pub mod fold;
pub mod grid;
pub mod lane_state;
pub mod lanes;
pub mod mark;
pub mod outage;
pub mod requests;
pub mod segment;
pub mod span;
pub mod summary;
pub mod watch;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
