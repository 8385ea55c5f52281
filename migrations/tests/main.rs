//! The golden files of every format version, read by the program as it is now and by the frozen reader.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, in its helpers too")]

mod frozen;
mod golden;
mod records;
mod sample;
mod v1;
