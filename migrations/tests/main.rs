//! Reads the golden files of every format version with the current program and with the frozen reader.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, in its helpers too")]

mod frozen;
mod golden;
mod records;
mod sample;
mod v1;
mod v2;
