//! The client's side: finding the daemon, starting one, asking it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::{Event, Stream};
use apm2_ledger::record::{decode_event, decode_stream};

pub use crate::error::ClientError;
use crate::{
    address::{DAEMON_SOCKET, connect},
    frame::{Frame, LENGTH_BYTES},
    protocol::{Answer, Call, Outcome, PROTOCOL_VERSION, Reply, Request},
};

/// How long the daemon may be silent. It says that it is alive more often than that.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long a daemon may take to begin.
const START_MAX: Duration = Duration::from_secs(15);

/// How often it is looked for meanwhile.
const START_POLL: Duration = Duration::from_millis(5);

/// Where a daemon that a client started says what it has to say, in the ledger's directory.
pub const LOG_FILE: &str = "daemon.log";

/// What is quoted of it when the daemon does not begin, in bytes.
const LOG_BYTES_QUOTED_MAX: usize = 2000;

/// The size above which it is begun anew.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// A connection to a daemon, for one call.
pub struct Client {
    stream: UnixStream,
}

/// What comes back from a call.
#[derive(Debug)]
pub enum Received {
    /// One thing is done.
    Progress(Outcome),
    /// Bytes: an event or a fold.
    Bytes(Vec<u8>),
    /// An answer, and more to come.
    Answer(Answer),
    /// The last answer.
    Done(Answer),
}

impl Client {
    /// Connects to the daemon of the ledger in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn connect(dir: &Path) -> io::Result<Option<Self>> {
        let Some(stream) = connect(dir, DAEMON_SOCKET)? else { return Ok(None) };
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Some(Self { stream }))
    }

    /// Connects to the daemon of the ledger in `dir`, and starts one with `command` where there is none.
    ///
    /// Of several that are started at the same time one gets the ledger; the others leave, and their clients find it.
    ///
    /// # Errors
    /// When none begins in time, with what it had to say.
    pub fn connect_or_start(dir: &Path, command: &[String]) -> Result<Self, ClientError> {
        if let Some(client) = Self::connect(dir).map_err(ClientError::Gone)? {
            return Ok(client);
        }
        let failed = |why: String| ClientError::NotStarted { dir: dir.to_owned(), why };
        let mut child = start(dir, command).map_err(|error| failed(error.to_string()))?;
        let began = Instant::now();
        let mut left = None;
        loop {
            if let Some(client) = Self::connect(dir).map_err(ClientError::Gone)? {
                // Reaped by whoever waits for it: it outlives us.
                thread::spawn(move || child.wait());
                return Ok(client);
            }
            if left.is_none() {
                left = child.try_wait().ok().flatten().map(|_| Instant::now());
            }
            // One that has left may have left the ledger to another, who is about to listen.
            let is_lost = left.is_some_and(|left| left.elapsed() > START_MAX / 5);
            if is_lost || began.elapsed() > START_MAX {
                return Err(failed(quoted(dir)));
            }
            thread::sleep(START_POLL);
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn ask(
        &mut self,
        request: Request,
        reason: Option<String>,
        terminal: Option<String>,
    ) -> Result<(), ClientError> {
        let call = Call { version: PROTOCOL_VERSION, reason, terminal, request };
        let body = serde_json::to_vec(&call).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let bytes = Frame::Json(body).to_bytes().map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.stream.write_all(&bytes).map_err(ClientError::Gone)
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the daemon says no, is gone, or hangs.
    pub fn receive(&mut self) -> Result<Received, ClientError> {
        loop {
            let body = match self.frame().map_err(ClientError::Gone)? {
                Frame::Raw(bytes) => return Ok(Received::Bytes(bytes)),
                Frame::Json(body) => body,
            };
            let reply = serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(error.to_string()))?;
            return match reply {
                Reply::Alive => continue,
                Reply::Progress(outcome) => Ok(Received::Progress(outcome)),
                Reply::Answer(answer) => Ok(Received::Answer(answer)),
                Reply::Done(answer) => Ok(Received::Done(answer)),
                Reply::Failed { kind, message, hint } => Err(ClientError::Refused { kind, message, hint }),
            };
        }
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; Frame::length(length)?];
        self.stream.read_exact(&mut body)?;
        Frame::from_body(body)
    }
}

/// The event in these bytes.
///
/// # Errors
/// When it is none that this version knows.
pub fn event(bytes: &[u8]) -> Result<Event, ClientError> {
    let (seq, record) = bytes.split_first_chunk().ok_or_else(|| ClientError::Protocol("a short event".to_owned()))?;
    decode_event(u64::from_be_bytes(*seq), record).map_err(|error| ClientError::Protocol(error.to_string()))
}

/// The fold in these bytes.
///
/// # Errors
/// When it is none that this version knows.
pub fn stream(bytes: &[u8]) -> Result<Stream, ClientError> {
    decode_stream(bytes).map_err(|error| ClientError::Protocol(error.to_string()))
}

/// Starts a daemon of its own session, which says what it has to say in a file.
fn start(dir: &Path, command: &[String]) -> io::Result<std::process::Child> {
    let (program, args) = command.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let path = dir.join(LOG_FILE);
    let is_long = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX);
    let log = OpenOptions::new()
        .append(!is_long)
        .write(true)
        .truncate(is_long)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    // A group of its own for now: the daemon makes itself a session.
    Command::new(program)
        .args(args)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn()
}

/// The last that a daemon said.
fn quoted(dir: &Path) -> String {
    let bytes = std::fs::read(dir.join(LOG_FILE)).unwrap_or_default();
    let last = bytes.get(bytes.len().saturating_sub(LOG_BYTES_QUOTED_MAX)..).unwrap_or_default();
    let text = String::from_utf8_lossy(last);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| "it said nothing".to_owned(), str::to_owned)
}
