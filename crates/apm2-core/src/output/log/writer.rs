//! Writes one log file: bytes from a pipe, with an optional timestamp before each line.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use apm2_model::event::timestamp::Clock;
use chrono::SecondsFormat;
use rustix::{
    fs::fstat,
    io::Errno,
    pipe::{SpliceFlags, splice},
};

use crate::output::log::files::{inode, open_for_writing};

/// Bytes that are searched for line ends in one step: the default capacity of a pipe (pipe(7)).
pub(crate) const PEEK_BYTES_MAX: usize = 64 << 10;

/// Length of the timestamp before a line: `2026-01-31T12:00:00.000Z `.
const TIME_BYTES: usize = 25;

/// A log file that is open for appending.
pub(crate) struct LogWriter {
    file: File,
    inode: u64,
    /// Length of the file, in bytes.
    bytes: u64,
    /// When the file was created, in nanoseconds of the wall clock.
    since_wall_ns: i64,
    /// Whether each line begins with a timestamp.
    has_times: bool,
    /// Whether the last line is not finished. No timestamp is written in the middle of a line.
    is_line_begun: bool,
    /// Whether the file system does not support splice(2), so that bytes are copied instead.
    copies: bool,
    /// Number of bytes that were read from the pipe and are not in the file.
    lost: Arc<AtomicU64>,
}

impl LogWriter {
    /// Opens the file at `path`, and creates it if it is missing. `now_ns` is the wall-clock time; with `has_times`,
    /// each line begins with a timestamp. Bytes that are read from a pipe and not written to the file are added to
    /// `lost`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path, now_ns: i64, has_times: bool, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let mut file = open_for_writing(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        let metadata = file.metadata()?;
        let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let since = created.and_then(|since| i64::try_from(since.as_nanos()).ok());
        let since_wall_ns = since.unwrap_or(now_ns);
        let (inode, is_line_begun, copies) = (metadata.ino(), false, false);
        let mut opened = Self { file, inode, bytes, since_wall_ns, has_times, is_line_begun, copies, lost };
        // A killed writer may have left a timestamp without its line.
        opened.remove_time()?;
        opened.is_line_begun = opened.ends_in_line();
        Ok(opened)
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Age of the file at `now_ns`, in nanoseconds; 0 if the clock was set back in the meantime.
    pub(crate) fn age_ns(&self, now_ns: i64) -> u128 {
        u128::try_from(now_ns.saturating_sub(self.since_wall_ns)).unwrap_or(0)
    }

    pub(crate) const fn is_line_begun(&self) -> bool {
        self.is_line_begun
    }

    /// Sets whether the file continues the unfinished last line of the previous file.
    pub(crate) const fn continuing(mut self, is_line_begun: bool) -> Self {
        self.is_line_begun = is_line_begun;
        self
    }

    /// Whether another file, or no file, has the path `path` now. Readers would then not find new output.
    ///
    /// A file that another process has truncated is appended to at its new end.
    pub(crate) fn is_gone(&mut self, path: &Path) -> io::Result<bool> {
        if inode(path) != Some(self.inode) {
            return Ok(true);
        }
        let length = u64::try_from(fstat(&self.file)?.st_size).unwrap_or(0);
        if length < self.bytes {
            self.bytes = self.file.seek(SeekFrom::End(0))?;
            self.is_line_begun = false;
        }
        Ok(false)
    }

    /// Moves up to `bytes_max` bytes from the pipe to the file. Returns 0 at the end of the pipe.
    pub(crate) fn take(&mut self, pipe: BorrowedFd<'_>, bytes_max: usize) -> io::Result<usize> {
        let moved = self.moved(pipe, bytes_max)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
        Ok(moved)
    }

