//! Copies the output of the command to the outputs of `run`, byte for byte, and prints messages in between.
//!
//! One thread writes everything, so that a message about an exit follows the last output before the exit. After a write
//! error, `run` does not write to this output any more. The command is not affected.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use apm2_core::{
    log::{LogFiles, LogItem, LogPosition, LogReader},
    notify::{FileWatch, Waker},
};
use apm2_model::event::kind::OutputSource;

use crate::error::PREFIX;

/// Longest wait before the log files are read again.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// The sizes of the log files before the run. Output after these positions belongs to the run.
pub(crate) struct LogPositions(Vec<(OutputSource, PathBuf, LogPosition)>);

impl LogPositions {
    /// Reads the sizes of the log files. Must be called before the run is requested.
    pub(crate) fn end_of(files: &LogFiles) -> io::Result<Self> {
        let place =
            |(source, path): (OutputSource, &std::path::Path)| Ok((source, path.to_owned(), LogReader::end(path)?));
        files.all().map(place).collect::<io::Result<_>>().map(Self)
    }
}

/// A message to the writing thread.
enum OutputMessage {
    /// Print this text after all output that exists now.
    Remark(String),
    /// No more output will follow: write the remaining output and end.
    Finish,
}

/// The thread that writes to stdout and stderr of `run`.
pub(crate) struct OutputThread {
    words: Sender<OutputMessage>,
    waker: Waker,
    /// The channel is disconnected when the thread ends.
    through: Receiver<()>,
}

impl OutputThread {
    /// Starts the thread, which copies the data that is appended to the log files.
    pub(crate) fn start(places: LogPositions) -> io::Result<Self> {
        let (words, told) = channel();
        let (done, through) = channel::<()>();
        let mut watch = FileWatch::new()?;
        for (_, path, _) in &places.0 {
            watch.add_file(path);
        }
        let waker = watch.waker();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            if let Err(error) = write_all(places, &told, &mut watch) {
                let _ = writeln!(io::stderr(), "{PREFIX}the log files cannot be read: {error}");
            }
            drop(done);
        })?;
        Ok(Self { words, waker, through })
    }

    /// Queues one line for stderr. `text` must be escaped already.
    pub(crate) fn remark(&self, text: String) {
        // Sending fails when the thread has ended. The line is then dropped.
        let _ = self.words.send(OutputMessage::Remark(text));
        self.waker.wake();
    }

    /// Marks the end of the output.
    pub(crate) fn finish(&self) {
        let _ = self.words.send(OutputMessage::Finish);
        self.waker.wake();
    }

    /// Waits until everything is written, at most for `limit`. Returns whether everything was written.
    pub(crate) fn is_through_in(&self, limit: Duration) -> bool {
        // No value is ever sent; the channel disconnects when the thread ends.
        self.through.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

fn write_all(places: LogPositions, told: &Receiver<OutputMessage>, watch: &mut FileWatch) -> io::Result<()> {
    let mut stdout: OutputWriter<io::Stdout> = OutputWriter(Some(io::stdout()));
    let mut stderr: OutputWriter<io::Stderr> = OutputWriter(Some(io::stderr()));
    let open = |(source, path, position): (OutputSource, PathBuf, LogPosition)| {
        Ok((source, LogReader::from_position(&path, position)?))
    };
    let mut readers = places.0.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
    loop {
        let word = told.try_recv();
        // The output is copied first: the output of a run is in the log files before its exit is reported.
        for (source, reader) in &mut readers {
            copy_all(*source, reader, &mut stdout, &mut stderr)?;
        }
        match word {
            Ok(OutputMessage::Remark(text)) => {
                stderr.write(format!("{PREFIX}{text}\n").as_bytes());
            }
            Ok(OutputMessage::Finish) | Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => watch.wait(LOOK_MAX),
        }
    }
}

fn copy_all(
    source: OutputSource,
    reader: &mut LogReader,
    stdout: &mut OutputWriter<io::Stdout>,
    stderr: &mut OutputWriter<io::Stderr>,
) -> io::Result<()> {
    loop {
        match reader.next_item()? {
            LogItem::End => return Ok(()),
            LogItem::Gap(files) => {
                let gap = format!("{PREFIX}{files} log files were rotated away before they were read\n");
                stderr.write(gap.as_bytes());
            }
            LogItem::Bytes(bytes) if source == OutputSource::Stderr => {
                stderr.write(bytes);
            }
            LogItem::Bytes(bytes) => {
                if let Some(error) = stdout.write(bytes) {
                    let lost = format!("{PREFIX}stdout is lost from here on: {error}\n");
                    stderr.write(lost.as_bytes());
                }
            }
        }
    }
}

/// Stdout or stderr of `run`; `None` after a write error.
struct OutputWriter<W>(Option<W>);

impl<W: Write> OutputWriter<W> {
    /// Writes `bytes`, unless an earlier write failed. Returns the first write error, except EPIPE.
    fn write(&mut self, bytes: &[u8]) -> Option<io::Error> {
        let out = self.0.as_mut()?;
        let error = out.write_all(bytes).and_then(|()| out.flush()).err()?;
        self.0 = None;
        (error.kind() != io::ErrorKind::BrokenPipe).then_some(error)
    }
}
