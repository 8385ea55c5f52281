//! From a pipe to a file, so that nothing is lost or doubled however the supervisor ends.
//!
//! Bytes are moved with splice(2): for a process that is killed, taking them out of the pipe and adding them to the file
//! are one step. Reading them and writing them would be two, and a kill between the two would lose what was read. Where
//! each line begins with its time, the time is written first and the line is moved after it; a time at the end of the
//! file that no line follows is taken away by whoever opens the file next.
//!
//! What cannot be kept, on a full disk for instance, is taken from the pipe all the same and dropped: a process never
//! waits for a disk that has no room.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::SecondsFormat;
use rustix::{
    io::Errno,
    pipe::{SpliceFlags, splice, tee},
};

use super::{
    LogConfig, LogFiles,
    files::{open_for_writing, rotated, rotated_path},
    rotation::settle,
    tail::last_lines,
};
use crate::process::{Clock, OutputNotice, OutputSource};

/// What is moved in one step, in bytes: what a large pipe holds.
const STEP_BYTES_MAX: usize = 1 << 20;

/// What is looked at in one step to find line ends, in bytes: what a pipe holds.
const PEEK_BYTES_MAX: usize = 64 << 10;

/// How long nothing is tried after the file could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Length of the time before a line: `2026-01-31T12:00:00.000Z `.
const TIME_BYTES: usize = 25;

/// What became of what was in the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes are in the file.
    Kept(usize),
    /// So many bytes are gone.
    Dropped(usize),
    /// Nobody can write to the pipe any more, and it is empty.
    End,
}

/// What becomes of the files of an instance together.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) files: LogFiles,
    pub(crate) config: LogConfig,
    settling: Mutex<()>,
}

impl Shelf {
    pub(crate) fn new(files: LogFiles, config: LogConfig) -> Self {
        Self { files, config, settling: Mutex::new(()) }
    }

    /// The size at which a file is rotated: so that what is written to and the newest of what was rotated away, of each
    /// output, fit into the limit on all.
    fn rotate_bytes(&self) -> u64 {
        let files = u64::try_from(self.files.all().count()).unwrap_or(1);
        self.config.rotate_bytes.min(self.config.total_bytes_max / (2 * files)).max(1)
    }

    fn settle(&self) {
        let _one_at_a_time = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = settle(&self.files, &self.config) {
            tracing::warn!(%error, "rotated log files could not be put in order");
        }
    }
}

/// Where one output of a run goes.
pub(crate) struct LogSink {
    source: OutputSource,
    path: PathBuf,
    shelf: Arc<Shelf>,
    clock: Arc<dyn Clock>,
    open: Option<Open>,
    /// Where this run began, as far as the file that it began in is still the one that is written to.
    begins_at: u64,
    /// Since when, and how much of it, output is dropped.
    dropping: Option<Dropping>,
    scratch: Option<(OwnedFd, OwnedFd)>,
    buffer: Vec<u8>,
}

struct Open {
    file: File,
    bytes: u64,
    since_wall_ns: i64,
    is_line_begun: bool,
    /// Whether this file system cannot splice, and bytes have to be copied.
    copies: bool,
}

struct Dropping {
    bytes: u64,
    retry_at: Instant,
}

impl LogSink {
    /// The sink of `source`. Nothing is opened before there is something to keep.
    pub(crate) fn new(source: OutputSource, shelf: Arc<Shelf>, clock: Arc<dyn Clock>) -> Self {
        let path = shelf.files.of(source).to_owned();
        let begins_at = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { source, path, shelf, clock, open: None, begins_at, dropping: None, scratch: None, buffer: Vec::new() }
    }

    pub(crate) const fn source(&self) -> OutputSource {
        self.source
    }

    /// Moves some of what is in the pipe. Tells through `notice` when dropping begins and ends.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty; others when it cannot be read.
    pub(crate) fn absorb(&mut self, pipe: BorrowedFd<'_>, notice: &mut dyn FnMut(OutputNotice)) -> io::Result<Moved> {
        if self.dropping.as_ref().is_some_and(|dropping| Instant::now() < dropping.retry_at) {
            return self.drop_some(pipe);
        }
        match self.keep(pipe) {
            Ok(Moved::Kept(bytes)) => {
                if let Some(dropping) = self.dropping.take() {
                    notice(OutputNotice::Resumed { source: self.source, bytes: dropping.bytes });
                }
                Ok(Moved::Kept(bytes))
            }
            Ok(other) => Ok(other),
            Err(error) if is_of_pipe(&error) => Err(error),
            Err(error) => {
                self.open = None;
                let retry_at = Instant::now() + RETRY_INTERVAL;
                match &mut self.dropping {
                    Some(dropping) => dropping.retry_at = retry_at,
                    None => {
                        self.dropping = Some(Dropping { bytes: 0, retry_at });
                        let cause = format!("{}: {error}", self.path.display());
                        notice(OutputNotice::Dropping { source: self.source, cause });
                    }
                }
                self.drop_some(pipe)
            }
        }
    }

    /// How much was dropped and not told of yet, at the end of a run.
    pub(crate) fn finish(&mut self) -> Option<OutputNotice> {
        let dropping = self.dropping.take()?;
        Some(OutputNotice::Resumed { source: self.source, bytes: dropping.bytes })
    }

