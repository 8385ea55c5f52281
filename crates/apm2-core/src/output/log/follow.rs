//! Reads log files across rotations, and continues as output is appended.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::output::log::files::{open_for_reading, rotated, rotated_path};

/// Size of the read buffer, in bytes.
const READ_BYTES_MAX: usize = 64 << 10;

/// Attempts to open a file that is being rotated.
const OPEN_ATTEMPTS_MAX: u32 = 16;

/// Number of lists of the directory in which a rotated file is looked for.
const ROTATED_CHECKS: u32 = 2;

/// A position in the output of an instance: a generation of its log file and an offset in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Generation of the file, counted from 1.
    pub generation: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// The next item of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum LogItem<'a> {
    /// Bytes of output; at least one.
    Bytes(&'a [u8]),
    /// The number of rotated files that were removed before they were read.
    Gap(u64),
    /// There is no more output yet.
    End,
}

/// What [`LogReader::advance`] has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advanced {
    /// This number of bytes; at least one.
    Bytes(usize),
    /// The number of rotated files that were removed before they were read.
    Gap(u64),
    /// There is no more output yet.
    End,
}

/// Reads one log file and its earlier generations, in order.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    position: LogPosition,
    file: Option<LogSource>,
    /// The buffer into which the log file is read.
    buffer: Vec<u8>,
}

/// Whether the open file still has the name of the log file.
enum Named {
    /// The file with the name of the log file is the open file, and has this length.
    Same { length: u64 },
    /// Another file has the name of the log file.
    Other,
    /// No file has the name of the log file.
    Missing,
}

#[derive(Debug)]
enum LogSource {
    Plain { file: File, inode: u64 },
    Compressed(Box<MultiGzDecoder<File>>),
}

