//! Common code of the fuzz targets: events from arbitrary bytes, and a model of the valid event sequences.
//!
//! [`model`] is written as tables, independently of `apm2-core`, so that the two implementations can be compared. The
//! checks of each target are described in `fuzz_targets/`. The injected bugs that each target has found are listed in
//! `docs/testing.md`.

pub mod damage;
pub mod model;
pub mod script;
pub mod storage_backend;
pub mod world;
