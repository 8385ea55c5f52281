//! The free space of a file system.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Bytes that this user may still write to the file system of `path`; `None` when statvfs(3) fails.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = statvfs(path).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}
