//! One log file that is written to: bytes from a pipe, and the time before a line.

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
    fs::{FlockOperation, flock, fstat},
    io::Errno,
    pipe::{SpliceFlags, splice},
};

use crate::output::log::files::{inode, open_for_writing};

/// What is looked at in one step to find line ends, in bytes: what a pipe holds.
pub(crate) const PEEK_BYTES_MAX: usize = 64 << 10;

/// Length of the time before a line: `2026-01-31T12:00:00.000Z `.
const TIME_BYTES: usize = 25;

/// A log file at its end.
pub(crate) struct LogWriter {
    file: File,
    inode: u64,
    /// Its length.
    bytes: u64,
    since_wall_ns: i64,
    /// Whether each line begins with its time.
    has_times: bool,
    /// Whether the last line has no end yet, and so is not to be interrupted.
    is_line_begun: bool,
    /// Whether this file system cannot splice, and bytes have to be copied.
    copies: bool,
    /// Bytes that were taken out of the pipe and are not in the file.
    lost: Arc<AtomicU64>,
}

impl LogWriter {
    /// Opens the file at `path`, and makes it where it is missing. `now_ns` is the wall-clock time; `has_times` says whether
    /// each line begins with its own. What is taken out of a pipe and does not get into the file is added to `lost`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(path: &Path, now_ns: i64, has_times: bool, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let mut file = open_for_writing(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        let metadata = file.metadata()?;
        let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let since = created.and_then(|since| i64::try_from(since.as_nanos()).ok());
        let since_wall_ns = since.unwrap_or(now_ns);
        let (inode, is_line_begun, copies) = (metadata.ino(), false, false);
        let mut opened = Self { file, inode, bytes, since_wall_ns, has_times, is_line_begun, copies, lost };
        // Whoever wrote it was killed before its line came after it.
        opened.remove_time()?;
        opened.is_line_begun = opened.ends_in_line();
        Ok(opened)
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How old the file is at `now_ns`, in nanoseconds; 0 where the clock was set back since.
    pub(crate) fn age_ns(&self, now_ns: i64) -> u128 {
        u128::try_from(now_ns.saturating_sub(self.since_wall_ns)).unwrap_or(0)
    }

    pub(crate) const fn is_line_begun(&self) -> bool {
        self.is_line_begun
    }

    /// The same as an empty file that goes on with the line that another one ends with.
    pub(crate) const fn continuing(mut self, is_line_begun: bool) -> Self {
        self.is_line_begun = is_line_begun;
        self
    }

    /// Whether nobody finds the file under its name any more: what is written to it then is lost to who looks there.
    ///
    /// One that somebody else has cut short is written to at its end again.
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

    /// Takes up to `bytes_max` out of the pipe and adds them to the file. 0 at the end.
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
        // Until they are in the file: this thread may not come to tell.
        self.lost.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
        let written = self.file.write_all(buffer.get(..read).unwrap_or_default());
        let kept = match written {
            Ok(()) => u64::try_from(read).unwrap_or(u64::MAX),
            Err(_) => {
                // As much as there was room for is in the file.
                let end = self.file.stream_position()?;
                end.saturating_sub(std::mem::replace(&mut self.bytes, end))
            }
        };
        self.lost.fetch_sub(kept, Ordering::Relaxed);
        written.map(|()| read)
    }

    /// Takes one line, or the part of one, whose bytes are in the pipe, and writes its time before it.
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

    /// Whether the last line has no end yet. The file tells, since what is spliced is not looked at.
    pub(crate) fn ends_in_line(&self) -> bool {
        last_bytes(&self.file, self.bytes).is_ok_and(|end| end.last().is_some_and(|last| *last != b'\n'))
    }

    /// Ends the line that is begun: what follows does not belong to it.
    pub(crate) fn end_line(&mut self) -> io::Result<()> {
        self.remove_time()?;
        if self.ends_in_line() {
            self.write_whole(b"\n")?;
        }
        self.is_line_begun = false;
        Ok(())
    }

    /// Takes away a time that no line follows.
    fn remove_time(&mut self) -> io::Result<()> {
        if !self.has_times {
            // Then it is what the process wrote.
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

    /// Writes all of it or nothing: half a time would be taken for a line.
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
        // A child that has not become its program yet holds a copy of the descriptor: closing ours does not unlock it.
        let _ = flock(&self.file, FlockOperation::NonBlockingUnlock);
    }
}

/// The end of the file, a little longer than a time and a line end.
fn last_bytes(file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    let wanted = bytes.min(u64::try_from(TIME_BYTES + 1).unwrap_or(u64::MAX));
    let mut end = vec![0; usize::try_from(wanted).unwrap_or(0)];
    file.read_exact_at(&mut end, bytes.saturating_sub(wanted))?;
    Ok(end)
}

/// Whether this is the time before a line, and nothing else.
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

    /// Where bytes have to be copied, those that are taken out of the pipe and not written are counted.
    #[test]
    fn what_is_read_and_not_written_is_lost() {
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
