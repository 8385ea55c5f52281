//! The client's side: finding the daemon, starting one, asking it.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        net::UnixStream,
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::{Event, Stream, allowed_variables, detach};
use apm2_ledger::{
    OpenError, check_private,
    record::{decode_event, decode_stream},
};
use nix::unistd::{Uid, geteuid};
use rustix::net::sockopt::socket_peercred;

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

/// The exit code of a daemon that found the ledger in use.
const IN_USE_CODE: i32 = 5;

/// How long the other one may take until it listens, before it is tried again.
const OTHER_MAX: Duration = Duration::from_secs(1);

/// How long another one may take to leave, with all that it stops.
const LEAVING_MAX: Duration = Duration::from_secs(45);

/// How often it is looked for meanwhile.
const START_POLL: Duration = Duration::from_millis(5);

/// Where a daemon that a client started says what it has to say, in the ledger's directory.
pub const LOG_FILE: &str = "daemon.log";

/// What is quoted of it when the daemon does not begin, in bytes.
const LOG_BYTES_QUOTED_MAX: u64 = 4096;

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
    /// When the directory is not a ledger's as it has to be, or the socket cannot be used, or is another user's.
    pub fn connect(dir: &Path) -> Result<Option<Self>, ClientError> {
        // What is asked for may hold secrets: it is told to nobody but the owner of a ledger that is closed to others.
        match check_private(dir) {
            Err(OpenError::Missing { .. }) => return Ok(None),
            checked => checked?,
        }
        let Some(stream) = connect(dir, DAEMON_SOCKET).map_err(ClientError::Gone)? else { return Ok(None) };
        Self::of(stream).map(Some).map_err(ClientError::Gone)
    }

    fn of(stream: UnixStream) -> io::Result<Self> {
        let uid = Uid::from_raw(socket_peercred(&stream)?.uid.as_raw());
        if uid != geteuid() && !uid.is_root() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is user {uid}'s")));
        }
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Self { stream })
    }

    /// Connects to the daemon of the ledger in `dir`, and starts one with `command` where there is none.
    ///
    /// Of several that are started at the same time one gets the ledger; the others leave, and their clients find it.
    ///
    /// # Errors
    /// When none begins in time, with what it had to say.
    pub fn connect_or_start(dir: &Path, command: &[OsString]) -> Result<Self, ClientError> {
        if let Some(client) = Self::connect(dir)? {
            return Ok(client);
        }
        let failed = |code, why: Vec<String>| ClientError::NotStarted { code, why };
        let said_before = fs::metadata(dir.join(LOG_FILE)).map_or(0, |metadata| metadata.len());
        let mut child = start(dir, command).map_err(|error| failed(None, vec![error.to_string()]))?;
        let began = Instant::now();
        let mut left: Option<(Instant, ExitStatus)> = None;
        loop {
            if let Some(client) = Self::connect(dir)? {
                // Reaped by whoever waits for it: it outlives us.
                thread::spawn(move || child.wait());
                return Ok(client);
            }
            if left.is_none() {
                left = child.try_wait().ok().flatten().map(|status| (Instant::now(), status));
            }
            let is_in_use = left.is_some_and(|(_, status)| status.code() == Some(IN_USE_CODE));
            // One that has left because the ledger is another's leaves it to that one, who is about to listen, or to leave.
            if is_in_use && left.is_some_and(|(at, _)| at.elapsed() > OTHER_MAX) && began.elapsed() < LEAVING_MAX {
                child = start(dir, command).map_err(|error| failed(None, vec![error.to_string()]))?;
                left = None;
                continue;
            }
            let time_max = if is_in_use { LEAVING_MAX } else { START_MAX };
            if (left.is_some() && !is_in_use) || began.elapsed() > time_max {
                return Err(failed(left.and_then(|(_, status)| status.code()), said_since(dir, said_before)));
            }
            thread::sleep(START_POLL);
        }
    }

    /// Waits only so long for the daemon to say something. A zero is refused.
    ///
    /// # Errors
    /// When the socket cannot be told.
    pub fn patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
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
fn start(dir: &Path, command: &[OsString]) -> io::Result<std::process::Child> {
    let (program, args) = command.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let path = dir.join(LOG_FILE);
    let is_long = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX);
    let log = OpenOptions::new()
        .append(!is_long)
        .write(true)
        .truncate(is_long)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    let mut command = Command::new(program);
    // It outlives us, and serves others than us: it leads a session of its own and inherits no descriptor, no variable but
    // those that say where things are, and no terminal. What is left is given up when it begins (`reset_inherited`).
    command
        .args(args)
        .env_clear()
        .envs(allowed_variables())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    detach(&mut command);
    command.spawn()
}

/// What a daemon said after the first `before` bytes of its file.
fn said_since(dir: &Path, before: u64) -> Vec<String> {
    let said = || {
        let mut file = File::open(dir.join(LOG_FILE))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(if length < before { 0 } else { before }))?;
        let mut text = String::new();
        file.take(LOG_BYTES_QUOTED_MAX).read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    said().unwrap_or_default().lines().map(str::to_owned).collect()
}
