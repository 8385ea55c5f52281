//! Moves output from a pipe to log files, so that nothing is lost or written twice if the supervisor is killed.
//!
//! Bytes are moved with splice(2), which reads from the pipe and writes to the file in one step. A SIGKILL between
//! read(2) and write(2) would lose the bytes that were read. If lines have timestamps, the timestamp is written first
//! and the line is spliced after it. A timestamp at the end of the file without a line is removed when the file is
//! opened next.
//!
//! Output that cannot be written, on a full disk for instance, is read from the pipe and dropped: a process never waits
//! for a disk without space.

use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use apm2_model::{
    event::{kind::OutputSource, timestamp::Clock},
    spec::config::log::is_nowhere,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{SpliceFlags, tee},
};
use tracing::Span;

use crate::output::{
    log::{
        files::{is_shared, rotated, rotated_path, shown},
        follow::LogPosition,
        log_set::LogSet,
        tail::last_lines,
        writer::{LogWriter, PEEK_BYTES_MAX},
    },
    notice::OutputNotice,
};

/// Bytes that are moved in one step: the default maximum capacity of a pipe (pipe(7)).
const STEP_BYTES_MAX: usize = 1 << 20;

/// Largest number of lines with timestamps that are moved in one step. The limit is low, because other outputs on this
/// thread wait in the meantime.
const STEP_LINES_MAX: usize = 256;

/// Pause after a failed write, before the file is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a failed rotation, before it is tried again. Output is written to the unrotated file in the meantime.
const ROTATE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The result of one step in which output is moved from the pipe to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The number of bytes that the step wrote to the file.
    Written(usize),
    /// The number of bytes that the step dropped.
    Dropped(usize),
    /// The pipe is empty and has no more writers.
    End,
}

/// Moves one output of a run to its log file.
pub(crate) struct LogSink {
    source: OutputSource,
    path: PathBuf,
    log_set: Arc<LogSet>,
    clock: Arc<dyn Clock>,
    open: Option<LogWriter>,
    /// The position in the log file at which the output of the run begins; `None` if unknown.
    begins_at: Option<LogPosition>,
    /// Whether the specification asks for no log, so that the output is dropped.
    is_nowhere: bool,
    /// Whether the next log file continues the unfinished last line of the previous file.
    is_line_carried: bool,
    /// Whether the next line does not fit into the current file.
    is_full: bool,
    rotate_again_at: Option<Instant>,
    /// `Some` while output is dropped.
    dropping: Option<Dropping>,
    /// The number of bytes that were read from the pipe, are not in the file, and are not reported yet. After a panic,
    /// the next sink uses the same counter.
    lost: Arc<AtomicU64>,
    scratch: Option<(OwnedFd, OwnedFd)>,
    buffer: Vec<u8>,
}

struct Dropping {
    retry_at: Instant,
    /// Whether the last dropped byte was in the middle of a line. The rest of this line is then dropped, too.
    is_in_line: bool,
}

impl LogSink {
    /// The sink of `source`. The log file is opened when the first output arrives.
    pub(crate) fn new(
        source: OutputSource,
        log_set: Arc<LogSet>,
        clock: Arc<dyn Clock>,
        begins_at: Option<LogPosition>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        let path = log_set.files.of(source).to_owned();
        Self {
            source,
            is_nowhere: is_nowhere(&path),
            path,
            log_set,
            clock,
            open: None,
            begins_at,
            is_line_carried: false,
            is_full: false,
            rotate_again_at: None,
            dropping: None,
            lost,
            scratch: None,
            buffer: Vec::new(),
        }
    }

    pub(crate) const fn source(&self) -> OutputSource {
        self.source
    }

    /// Moves some bytes out of the pipe. Calls `notice` when dropping begins and ends.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty; another error when the pipe cannot be read.
    pub(crate) fn absorb(&mut self, pipe: BorrowedFd<'_>, notice: &mut dyn FnMut(OutputNotice)) -> io::Result<Moved> {
        if self.is_nowhere {
            // Dropped output is not reported as a loss, since the specification asks for no log.
            return Ok(match self.drop_some(pipe)? {
                Moved::Dropped(bytes) => Moved::Written(bytes),
                moved => moved,
            });
        }
        if self.dropping.as_ref().is_some_and(|dropping| Instant::now() < dropping.retry_at) {
            return self.drop_some(pipe);
        }
        match self.keep(pipe) {
            Ok(Moved::Written(bytes)) => {
                if self.dropping.take().is_some() {
                    notice(OutputNotice::Resumed { source: self.source, bytes: self.take_lost() });
                }
                Ok(Moved::Written(bytes))
            }
            Ok(other) => Ok(other),
            Err(error) if is_of_pipe(&error) => Err(error),
            Err(error) => {
                let cause = format!("{}: {error}", shown(&self.path).display());
                if let Some(dropping) = self.drop_for_now(cause) {
                    notice(dropping);
                }
                self.drop_some(pipe)
            }
        }
    }

