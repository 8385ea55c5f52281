//! The output of the process to ours, byte for byte, and our remarks between it.
//!
//! One thread writes, so that a remark about an exit stands behind the last output before it. An output of ours that
//! breaks is given up on, and the process never notices.

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

/// How long is waited at most before the files are looked at again.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Where the files end now: what comes after it is the run's.
pub(crate) struct Places(Vec<(OutputSource, PathBuf, LogPosition)>);

impl Places {
    /// The ends of these files. To be taken before the run begins.
    pub(crate) fn end_of(files: &LogFiles) -> io::Result<Self> {
        let place =
            |(source, path): (OutputSource, &std::path::Path)| Ok((source, path.to_owned(), LogReader::end(path)?));
        files.all().map(place).collect::<io::Result<_>>().map(Self)
    }
}

/// What the writing thread is told.
enum Word {
    /// Say this, once all output that is there is written.
    Remark(String),
    /// Nothing more will come: write what is there, and end.
    Finish,
}

/// The thread that writes to our outputs.
pub(crate) struct Output {
    words: Sender<Word>,
    waker: Waker,
    /// Ended by the thread when it is through.
    through: Receiver<()>,
}

impl Output {
    /// Begins to write what comes into the files.
    pub(crate) fn start(places: Places) -> io::Result<Self> {
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

    /// Leaves one line to be said; `text` is escaped already.
    pub(crate) fn remark(&self, text: String) {
        // A thread that has ended says nothing any more.
        let _ = self.words.send(Word::Remark(text));
        self.waker.wake();
    }

    /// Tells that nothing more will come.
    pub(crate) fn finish(&self) {
        let _ = self.words.send(Word::Finish);
        self.waker.wake();
    }

    /// Waits until all is written, for `limit` at most; whether it is.
    pub(crate) fn is_through_in(&self, limit: Duration) -> bool {
        // Nothing is ever sent: the end of the channel is the message.
        self.through.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

fn write_all(places: Places, told: &Receiver<Word>, watch: &mut FileWatch) -> io::Result<()> {
    let mut stdout: Outlet<io::Stdout> = Outlet(Some(io::stdout()));
    let mut stderr: Outlet<io::Stderr> = Outlet(Some(io::stderr()));
    let open = |(source, path, position): (OutputSource, PathBuf, LogPosition)| {
        Ok((source, LogReader::from_position(&path, position)?))
    };
    let mut readers = places.0.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
    loop {
        let word = told.try_recv();
        // Output first: what a run wrote is in the files before anything is remarked on its end.
        for (source, reader) in &mut readers {
            copy_all(*source, reader, &mut stdout, &mut stderr)?;
        }
        match word {
            Ok(Word::Remark(text)) => {
                stderr.write(format!("{PREFIX}{text}\n").as_bytes());
            }
            Ok(Word::Finish) | Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => watch.wait(LOOK_MAX),
        }
    }
}

fn copy_all(
    source: OutputSource,
    reader: &mut LogReader,
    stdout: &mut Outlet<io::Stdout>,
    stderr: &mut Outlet<io::Stderr>,
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

/// One of our outputs; `None` once it is broken.
struct Outlet<W>(Option<W>);

impl<W: Write> Outlet<W> {
    /// Writes all of `bytes`, or nothing any more. Returns the error that broke it, once, unless it is just that its
    /// reader has gone.
    fn write(&mut self, bytes: &[u8]) -> Option<io::Error> {
        let out = self.0.as_mut()?;
        let error = out.write_all(bytes).and_then(|()| out.flush()).err()?;
        self.0 = None;
        (error.kind() != io::ErrorKind::BrokenPipe).then_some(error)
    }
}
