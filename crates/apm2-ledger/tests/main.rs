//! Integration tests of the ledger on a real file system, and with injected I/O errors.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop where it stands; helpers of tests are not known to clippy as such"
)]

mod append;
mod backup;
mod copies;
mod damage;
mod damaged_states;
mod diverged;
mod earlier_reader;
mod embedded;
mod extent;
mod faults;
mod full_disk;
mod hard_links;
mod import;
mod kept_plain;
mod kill;
mod lost;
mod migrate;
mod moved;
mod read;
mod read_only;
mod rebuild;
mod recovery;
mod retain;
mod salvage;
mod sealed;
mod support;
mod tidy;
