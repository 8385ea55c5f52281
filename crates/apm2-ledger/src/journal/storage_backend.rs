//! The write and sync calls that make commits durable. Tests replace them to inject errors or to record the order of
//! the calls.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// Writes and syncs files of the journal.
pub trait StorageBackend: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The errors of pwrite(2).
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the written data of `file` durable with fdatasync(2).
    ///
    /// # Errors
    /// The errors of fdatasync(2). After an error, the state of the file on the disk is unknown, and the file must not
    /// be synced again.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The real storage backend: pwrite(2) and fdatasync(2).
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
