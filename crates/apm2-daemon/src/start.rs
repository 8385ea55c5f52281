//! The result of a daemon's start. The daemon reports it as one line of JSON on standard output to the client that
//! started it.

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

/// The version of the format of the JSON line.
const VERSION: u32 = 1;

/// Maximum length of the line in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The result of a daemon's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// The daemon listens on its socket.
    Ready,
    /// Another process has the ledger open, so the daemon exits.
    InUse,
    /// The daemon cannot serve, and exits.
    Failed {
        /// The exit code of the daemon.
        code: i32,
        /// The error message.
        message: String,
        /// A hint for the user: what to do next.
        hint: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct StartReport {
    version: u32,
    outcome: StartOutcome,
}

/// Reports the result to the client, and redirects standard output to `/dev/null`. It is no error if the client has
/// ended.
pub fn report(outcome: StartOutcome) {
    let told = || {
        let mut line = serde_json::to_vec(&StartReport { version: VERSION, outcome })?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()?;
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        Ok::<(), io::Error>(dup2_stdout(null)?)
    };
    if let Err(error) = told() {
        tracing::debug!(%error, "could not report the start to the client");
    }
}

/// The progress of a daemon's start, as seen by the client.
pub(crate) enum StartProgress {
    /// The daemon has not reported a result yet.
    Waiting,
    /// The result that the daemon reported.
    Reported(StartOutcome),
    /// The daemon has closed its output without a report, or has sent an invalid report.
    Closed,
}

/// A daemon that has been spawned and has not reported yet.
pub(crate) struct Starting {
    pub(crate) child: Child,
    output: ChildStdout,
    line: Vec<u8>,
}

impl Starting {
    /// Reads the report from the standard output of this child process, which must be a pipe.
    pub(crate) fn new(mut child: Child) -> io::Result<Self> {
        let output = child.stdout.take().ok_or_else(|| io::Error::other("its output is not piped"))?;
        Ok(Self { child, output, line: Vec::new() })
    }

    /// Waits for the report, at most for `max`.
    pub(crate) fn progress(&mut self, max: Duration) -> io::Result<StartProgress> {
        let timeout = Timespec::try_from(max).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(StartProgress::Waiting),
            polled => polled?,
        };
        let mut bytes = [0; 4096];
        let count = match self.output.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(StartProgress::Waiting),
            read => read?,
        };
        self.line.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if count == 0 || self.line.len() > LINE_BYTES_MAX {
            return Ok(StartProgress::Closed);
        }
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else { return Ok(StartProgress::Waiting) };
        let line = self.line.get(..end).unwrap_or_default();
        let told = serde_json::from_slice::<StartReport>(line).ok().filter(|line| line.version == VERSION);
        Ok(told.map_or(StartProgress::Closed, |line| StartProgress::Reported(line.outcome)))
    }
}
