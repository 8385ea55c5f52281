//! Reads a file of a damaged ledger, also one with sectors that cannot be read.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use crate::file;

/// Bytes that are read at once. A piece of the journal or of the store is shorter.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that are read alone after a failed read. Those that fail again are replaced by zeros.
const SECTOR_BYTES: usize = 4096;

/// An open regular file, of which one window is in memory.
pub(crate) struct FileBytes {
    file: File,
    len: u64,
    /// Where the window begins.
    start: u64,
    window: Vec<u8>,
    first_error: Option<io::Error>,
}

impl FileBytes {
    /// Opens the file for reading.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = file::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len, start: 0, window: Vec::new(), first_error: None })
    }

    /// The length of the file.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// The first error of a read. Zeros stand in the place of the bytes that could not be read.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.first_error.take()
    }

    /// At least `count` bytes from `offset` on, as many as the window has; fewer at the end of the file.
    pub(crate) fn at(&mut self, offset: u64, count: usize) -> &[u8] {
        let end = offset.saturating_add(count as u64).min(self.len);
        if offset < self.start || end > self.start.saturating_add(self.window.len() as u64) {
            self.fill(offset, count.max(WINDOW_BYTES));
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.window.get(from..).unwrap_or_default()
    }

    /// Whether the file has these bytes somewhere.
    pub(crate) fn contains(&mut self, wanted: &[u8]) -> bool {
        let mut offset = 0;
        while offset < self.len {
            let window = self.at(offset, wanted.len());
            if window.windows(wanted.len()).any(|found| found == wanted) {
                return true;
            }
            offset = offset.saturating_add((window.len() as u64).saturating_sub(wanted.len() as u64).max(1));
        }
        false
    }

    fn fill(&mut self, offset: u64, count: usize) {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.start = offset;
        self.window.clear();
        self.window.resize(count.min(left), 0);
        if let Err(error) = self.file.read_exact_at(&mut self.window, offset) {
            self.first_error.get_or_insert(error);
            for (number, sector) in self.window.chunks_mut(SECTOR_BYTES).enumerate() {
                let at = offset.saturating_add((number * SECTOR_BYTES) as u64);
                if self.file.read_exact_at(sector, at).is_err() {
                    sector.fill(0);
                }
            }
        }
    }
}
