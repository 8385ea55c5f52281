//! A part of an open file, or the whole file: a sealed segment or a catalog is a file of its own, or a part of an archive.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// A part of an open file. It can be read from several threads.
#[derive(Debug)]
pub(crate) struct FilePart {
    file: File,
    start: u64,
    len: u64,
    /// The last bytes of the part, if they were read in advance.
    tail: Vec<u8>,
}

impl FilePart {
    /// The whole file, with the length that it has now.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::of(file, 0, len))
    }

    /// The `len` bytes from byte `start` on.
    pub(crate) const fn of(file: File, start: u64, len: u64) -> Self {
        Self { file, start, len, tail: Vec::new() }
    }

    /// The same with its last `max` bytes in memory, if the file has all bytes of the part: one read instead of one for each of
    /// them that is asked for.
    pub(crate) fn with_tail(mut self, max: usize) -> io::Result<Self> {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX).min(max);
        self.tail = self.read(self.len - len as u64, len)?.unwrap_or_default();
        Ok(self)
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
        if let Some(bytes) = self.in_tail(offset, len) {
            return Ok(Some(bytes.to_vec()));
        }
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes from byte `offset` of the part on, if all of them are in memory.
    fn in_tail(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let tail_start = self.len.checked_sub(self.tail.len() as u64)?;
        let first = usize::try_from(offset.checked_sub(tail_start)?).ok()?;
        self.tail.get(first..first.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_read_does_not_depend_on_the_tail() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"..0123456789..").unwrap();
        let part = |len| FilePart::of(file.try_clone().unwrap(), 2, len);
        for max in [0, 1, 4, 10, 20] {
            let tailed = part(10).with_tail(max).unwrap();
            assert_eq!(tailed.tail.len(), max.min(10));
            for (offset, len) in (0..12).flat_map(|offset| (0..12).map(move |len| (offset, len))) {
                assert_eq!(tailed.read(offset, len).unwrap(), part(10).read(offset, len).unwrap(), "{offset} {len}");
            }
        }
        let beyond_the_file = part(20).with_tail(4).unwrap();
        assert_eq!((beyond_the_file.tail.len(), beyond_the_file.read(16, 4).unwrap()), (0, None));
        assert_eq!(beyond_the_file.read(0, 4).unwrap().unwrap(), b"0123");
    }
}
