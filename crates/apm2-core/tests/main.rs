//! Tests of the process module with real processes: one binary, one file per subject.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, in its helpers too"
)]

mod boot;
mod changes;
mod checks;
mod child;
mod contracts;
mod credentials;
mod descriptors;
mod failures;
mod invariants;
mod logs;
mod observe;
mod on_record;
mod output;
mod recording;
mod recovery;
mod seed;
mod slow_disk;
mod stop;
mod supervise;
mod support;
mod wait;
