//! What the fuzz targets share: how bytes become a history, and a model that says which histories are legal.
//!
//! [`model`] is written apart from `apm2-core`, as tables, so that the two can be held against each other. What a target
//! asserts is in `fuzz_targets/`; which planted faults each has found is in `docs/testing.md`.

pub mod damage;
pub mod model;
pub mod script;
pub mod storage_backend;
pub mod world;
