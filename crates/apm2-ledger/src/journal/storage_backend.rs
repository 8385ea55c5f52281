//! The two calls that durability rests on, so that a test can make them fail or watch their order.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// Writes and syncs files.
pub trait StorageBackend: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Those of pwrite(2).
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable: fdatasync(2).
    ///
    /// # Errors
    /// Those of fdatasync(2). After one, the file's state is unknown, and it must not be synced again.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl StorageBackend for Disk {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