    /// The last lines that this run wrote.
    pub(crate) fn tail(&self) -> Vec<String> {
        last_lines(&self.path, self.begins_at).unwrap_or_default()
    }

    fn keep(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Moved> {
        self.make_ready()?;
        let moved = if self.shelf.config.timestamps { self.move_lines(pipe)? } else { self.move_bytes(pipe)? };
        Ok(if moved == 0 { Moved::End } else { Moved::Kept(moved) })
    }

    fn move_bytes(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(open) = &mut self.open else { return Err(io::Error::from(io::ErrorKind::NotConnected)) };
        let moved = open.take(pipe, STEP_BYTES_MAX)?;
        open.bytes = open.bytes.saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
        Ok(moved)
    }

    /// Moves whole lines, each after its time, and the beginning of one that is not finished.
    fn move_lines(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let seen = self.peek(pipe)?;
        let Some(open) = &mut self.open else { return Err(io::Error::from(io::ErrorKind::NotConnected)) };
        let mut moved: usize = 0;
        for line in seen.split_inclusive(|byte| *byte == b'\n') {
            if !open.is_line_begun {
                open.write_time(&*self.clock)?;
            }
            let mut left = line.len();
            while left > 0 {
                let taken = open.take(pipe, left)?;
                open.is_line_begun = true;
                open.bytes = open.bytes.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
                left = left.saturating_sub(taken.max(1));
                moved = moved.saturating_add(taken);
            }
            open.is_line_begun = line.last() != Some(&b'\n');
        }
        Ok(moved)
    }

    /// What is in the pipe, which stays there.
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
        self.buffer.resize(PEEK_BYTES_MAX, 0);
        let bytes = rustix::io::read(pipe, self.buffer.as_mut_slice())?;
        if bytes == 0 {
            return Ok(Moved::End);
        }
        if let Some(dropping) = &mut self.dropping {
            dropping.bytes = dropping.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        Ok(Moved::Dropped(bytes))
    }

    /// Opens the file, or another one when it is full, old, or not there any more.
    fn make_ready(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            let config = &self.shelf.config;
            let age_ns = self.clock.now().wall_ns.saturating_sub(open.since_wall_ns);
            let is_old = u128::try_from(age_ns).is_ok_and(|age| age >= config.rotate_age.as_nanos());
            if open.bytes > 0 && (open.bytes >= self.shelf.rotate_bytes() || is_old) {
                self.rotate()?;
            } else if open.is_gone()? {
                self.open = None;
            }
        }
        if self.open.is_none() {
            let now_ns = self.clock.now().wall_ns;
            self.open = Some(Open::new(&self.path, now_ns, self.shelf.config.timestamps)?);
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let generation = rotated(&self.path)?.last().map_or(0, |last| last.generation).saturating_add(1);
        self.open = None;
        fs::rename(&self.path, rotated_path(&self.path, generation))?;
        self.begins_at = 0;
        let shelf = Arc::clone(&self.shelf);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || shelf.settle())),
            Err(_) => shelf.settle(),
        }
        Ok(())
    }
}

impl Open {
    fn new(path: &std::path::Path, now_ns: i64, timestamps: bool) -> io::Result<Self> {
        let mut file = open_for_writing(path)?;
        let mut bytes = file.seek(SeekFrom::End(0))?;
        let mut is_line_begun = false;
        if timestamps && bytes > 0 {
            let end = last_bytes(&file, bytes)?;
            let begun = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            is_line_begun = !begun.is_empty();
            if is_time(begun) {
                // Whoever wrote it was killed before its line came after it.
                bytes = bytes.saturating_sub(u64::try_from(TIME_BYTES).unwrap_or(0));
                file.set_len(bytes)?;
                file.seek(SeekFrom::Start(bytes))?;
                is_line_begun = false;
            }
        }
        let modified = file.metadata()?.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let since = modified.and_then(|since| i64::try_from(since.as_nanos()).ok());
        Ok(Self { file, bytes, since_wall_ns: since.unwrap_or(now_ns), is_line_begun, copies: false })
    }

    /// Whether nobody else finds the file any more: what is written to it then is lost.
    fn is_gone(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstat(&self.file)?.st_nlink == 0)
    }

    /// Takes up to `bytes` out of the pipe and adds them to the file.
    fn take(&mut self, pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        if !self.copies {
            match splice(pipe, None, self.file.as_fd(), None, bytes, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
                Err(Errno::INVAL) => self.copies = true,
                moved => return Ok(moved?),
            }
        }
        let mut buffer = vec![0; bytes.min(PEEK_BYTES_MAX)];
        let read = rustix::io::read(pipe, buffer.as_mut_slice())?;
        self.file.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }

    fn write_time(&mut self, clock: &dyn Clock) -> io::Result<()> {
        let time = format!("{} ", clock.now().wall().to_rfc3339_opts(SecondsFormat::Millis, true));
        if let Err(error) = self.file.write_all(time.as_bytes()) {
            // Half a time would be taken for a line.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(time.len()).unwrap_or(u64::MAX));
        Ok(())
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

/// Errors that say nothing about the file.
fn is_of_pipe(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
