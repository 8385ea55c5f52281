//! The client of a daemon. It finds or starts the daemon, and makes calls.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::{
        fd::BorrowedFd,
        unix::{fs::DirBuilderExt as _, net::UnixStream},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use apm2_core::process::{allowed_variables, detach};
use apm2_ledger::{
    OpenError, check_private, file,
    record::{decode_event, decode_stream},
};
use apm2_model::{event::Event, state::stream::Stream};

use crate::{
    address::{DAEMON_SOCKET, connect},
    descriptor,
    frame::{LENGTH_BYTES, SocketFrame},
    log_file::open_rotated,
    owner::{Owner, Ownership, SOCKET_MAX, SOCKET_POLL, may_be_owner, ownership},
    peer::{is_in_another_namespace, is_trusted, peer_pid, peer_uid},
    protocol::{Call, CallAnswer, ClientRequest, DaemonReply, Outcome, PROTOCOL_VERSION},
    start::{StartOutcome, StartProgress, Starting},
};

pub use crate::{error::ClientError, log_file::LOG_FILE};

/// Timeout for an answer. A working daemon sends [`DaemonReply::Alive`] more often.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Timeout for the start of a daemon, which reads the ledger and recovers processes. A daemon that exceeds the timeout
/// is not killed.
const START_MAX: Duration = Duration::from_secs(60);

/// How long the client waits for another starting daemon to listen, before it starts a daemon again.
const OTHER_MAX: Duration = Duration::from_secs(1);

/// How long the client waits for another daemon to shut down, including the stops of all its processes.
const LEAVING_MAX: Duration = Duration::from_secs(45);

/// Interval between two attempts to connect.
const START_POLL: Duration = Duration::from_millis(5);

/// Maximum number of bytes of the log that are quoted when a start fails.
const LOG_BYTES_QUOTED_MAX: u64 = 4096;

/// A connection to a daemon, for a single call.
pub struct Client {
    stream: UnixStream,
}

/// A message that the daemon sent.
#[derive(Debug)]
pub enum Received {
    /// The outcome of the call for one process.
    Progress(Outcome),
    /// The bytes of an encoded event or of an encoded stream state.
    Bytes(Vec<u8>),
    /// An answer that is followed by more messages.
    Answer(CallAnswer),
    /// The last answer of the call.
    Done(CallAnswer),
}

impl Client {
    /// Connects to the daemon of the ledger in `dir`; `None` when no daemon runs.
    ///
    /// # Errors
    /// The permissions of the directory are unsafe, the socket cannot be used, or the socket belongs to another user.
    pub fn connect(dir: &Path) -> Result<Option<Self>, ClientError> {
        // A call may contain secrets, so it is sent only if the directory is private to its owner.
        match check_private(dir) {
            Err(OpenError::Missing { .. }) => return Ok(None),
            checked => checked?,
        }
        let Some(stream) = connect(dir, DAEMON_SOCKET).map_err(ClientError::Gone)? else { return Ok(None) };
        let uid = peer_uid(&stream).map_err(ClientError::Gone)?;
        if !is_trusted(uid) {
            return Err(ClientError::Foreign { uid: uid.as_raw() });
        }
        // In a hard-linked copy of the ledger directory, the socket file is that of the original directory and leads to
        // the daemon of the original.
        if !may_be_owner(dir, peer_pid(&stream)).map_err(ClientError::Gone)? {
            return Ok(None);
        }
        stream.set_read_timeout(Some(SILENCE_MAX)).map_err(ClientError::Gone)?;
        stream.set_write_timeout(Some(SILENCE_MAX)).map_err(ClientError::Gone)?;
        Ok(Some(Self { stream }))
    }

    /// Like [`Self::connect`], for a call that starts a process: fails if the daemon is in another pid namespace, where the
    /// process would be started.
    fn connect_near(dir: &Path) -> Result<Option<Self>, ClientError> {
        let client = Self::connect(dir)?;
        let is_far = |client: &Self| is_in_another_namespace(&client.stream).map_err(ClientError::Gone);
        match client {
            Some(client) if is_far(&client)? => Err(ClientError::OtherNamespace),
            client => Ok(client),
        }
    }

    /// Connects to the daemon of the ledger in `dir`. If no daemon runs, starts one with `command`.
    ///
    /// If several daemons are started at the same time, one gets the lock of the ledger; the others exit, and their
    /// clients connect to it. A daemon that cannot serve reports its error at once.
    ///
    /// # Errors
    /// No daemon listens in time. The error contains the report of the daemon, if there is one.
    pub fn connect_or_start(dir: &Path, command: &[OsString]) -> Result<Self, ClientError> {
        if let Some(client) = Self::connect_near(dir)? {
            return Ok(client);
        }
        let began = Instant::now();
        let mut attempt = Attempt::begin(dir, command)?;
        loop {
            if let Some(client) = Self::connect_near(dir)? {
                attempt.end(peer_pid(&client.stream));
                return Ok(client);
            }
            attempt = attempt.go_on(dir, command, began)?;
        }
    }