    /// Drops output until the file is tried again. Returns a notice if dropping begins now.
    pub(crate) fn drop_for_now(&mut self, cause: String) -> Option<OutputNotice> {
        let retry_at = Instant::now() + RETRY_INTERVAL;
        let is_in_line = self.open.take().is_some_and(|open| open.ends_in_line());
        match &mut self.dropping {
            Some(dropping) => {
                dropping.retry_at = retry_at;
                None
            }
            None => {
                self.dropping = Some(Dropping { retry_at, is_in_line });
                Some(OutputNotice::Dropping { source: self.source, cause })
            }
        }
    }

    /// Called at the end of a run. Returns a notice about dropped bytes that were not reported yet.
    pub(crate) fn finish(&mut self) -> Option<OutputNotice> {
        self.dropping.take()?;
        Some(OutputNotice::Ended { source: self.source, bytes: self.take_lost() })
    }

    fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// The last lines that this run wrote. Empty if the beginning of its output is unknown, since the lines may be of another
    /// run.
    pub(crate) fn tail(&self) -> Vec<String> {
        let lines = self.begins_at.map(|begins_at| last_lines(&self.path, begins_at, &self.log_set.secret_filter));
        lines.and_then(Result::ok).unwrap_or_default()
    }

    fn keep(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Moved> {
        #[cfg(test)]
        crate::output::log::fault::strike(&self.path);
        if self.open.is_none() && self.dropping.is_none() && is_at_end(pipe) {
            // No log file is created for a run without output.
            return Ok(Moved::End);
        }
        self.make_ready()?;
        if self.dropping.is_some()
            && let Some(skipped) = self.resume(pipe)?
        {
            return Ok(skipped);
        }
        let moved = if self.log_set.config.timestamps { self.move_lines(pipe)? } else { self.move_bytes(pipe)? };
        Ok(if moved == 0 { Moved::End } else { Moved::Written(moved) })
    }

    /// Called after output was dropped. Ends the unfinished line in the file and drops the rest of the current line in
    /// the pipe, so that parts of two lines do not look like one line. Returns `None` when the pipe is at the beginning
    /// of a line.
    fn resume(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Option<Moved>> {
        if let Some(open) = &mut self.open {
            open.end_line()?;
        }
        if self.dropping.as_ref().is_none_or(|dropping| !dropping.is_in_line) {
            return Ok(None);
        }
        let seen = self.peek(pipe)?;
        let end = seen.iter().position(|byte| *byte == b'\n');
        let skipped = self.drop_up_to(pipe, end.map_or(seen.len(), |end| end + 1))?;
        if let Some(dropping) = &mut self.dropping {
            // Output without line ends is searched only up to a limit.
            dropping.is_in_line = false;
        }
        Ok(Some(skipped))
    }

    fn move_bytes(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let room = self.room(pipe)?;
        self.opened()?.take(pipe, room)
    }

    /// Moves complete lines, each after its timestamp, and the beginning of an unfinished line.
    fn move_lines(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let seen = self.peek(pipe)?;
        let (clock, rotate_bytes) = (Arc::clone(&self.clock), self.log_set.rotate_bytes());
        let open = self.opened()?;
        let mut moved: usize = 0;
        for line in seen.split_inclusive(|byte| *byte == b'\n').take(STEP_LINES_MAX) {
            open.take_line(pipe, line, &*clock)?;
            moved = moved.saturating_add(line.len());
            if open.bytes() >= rotate_bytes {
                break;
            }
        }
        Ok(moved)
    }

    /// The number of bytes that may be moved at once. The file stays within its size limit and ends with a complete
    /// line if possible.
    fn room(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let written = self.open.as_ref().map_or(0, LogWriter::bytes);
        let left = usize::try_from(self.log_set.rotate_bytes().saturating_sub(written)).unwrap_or(usize::MAX);
        if left == 0 || left >= STEP_BYTES_MAX {
            // A file that could not be rotated has no size limit.
            return Ok(STEP_BYTES_MAX);
        }
        if left >= PEEK_BYTES_MAX {
            return Ok(PEEK_BYTES_MAX);
        }
        let seen = self.peek(pipe)?;
        let Some(fitting) = seen.get(..left) else { return Ok(seen.len()) };
        let end = fitting.iter().rposition(|byte| *byte == b'\n');
        let is_between_lines = || self.open.as_ref().is_some_and(|open| !open.ends_in_line());
        if end.is_none() && written > 0 && self.rotate_again_at.is_none() && is_between_lines() {
            self.is_full = true;
            self.make_ready()?;
            // The current file is now empty, or it could not be rotated.
            return self.room(pipe);
        }
        self.is_full = end.is_some();
        Ok(end.map_or(left, |end| end + 1))
    }

    fn opened(&mut self) -> io::Result<&mut LogWriter> {
        self.open.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Reads the pipe without consuming it, by tee(2) into a second pipe.
    fn peek(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let (reader, writer) = match &self.scratch {
            Some(scratch) => scratch,
            None => {
                let (reader, writer) = io::pipe()?;
                self.scratch.insert((reader.into(), writer.into()))
            }
        };
        let seen = tee(pipe, writer, PEEK_BYTES_MAX, SpliceFlags::NONBLOCK)?;
        let mut bytes = vec![0; seen];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::io::read(reader, rest)?;
        }
        Ok(bytes)
    }

    fn drop_some(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Moved> {
        self.drop_up_to(pipe, PEEK_BYTES_MAX)
    }

    fn drop_up_to(&mut self, pipe: BorrowedFd<'_>, bytes_max: usize) -> io::Result<Moved> {
        self.buffer.resize(bytes_max, 0);
        let bytes = rustix::io::read(pipe, self.buffer.as_mut_slice())?;
        let Some(last) = bytes.checked_sub(1).and_then(|last| self.buffer.get(last)) else { return Ok(Moved::End) };
        if let Some(dropping) = &mut self.dropping {
            self.lost.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
            dropping.is_in_line = *last != b'\n';
        }
        Ok(Moved::Dropped(bytes))
    }

    /// Opens the log file. If the file is full, too old, removed, or has several hard links, a new file is opened.
    fn make_ready(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            if open.is_gone(&self.path)? {
                self.open = None;
            } else if self.is_due_for_rotation() {
                self.rotate();
            }
        }
        if self.open.is_none() {
            if is_shared(&self.path) {
                self.rotate();
            }
            let now_ns = self.clock.now().wall_ns;
            let opened = LogWriter::open(&self.path, now_ns, self.log_set.config.timestamps, Arc::clone(&self.lost))?;
            let is_line_carried = std::mem::take(&mut self.is_line_carried);
            self.open = Some(if is_line_carried && opened.bytes() == 0 { opened.continuing(true) } else { opened });
        }
        Ok(())
    }

    fn is_due_for_rotation(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let is_old = || open.age_ns(self.clock.now().wall_ns) >= self.log_set.config.rotate_age.as_nanos();
        let is_used_up = || self.is_full || open.bytes() >= self.log_set.rotate_bytes() || is_old();
        self.rotate_again_at.is_none_or(|at| Instant::now() >= at)
            && ((open.bytes() > 0 && is_used_up()) || is_shared(&self.path))
    }

    /// Renames the log file. If the rename fails, the file grows beyond its limit, so that no output is dropped.
    fn rotate(&mut self) {
        let renamed = rotated(&self.path).and_then(|rotated| {
            let generation = rotated.last().map_or(0, |last| last.generation).saturating_add(1);
            fs::rename(&self.path, rotated_path(&self.path, generation))
        });
        if let Err(error) = renamed {
            if self.rotate_again_at.is_none() {
                tracing::warn!(path = %shown(&self.path).display(), %error, "a log file cannot be rotated");
            }
            self.rotate_again_at = Some(Instant::now() + ROTATE_RETRY_INTERVAL);
            return;
        }
        self.rotate_again_at = None;
        self.is_full = false;
        self.is_line_carried = self.open.take().is_some_and(|open| open.is_line_begun() || open.ends_in_line());
        let log_set = Arc::clone(&self.log_set);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let span = Span::current();
                drop(runtime.spawn_blocking(move || span.in_scope(|| log_set.tidy_up())));
            }
            Err(_) => log_set.tidy_up(),
        }
    }
}

/// Whether the pipe is empty and has no more writers (poll(2): `POLLHUP` without `POLLIN`).
fn is_at_end(pipe: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(pipe, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_known = poll(&mut polled, Some(&at_once)).is_ok();
    is_known
        && polled
            .iter()
            .all(|polled| polled.revents().contains(PollFlags::HUP) && !polled.revents().contains(PollFlags::IN))
}

/// Whether the error concerns the pipe and not the file.
fn is_of_pipe(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
