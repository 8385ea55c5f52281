//! Frozen readers for every on-disk format version of the ledger, one module for each version.
//!
//! Each module is a small reader that shares no code with `apm2-ledger` and is never changed. Tests and fuzz targets compare it with the reader in `apm2-ledger`. The
//! directory `golden/` contains a ledger that was written when the version was current. Every later program must be
//! able to read this ledger.
//!
//! The crate `apm2-ledger` reads all versions, writes the current one, and migrates ledgers of earlier ones.

pub mod v1;
pub mod v2;

/// Every format version that was ever written, oldest first.
pub const FORMAT_VERSIONS: [u32; 2] = [v1::FORMAT_VERSION, v2::FORMAT_VERSION];