    fn moved(&mut self, pipe: BorrowedFd<'_>, bytes_max: usize) -> io::Result<usize> {
        if !self.copies {
            match splice(pipe, None, self.file.as_fd(), None, bytes_max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
                Err(Errno::INVAL) => self.copies = true,
                moved => return Ok(moved?),
            }
        }
        let mut buffer = vec![0; bytes_max.min(PEEK_BYTES_MAX)];
        let read = rustix::io::read(pipe, buffer.as_mut_slice())?;
        // The bytes are counted as lost before the write, because this thread may panic during the write.
        self.lost.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
        let written = self.file.write_all(buffer.get(..read).unwrap_or_default());
        let in_file = match written {
            Ok(()) => u64::try_from(read).unwrap_or(u64::MAX),
            Err(_) => {
                // The failed write may have written a part of the bytes.
                let end = self.file.stream_position()?;
                end.saturating_sub(std::mem::replace(&mut self.bytes, end))
            }
        };
        self.lost.fetch_sub(in_file, Ordering::Relaxed);
        written.map(|()| read)
    }

    /// Moves a line, or a part of a line, from the pipe to the file, after its timestamp.
    pub(crate) fn take_line(&mut self, pipe: BorrowedFd<'_>, line: &[u8], clock: &dyn Clock) -> io::Result<()> {
        if !self.is_line_begun {
            self.write_time(clock)?;
        }
        let mut left = line.len();
        while left > 0 {
            let taken = self.take(pipe, left)?;
            self.is_line_begun = true;
            left = left.saturating_sub(taken.max(1));
        }
        self.is_line_begun = line.last() != Some(&b'\n');
        Ok(())
    }

    fn write_time(&mut self, clock: &dyn Clock) -> io::Result<()> {
        self.write_whole(format!("{} ", clock.now().wall().to_rfc3339_opts(SecondsFormat::Millis, true)).as_bytes())
    }

    /// Whether the last line is not finished. This is read from the file, because spliced bytes do not pass through
    /// this process.
    pub(crate) fn ends_in_line(&self) -> bool {
        last_bytes(&self.file, self.bytes).is_ok_and(|end| end.last().is_some_and(|last| *last != b'\n'))
    }

    /// Ends the current line, because the following output does not belong to it.
    pub(crate) fn end_line(&mut self) -> io::Result<()> {
        self.remove_time()?;
        if self.ends_in_line() {
            self.write_whole(b"\n")?;
        }
        self.is_line_begun = false;
        Ok(())
    }

    /// Removes a timestamp at the end of the file that no line follows.
    fn remove_time(&mut self) -> io::Result<()> {
        if !self.has_times {
            // Without timestamps in this file, a text in the form of a timestamp is output of the process.
            return Ok(());
        }
        let end = last_bytes(&self.file, self.bytes)?;
        if is_time(end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()) {
            self.bytes = self.bytes.saturating_sub(u64::try_from(TIME_BYTES).unwrap_or(0));
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
        }
        Ok(())
    }

    /// Writes all bytes or none: a part of a timestamp would look like a line of output.
    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // The file is unlocked explicitly (flock(2)). A forked child holds a copy of the descriptor until execve(2), so
        // closing this descriptor does not unlock the file.
        let _ = self.file.unlock();
    }
}

/// The last bytes of the file, of the length of a timestamp and a line end.
fn last_bytes(file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    let wanted = bytes.min(u64::try_from(TIME_BYTES + 1).unwrap_or(u64::MAX));
    let mut end = vec![0; usize::try_from(wanted).unwrap_or(0)];
    file.read_exact_at(&mut end, bytes.saturating_sub(wanted))?;
    Ok(end)
}

/// Whether `text` has exactly the form of a timestamp before a line.
fn is_time(text: &[u8]) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd.dddZ ";
    text.len() == TIME_BYTES
        && text
            .iter()
            .zip(shape)
            .all(|(byte, shape)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without splice(2), bytes that are read from the pipe and not written to the file are counted as lost.
    #[test]
    fn bytes_that_are_read_and_not_written_count_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lost) = (dir.path().join("log"), Arc::new(AtomicU64::new(0)));
        let mut writer = LogWriter::open(&path, 0, false, Arc::clone(&lost)).unwrap();
        writer.copies = true;
        let (pipe, mut end) = std::io::pipe().unwrap();
        end.write_all(b"kept").unwrap();
        assert_eq!(writer.take(pipe.as_fd(), 10).unwrap(), 4);
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        writer.file = File::open(&path).unwrap();
        end.write_all(b"gone").unwrap();
        writer.take(pipe.as_fd(), 3).unwrap_err();
        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }
}
