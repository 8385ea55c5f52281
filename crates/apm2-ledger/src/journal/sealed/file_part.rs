//! A part of an open file, or the whole file: a sealed segment or a catalog is a file of its own, or a part of an archive.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// A part of an open file. It can be read from several threads.
#[derive(Debug)]
pub(crate) struct FilePart {
    file: File,
    start: u64,
    len: u64,
}

impl FilePart {
    /// The whole file, with the length that it has now.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::of(file, 0, len))
    }

    /// The `len` bytes from byte `start` on.
    pub(crate) const fn of(file: File, start: u64, len: u64) -> Self {
        Self { file, start, len }
    }

    /// The `len` bytes from byte `offset` of this part on, through a descriptor of its own.
    pub(crate) fn part(&self, offset: u64, len: u64) -> io::Result<Self> {
        Ok(Self::of(self.file.try_clone()?, self.start.saturating_add(offset), len))
    }

    /// The length of the part in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from byte `offset` of the part on; `None` when the part has fewer.
    pub(crate) fn read(&self, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let is_inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.len);
        let Some(at) = self.start.checked_add(offset).filter(|_| is_inside) else { return Ok(None) };
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}