    /// Sets the timeout for each read and write. A timeout of zero is an error.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))?;
        self.stream.set_write_timeout(Some(timeout))
    }

    /// Sends a call.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn ask(
        &mut self,
        request: ClientRequest,
        reason: Option<String>,
        terminal: Option<String>,
    ) -> Result<(), ClientError> {
        let bytes = call_bytes(request, reason, terminal)?;
        self.stream.write_all(&bytes).map_err(ClientError::Gone)
    }

    /// Sends a call together with a file descriptor (`SCM_RIGHTS`, unix(7)).
    ///
    /// # Errors
    /// The connection is closed.
    pub fn ask_with(
        &mut self,
        request: ClientRequest,
        descriptor: BorrowedFd<'_>,
        reason: Option<String>,
        terminal: Option<String>,
    ) -> Result<(), ClientError> {
        let bytes = call_bytes(request, reason, terminal)?;
        let sent = descriptor::send(&self.stream, &bytes, descriptor).map_err(ClientError::Gone)?;
        self.stream.write_all(bytes.get(sent..).unwrap_or_default()).map_err(ClientError::Gone)
    }

    /// Receives the next message.
    ///
    /// # Errors
    /// The call has failed, the connection is closed, or the daemon does not answer within the timeout.
    pub fn receive(&mut self) -> Result<Received, ClientError> {
        loop {
            let body = match self.frame().map_err(|error| ClientError::Gone(in_words(error)))? {
                SocketFrame::Raw(bytes) => return Ok(Received::Bytes(bytes)),
                SocketFrame::Json(body) => body,
            };
            let reply = serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(error.to_string()))?;
            return match reply {
                DaemonReply::Alive => continue,
                DaemonReply::Progress(outcome) => Ok(Received::Progress(outcome)),
                DaemonReply::Answer(answer) => Ok(Received::Answer(answer)),
                DaemonReply::Done(answer) => Ok(Received::Done(answer)),
                DaemonReply::Failed { is_leaving: true, .. } => Err(ClientError::Leaving),
                DaemonReply::Failed { kind, message, hint, .. } => Err(ClientError::Refused { kind, message, hint }),
            };
        }
    }

    fn frame(&mut self) -> io::Result<SocketFrame> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; SocketFrame::length(length)?];
        self.stream.read_exact(&mut body)?;
        SocketFrame::from_body(body)
    }
}

/// Encodes the frame of a call.
fn call_bytes(
    request: ClientRequest,
    reason: Option<String>,
    terminal: Option<String>,
) -> Result<Vec<u8>, ClientError> {
    let call = Call { version: PROTOCOL_VERSION, reason, terminal, request };
    let body = serde_json::to_vec(&call).map_err(|error| ClientError::Protocol(error.to_string()))?;
    SocketFrame::Json(body).to_bytes().map_err(|error| ClientError::Protocol(error.to_string()))
}

/// Decodes an event.
///
/// # Errors
/// This version cannot decode the bytes.
pub fn event(bytes: &[u8]) -> Result<Event, ClientError> {
    let (seq, record) = bytes.split_first_chunk().ok_or_else(|| ClientError::Protocol("a short event".to_owned()))?;
    decode_event(u64::from_be_bytes(*seq), record).map_err(|error| ClientError::Protocol(error.to_string()))
}

/// Decodes the state of a stream.
///
/// # Errors
/// This version cannot decode the bytes.
pub fn stream(bytes: &[u8]) -> Result<Stream, ClientError> {
    decode_stream(bytes).map_err(|error| ClientError::Protocol(error.to_string()))
}

/// The state of a client that waits for a daemon to start.
enum Attempt {
    /// A daemon was spawned, and has not reported yet.
    Starting { starting: Starting, since: Instant, log_length: u64 },
    /// Another process has the ledger open, or the spawned daemon has reported that it is ready. This process is about
    /// to listen, or to exit.
    Other { since: Instant },
}

impl Attempt {
    fn begin(dir: &Path, command: &[OsString]) -> Result<Self, ClientError> {
        let log_length = fs::metadata(dir.join(LOG_FILE)).map_or(0, |metadata| metadata.len());
        let starting = start(dir, command).and_then(Starting::new).map_err(|error| ClientError::NotStarted {
            code: None,
            message: format!("no daemon could be started: {error}"),
            hint: None,
        })?;
        Ok(Self::Starting { starting, since: Instant::now(), log_length })
    }

    /// Ends the wait when the daemon with this pid serves. If this client has spawned another daemon that still waits
    /// for the ledger, that daemon is killed: it would start when the serving daemon exits, and would start again the
    /// processes that were stopped.
    fn end(self, pid: Option<u32>) {
        if let Self::Starting { mut starting, .. } = self {
            if pid.is_some_and(|pid| pid != starting.child.id()) {
                // kill(2) fails if the process has ended already. This error is ignored.
                let _ = starting.child.kill();
            }
            reap(starting);
        }
    }

