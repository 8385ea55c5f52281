//! Storage backend with injected I/O errors and without real syncs.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Mutex, PoisonError},
};

use apm2_ledger::journal::storage_backend::StorageBackend;
use arbitrary::Arbitrary;

/// Size of a disk sector in bytes. A write stores a sector completely or not at all.
pub const SECTOR_LEN: usize = 512;

/// How the next write fails.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Failure {
    /// The write stores only some sectors and returns an error. Bit `n` selects sector `n`; the last bit also selects
    /// all further sectors.
    Write(u8),
    /// The write succeeds, and the sync returns an error.
    Sync,
}

/// Storage backend that writes to the file system without syncs. The fuzz targets simulate no power failure, so no sync
/// is needed.
#[derive(Debug, Default)]
pub struct FlakyDisk {
    planned: Mutex<Option<Failure>>,
}

impl FlakyDisk {
    /// Sets how the following writes fail. `None` lets them succeed.
    pub fn plan(&self, failure: Option<Failure>) {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn planned(&self) -> Option<Failure> {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed() -> io::Error {
    io::Error::other("planned failure")
}

impl StorageBackend for FlakyDisk {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(Failure::Write(sectors)) = self.planned() else { return file.write_all_at(bytes, offset) };
        let to_boundary = SECTOR_LEN - usize::try_from(offset).map_err(io::Error::other)? % SECTOR_LEN;
        let (head, rest) = bytes.split_at(to_boundary.min(bytes.len()));
        let mut at = offset;
        for (part, number) in std::iter::once(head).chain(rest.chunks(SECTOR_LEN)).zip(0_u32..) {
            if sectors >> number.min(u8::BITS - 1) & 1 == 1 {
                file.write_all_at(part, at)?;
            }
            at += part.len() as u64;
        }
        Err(failed())
    }

    fn sync_data(&self, _file: &File) -> io::Result<()> {
        if self.planned().is_some() { Err(failed()) } else { Ok(()) }
    }
}