impl LogReader {
    /// A reader that begins with the oldest remaining file.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn from_start(path: &Path) -> io::Result<Self> {
        let oldest = rotated(path)?.first().map(|oldest| oldest.generation);
        let generation = oldest.map_or_else(|| Self::current(path), Ok)?;
        Ok(Self::at(path, generation))
    }

    /// A reader that begins at `position`.
    ///
    /// # Errors
    /// The file exists and cannot be opened.
    pub fn from_position(path: &Path, position: LogPosition) -> io::Result<Self> {
        let mut reader = Self::at(path, position.generation);
        reader.position = position;
        // A file that cannot be found now is opened later, at the same offset.
        reader.open()?;
        Ok(reader)
    }

    /// The current end of the output.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn end(path: &Path) -> io::Result<LogPosition> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let generation = Self::current(path)?;
            let offset = match open_for_reading(path) {
                Ok(file) => file.metadata()?.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            };
            if Self::current(path)? == generation {
                return Ok(LogPosition { generation, offset });
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file is rotated faster than it can be opened"))
    }

    /// The generation of the current file: the number that the file gets when it is rotated.
    fn current(path: &Path) -> io::Result<u64> {
        Ok(rotated(path)?.last().map_or(0, |last| last.generation).saturating_add(1))
    }

    fn at(path: &Path, generation: u64) -> Self {
        let position = LogPosition { generation, offset: 0 };
        Self { path: path.to_owned(), position, file: None, buffer: vec![0; READ_BYTES_MAX] }
    }

    /// The position of the next item.
    #[must_use]
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// Reads the next item. After [`LogItem::End`], the writer may append more output.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_item(&mut self) -> io::Result<LogItem<'_>> {
        Ok(match self.advance()? {
            Advanced::Bytes(count) => LogItem::Bytes(self.piece(count)),
            Advanced::Gap(files) => LogItem::Gap(files),
            Advanced::End => LogItem::End,
        })
    }

    /// The first `count` bytes of the piece that was read last.
    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.buffer.get(..count).unwrap_or_default()
    }

    /// Reads the next item, as [`next_item`](Self::next_item) does, but without a borrow of its bytes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn advance(&mut self) -> io::Result<Advanced> {
        loop {
            if self.file.is_none() && !self.open()? {
                let skipped = self.skip_removed()?;
                if skipped == 0 {
                    return Ok(Advanced::End);
                }
                return Ok(Advanced::Gap(skipped));
            }
            // The file name is checked before the file is read. If the file was rotated by then, all its output is
            // already in it.
            let named = self.named();
            let read = match &mut self.file {
                Some(LogSource::Plain { file, .. }) => file.read(&mut self.buffer)?,
                Some(LogSource::Compressed(decoder)) => decoder.read(&mut self.buffer)?,
                None => 0,
            };
            if read > 0 {
                self.position.offset = self.position.offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                return Ok(Advanced::Bytes(read));
            }
            match named {
                Named::Same { length } if length < self.position.offset => self.begin_anew()?,
                Named::Same { .. } => return Ok(Advanced::End),
                Named::Other | Named::Missing if self.is_rotated()? => {
                    self.file = None;
                    self.go_to(self.position.generation.saturating_add(1));
                }
                // The file was removed without a rotation, and the writer has begun another file.
                Named::Other => {
                    self.file = None;
                    self.go_to(Self::current(&self.path)?);
                }
                // The file or a directory above it was removed or renamed. The file stays open, since it may get its
                // name back.
                Named::Missing => return Ok(Advanced::End),
            }
        }
    }

    /// Which file has the name of the log file. Once another file has this name, no more output is written to the open
    /// file.
    fn named(&self) -> Named {
        match (&self.file, fs::symlink_metadata(&self.path)) {
            (Some(LogSource::Plain { inode, .. }), Ok(metadata)) if metadata.ino() == *inode => {
                Named::Same { length: metadata.len() }
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Named::Missing,
            _ => Named::Other,
        }
    }

    /// Whether the open file is not the current file of the log any more: it was rotated.
    fn is_rotated(&self) -> io::Result<bool> {
        if matches!(self.file, Some(LogSource::Compressed(_))) {
            return Ok(true);
        }
        // A file that is being compressed can be missing in one list of the directory, but not in two.
        for _ in 0..ROTATED_CHECKS {
            if Self::current(&self.path)? > self.position.generation {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns to the beginning of a truncated file, because new output is written there.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.position.offset = 0;
        match &mut self.file {
            Some(LogSource::Plain { file, .. }) => file.rewind(),
            Some(LogSource::Compressed(_)) | None => Ok(()),
        }
    }

    /// Opens the file of the current position, if it exists.
    fn open(&mut self) -> io::Result<bool> {
        let mut is_missed = false;
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let found = rotated(&self.path)?.into_iter().find(|file| file.generation == self.position.generation);
            let opened = match found {
                Some(file) if file.is_compressed => {
                    open_for_reading(&file.path).map(|file| LogSource::Compressed(Box::new(MultiGzDecoder::new(file))))
                }
                Some(file) => open_for_reading(&file.path).and_then(plain),
                None if Self::current(&self.path)? == self.position.generation => {
                    let opened = open_for_reading(&self.path).and_then(plain);
                    // The file was rotated between the two checks, and is found under its rotated name.
                    if Self::current(&self.path)? != self.position.generation {
                        continue;
                    }
                    opened
                }
                // The file was rotated between the two checks. The next attempt finds it.
                None if !is_missed => {
                    is_missed = true;
                    continue;
                }
                None => return Ok(false),
            };
            match opened {
                Ok(source) => {
                    self.file = Some(source.starting_at(self.position.offset)?);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !rotated_path(&self.path, self.position.generation).exists()
                        && Self::current(&self.path)? == self.position.generation
                    {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Continues with the next generation of the log file. If it was removed, continues with the oldest remaining
    /// generation. Returns the number of skipped generations.
    fn skip_removed(&mut self) -> io::Result<u64> {
        let left = rotated(&self.path)?;
        let oldest = left.iter().map(|file| file.generation).find(|generation| *generation >= self.position.generation);
        let next = oldest.map_or_else(|| Self::current(&self.path), Ok)?;
        let skipped = next.saturating_sub(self.position.generation);
        if skipped > 0 {
            self.go_to(next);
        }
        Ok(skipped)
    }

    const fn go_to(&mut self, generation: u64) {
        self.position = LogPosition { generation, offset: 0 };
    }
}

impl LogSource {
    /// The same log file, read from `offset` bytes of output on.
    fn starting_at(mut self, offset: u64) -> io::Result<Self> {
        match &mut self {
            Self::Plain { file, .. } => {
                file.seek(SeekFrom::Start(offset))?;
            }
            Self::Compressed(decoder) => {
                io::copy(&mut decoder.by_ref().take(offset), &mut io::sink())?;
            }
        }
        Ok(self)
    }
}

fn plain(file: File) -> io::Result<LogSource> {
    let inode = file.metadata()?.ino();
    Ok(LogSource::Plain { file, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_found_for_a_moment_is_read_from_the_same_place() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, away) = (dir.path().join("a.log"), dir.path().join("away"));
        let rotated = rotated_path(&path, 1);
        fs::write(&away, "first\nsecond\n").unwrap();
        let mut reader = LogReader::from_position(&path, LogPosition { generation: 1, offset: 6 }).unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::End);
        fs::rename(&away, &rotated).unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::Bytes(b"second\n"));
    }

    #[test]
    fn a_file_in_a_directory_that_is_renamed_and_back_is_read_on() {
        let dir = tempfile::TempDir::new().unwrap();
        let (logs, away) = (dir.path().join("logs"), dir.path().join("away"));
        fs::create_dir(&logs).unwrap();
        let path = logs.join("a.log");
        fs::write(&path, "first\n").unwrap();
        let mut reader = LogReader::from_start(&path).unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::Bytes(b"first\n"));
        fs::rename(&logs, &away).unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::End);
        fs::rename(&away, &logs).unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::End);
        fs::write(&path, "first\nsecond\n").unwrap();
        assert_eq!(reader.next_item().unwrap(), LogItem::Bytes(b"second\n"));
    }

    #[test]
    fn the_file_that_is_begun_after_the_log_was_removed_is_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.log");
        for earlier in [0, 1] {
            if earlier > 0 {
                fs::write(rotated_path(&path, earlier), "earlier\n").unwrap();
            }
            fs::write(&path, "first\n").unwrap();
            let end = LogPosition { generation: earlier + 1, offset: 0 };
            let mut reader = LogReader::from_position(&path, end).unwrap();
            assert_eq!(reader.next_item().unwrap(), LogItem::Bytes(b"first\n"));
            // The log and all its rotated files.
            let _ = fs::remove_file(rotated_path(&path, 1));
            fs::remove_file(&path).unwrap();
            assert_eq!(reader.next_item().unwrap(), LogItem::End);
            fs::write(&path, "second\n").unwrap();
            assert_eq!(reader.next_item().unwrap(), LogItem::Bytes(b"second\n"));
            assert_eq!(reader.next_item().unwrap(), LogItem::End);
        }
    }
}
