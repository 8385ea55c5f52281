//! Frozen readers for every on-disk format version of the ledger, one module for each version.
//!
//! Each module is a small reader that shares no code with `apm2-ledger` and is never changed. A migration to a later
//! version reads the old format with it. Tests and fuzz targets compare it with the reader in `apm2-ledger`. The
//! directory `golden/` contains a ledger that was written when the version was current. Every later program must be
//! able to read this ledger.
//!
//! So far there is only one version and no migration. The crate `apm2-ledger` reads and writes the current version.

pub mod v1;

/// Every format version that was ever written, oldest first.
pub const FORMAT_VERSIONS: [u32; 1] = [v1::FORMAT_VERSION];
