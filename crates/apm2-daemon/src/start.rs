//! How the start of a daemon went, as the daemon tells the client that started it: one line of JSON on its standard output.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    process::{Child, ChildStdout},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    stdio::dup2_stdout,
};
use serde::{Deserialize, Serialize};

/// The version of the line.
const VERSION: u32 = 1;

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// It listens.
    Ready,
    /// Another process has the ledger open.
    InUse,
    /// It cannot serve, and leaves.
    Failed {
        /// The code that it leaves with.
        code: i32,
        /// Why.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    outcome: StartOutcome,
}

/// Tells the client how the start went, and closes standard output. A client that is gone need not be told.
pub fn report(outcome: StartOutcome) {
    let told = || {
        let mut line = serde_json::to_vec(&Line { version: VERSION, outcome })?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()?;
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        Ok::<(), io::Error>(dup2_stdout(null)?)
    };
    if let Err(error) = told() {
        tracing::debug!(%error, "the client does not hear how the start went");
    }
}

/// What is known of a daemon that is starting.
pub(crate) enum Progress {
    /// Nothing yet.
    Waiting,
    /// How it went.
    Reported(StartOutcome),
    /// It has closed its output without a word.
    Closed,
}

/// A daemon that is starting.
pub(crate) struct Starting {
    pub(crate) child: Child,
    output: ChildStdout,
    line: Vec<u8>,
}

impl Starting {
    /// A child just spawned, with its standard output piped.
    pub(crate) fn new(mut child: Child) -> io::Result<Self> {
        let output = child.stdout.take().ok_or_else(|| io::Error::other("its output is not piped"))?;
        Ok(Self { child, output, line: Vec::new() })
    }

    /// Waits for at most `max` for what it has to say.
    pub(crate) fn progress(&mut self, max: Duration) -> io::Result<Progress> {
        let timeout = Timespec::try_from(max).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Progress::Waiting),
            polled => polled?,
        };
        let mut bytes = [0; 4096];
        let count = match self.output.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Progress::Waiting),
            read => read?,
        };
        self.line.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if count == 0 || self.line.len() > LINE_BYTES_MAX {
            return Ok(Progress::Closed);
        }
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else { return Ok(Progress::Waiting) };
        let line = self.line.get(..end).unwrap_or_default();
        let told = serde_json::from_slice::<Line>(line).ok().filter(|line| line.version == VERSION);
        Ok(told.map_or(Progress::Closed, |line| Progress::Reported(line.outcome)))
    }
}
