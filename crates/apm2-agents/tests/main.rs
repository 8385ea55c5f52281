//! Reads captured runs of the real agents, and lines that no agent prints: one binary, one file per subject.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed, in its helpers too"
)]

mod captured;
mod contents;
mod ends;
mod kinds;
mod on_record;
mod robust;
mod support;
mod throughput;
mod tools;
