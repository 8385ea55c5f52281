//! Every on-disk version of the ledger, one module each, frozen.
//!
//! A module here is a small reader of its version, written apart from `apm2-ledger` and sharing no code with it. It
//! never changes: it is what a migration to a later version reads from, and until then the second opinion that tests
//! and fuzzing hold the real reader against. Beside it, in `golden/`, is a ledger that was written when the version was
//! the current one, and that every later program must read.
//!
//! There is one version, so there is no migration yet. What reads and writes the current version is `apm2-ledger`.

pub mod v1;

/// Every format version that was ever written, oldest first.
pub const FORMAT_VERSIONS: [u32; 1] = [v1::FORMAT_VERSION];