    /// Waits for a short time and updates the state. `began` is the time of the first attempt.
    fn go_on(self, dir: &Path, command: &[OsString], began: Instant) -> Result<Self, ClientError> {
        match self {
            Self::Starting { mut starting, since, log_length } => {
                let progress = starting.progress(START_POLL).map_err(ClientError::Gone)?;
                match progress {
                    StartProgress::Waiting if since.elapsed() > START_MAX => {
                        let pid = starting.child.id();
                        reap(starting);
                        Err(ClientError::StillStarting { pid })
                    }
                    StartProgress::Waiting => Ok(Self::Starting { starting, since, log_length }),
                    StartProgress::Reported(outcome) => {
                        reap(starting);
                        match outcome {
                            StartOutcome::Ready | StartOutcome::InUse => Ok(Self::Other { since: Instant::now() }),
                            StartOutcome::Failed { code, message, hint } => {
                                Err(ClientError::NotStarted { code: Some(code), message, hint })
                            }
                        }
                    }
                    StartProgress::Closed => Err(ended_silently(starting, dir, log_length)),
                }
            }
            Self::Other { since } if since.elapsed() < OTHER_MAX => {
                thread::sleep(START_POLL);
                Ok(self)
            }
            Self::Other { .. } if began.elapsed() < LEAVING_MAX && !is_out_of_sight(dir) => Self::begin(dir, command),
            Self::Other { .. } => Err(unreachable_owner(dir)),
        }
    }
}

/// Reaps the daemon in a thread if the daemon ends before this process; otherwise init(1) reaps it, also when no thread can
/// be created.
fn reap(mut starting: Starting) {
    let waiting = thread::Builder::new().name("apm2-reap".to_owned()).spawn(move || starting.child.wait());
    if let Err(error) = waiting {
        tracing::debug!(%error, "no thread waits for the end of the daemon");
    }
}

fn is_out_of_sight(dir: &Path) -> bool {
    matches!(ownership(dir), Ok(Ownership::Unseen))
}

/// The error when a process has the ledger open, but does not listen on the socket.
fn unreachable_owner(dir: &Path) -> ClientError {
    match ownership(dir) {
        Ok(Ownership::Unseen) => ClientError::OtherNamespace,
        Ok(Ownership::Process(owner)) => ClientError::Unreachable { pid: owner.pid(), command: owner.command_line() },
        Ok(Ownership::Free) => ClientError::Gone(io::Error::from(io::ErrorKind::ConnectionRefused)),
        Err(error) => ClientError::Gone(error),
    }
}

/// The error when a daemon has ended without a report. It quotes the end of the daemon's log.
fn ended_silently(mut starting: Starting, dir: &Path, log_length: u64) -> ClientError {
    let began = Instant::now();
    let status = loop {
        match starting.child.try_wait() {
            Ok(Some(status)) => break status.to_string(),
            Ok(None) if began.elapsed() < OTHER_MAX => thread::sleep(START_POLL),
            Ok(None) | Err(_) => break "closed its output".to_owned(),
        }
    };
    let said = log_since(dir, log_length);
    let message = match said.last() {
        Some(last) => format!("the daemon ended before it listened ({status}): {last}"),
        None => format!("the daemon ended before it listened ({status})"),
    };
    ClientError::NotStarted { code: None, message, hint: None }
}

/// Spawns a daemon in a session of its own. Its standard error is the log file of the daemon; it reports the result of
/// its start on standard output.
fn start(dir: &Path, command: &[OsString]) -> io::Result<std::process::Child> {
    let (program, args) = command.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let path = dir.join(LOG_FILE);
    let log =
        open_rotated(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let mut command = Command::new(program);
    // The daemon outlives this process and also serves other clients. It therefore gets its own session without a
    // controlling terminal, no other descriptors, and only the environment variables that locate directories and
    // programs. It resets its other attributes when it starts (`reset_inherited`).
    command
        .args(args)
        .env_clear()
        .envs(allowed_variables())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log));
    detach(&mut command);
    command.spawn()
}

/// The lines in the log file after its first `before` bytes.
fn log_since(dir: &Path, before: u64) -> Vec<String> {
    let said = || {
        let mut file = file::open(&dir.join(LOG_FILE))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(if length < before { 0 } else { before }))?;
        let mut text = String::new();
        file.take(LOG_BYTES_QUOTED_MAX).read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    said().unwrap_or_default().lines().map(str::to_owned).collect()
}

impl Owner {
    /// Waits until the daemon has created its socket again, and connects. `None` if the socket is not created within a
    /// time limit.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn client(&self, dir: &Path) -> Result<Option<Client>, ClientError> {
        let began = Instant::now();
        while began.elapsed() < SOCKET_MAX && !self.has_ended(Duration::ZERO) {
            if let Some(client) = Client::connect(dir)? {
                return Ok(Some(client));
            }
            thread::sleep(SOCKET_POLL);
        }
        Ok(None)
    }
}

/// The same error with another text for an unexpected end of the stream: the text of the standard library mentions a
/// buffer.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it has closed the connection"),
        _ => error,
    }
}
