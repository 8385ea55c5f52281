//! The log of the daemon itself: `daemon.log` in the ledger directory, which is the standard error of a daemon that a
//! client has started. A thread writes the lines, so that a disk that hangs blocks only the log. The file is rotated
//! while the daemon runs; one old file is kept.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use apm2_ledger::file;
use rustix::{fs::fstat, stdio::dup2_stderr};

/// The name of the log file in the ledger directory.
pub const LOG_FILE: &str = "daemon.log";

/// The name of the rotated log file. An older rotated file is replaced.
const OLD_FILE: &str = "daemon.log.1";

/// The size at which the log is rotated, in bytes.
pub(crate) const LOG_BYTES_MAX: u64 = 1 << 20;

/// Maximum number of queued lines. When the queue is full, further lines are dropped and counted.
const LINES_WAITING_MAX: usize = 1024;

/// Timeout for the flush of the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Interval between two attempts to request a flush while the queue is full.
const FLUSH_POLL: Duration = Duration::from_millis(5);

enum Task {
    Write(Vec<u8>),
    /// A request to signal the sender when all earlier lines are written.
    Flush(SyncSender<()>),
}

/// A handle for writing to the log. Clones use the same queue.
#[derive(Clone)]
pub struct DaemonLog {
    tasks: SyncSender<Task>,
    dropped: Arc<AtomicU64>,
}

impl DaemonLog {
    /// Starts the thread that writes to standard error. If standard error is `daemon.log` in `dir`, the file is
    /// rotated.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(dir: &Path) -> io::Result<Self> {
        let (tasks, received) = sync_channel(LINES_WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = LogFileWriter { path: dir.join(LOG_FILE), dropped: Arc::clone(&dropped) };
        thread::Builder::new().name("apm2-daemon-log".to_owned()).spawn(move || writer.run(&received))?;
        Ok(Self { tasks, dropped })
    }

    /// Waits until the queued lines are written, but not longer than a second.
    pub fn flush(&self) {
        let began = Instant::now();
        let (done, told) = sync_channel(1);
        let mut task = Task::Flush(done);
        // The queue is full if the disk hangs, so the wait is limited.
        while let Err(TrySendError::Full(unsent)) = self.tasks.try_send(task) {
            if began.elapsed() > FLUSH_MAX {
                return;
            }
            task = unsent;
            thread::sleep(FLUSH_POLL);
        }
        let _ = told.recv_timeout(FLUSH_MAX.saturating_sub(began.elapsed()));
    }
}

impl Write for DaemonLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(Task::Write(bytes.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct LogFileWriter {
    path: PathBuf,
    dropped: Arc<AtomicU64>,
}

impl LogFileWriter {
    fn run(&self, tasks: &Receiver<Task>) {
        // A failed write does not end the thread, because the disk may be full only for some time.
        while let Ok(task) = tasks.recv() {
            match task {
                Task::Write(line) => {
                    let _ = io::stderr().write_all(&line);
                }
                Task::Flush(done) => {
                    let _ = done.try_send(());
                }
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let _ = writeln!(io::stderr(), "{dropped} lines were dropped: the disk did not take them in time");
            }
            if let Err(error) = self.rotate_if_due() {
                let _ = writeln!(io::stderr(), "{} cannot be rotated: {error}", self.path.display());
            }
        }
    }

    /// Rotates the log if standard error is the log file, and the file is full or has several hard links.
    fn rotate_if_due(&self) -> io::Result<()> {
        let ours = fstat(io::stderr().as_fd())?;
        let is_named = fs::symlink_metadata(&self.path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (ours.st_dev, ours.st_ino));
        let length = u64::try_from(ours.st_size).unwrap_or_default();
        if !is_named || !is_due_for_rotation(length, ours.st_nlink) {
            return Ok(());
        }
        dup2_stderr(open_rotated(&self.path)?)?;
        Ok(())
    }
}

/// Whether the log file is full, or has several hard links. After `cp -al`, two ledgers would write the same file.
const fn is_due_for_rotation(length: u64, links: u64) -> bool {
    length >= LOG_BYTES_MAX || links > 1
}

/// Opens the log file for appending. A log file that is full or has several hard links is rotated first.
///
/// # Errors
/// The log file cannot be opened or rotated.
pub(crate) fn open_rotated(path: &Path) -> io::Result<File> {
    let is_due = |metadata: fs::Metadata| metadata.is_file() && is_due_for_rotation(metadata.len(), metadata.nlink());
    if fs::symlink_metadata(path).is_ok_and(is_due) {
        fs::rename(path, path.with_file_name(OLD_FILE))?;
    }
    file::open_for_appending(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_set_aside_and_one_old_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG_FILE);
        let full = vec![b'x'; usize::try_from(LOG_BYTES_MAX).unwrap()];
        for round in 0..3 {
            open_rotated(&path).unwrap().write_all(&full).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), LOG_BYTES_MAX);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), if round == 0 { 1 } else { 2 });
        }
        open_rotated(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(dir.path().join(OLD_FILE)).unwrap().len(), LOG_BYTES_MAX);
    }

    #[test]
    fn a_log_with_several_hard_links_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join(LOG_FILE), dir.path().join("copy"));
        open_rotated(&path).unwrap().write_all(b"old").unwrap();
        fs::hard_link(&path, &copy).unwrap();
        open_rotated(&path).unwrap().write_all(b"new").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(&copy), read(&dir.path().join(OLD_FILE)), read(&path)),
            ("old".into(), "old".into(), "new".into())
        );
    }

    #[test]
    fn lines_that_wait_are_waited_for_when_there_is_no_room_for_more() {
        let (tasks, received) = sync_channel(1);
        let log = DaemonLog { tasks, dropped: Arc::default() };
        log.tasks.send(Task::Write(Vec::new())).unwrap();
        let writer = thread::spawn(move || {
            // The pause is so long that the flush begins before the queue has room.
            thread::sleep(FLUSH_POLL * 4);
            received.iter().any(|task| matches!(task, Task::Flush(_)))
        });
        log.flush();
        drop(log);
        assert!(writer.join().unwrap());
    }
}
