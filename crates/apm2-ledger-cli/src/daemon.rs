//! Requests to the daemon. Every command that changes something sends its request through this module.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use apm2_daemon::{
    client::{self, Client, ClientError, Received},
    protocol::{CallAnswer, ClientRequest, FailureKind, Outcome},
};
use apm2_model::event::Event;

use crate::{
    error::{CliError, ErrorKind},
    terminal::say,
};

/// Total time in which a request is sent again to the next daemon, if a daemon ends before it answers.
const ASK_MAX: Duration = Duration::from_secs(30);

/// Total time to wait for a daemon that is shutting down, including the stops of its processes.
pub(crate) const LEAVING_MAX: Duration = Duration::from_secs(60);

/// Pause between two attempts to send a request to a daemon.
pub(crate) const ASK_POLL: Duration = Duration::from_millis(50);

/// Connects to the daemon of the ledger. Starts a daemon if none runs.
///
/// # Errors
/// No daemon runs, and no daemon can be started.
pub(crate) fn connect_or_start(dir: &Path) -> Result<Client, CliError> {
    Ok(Client::connect_or_start(dir, &daemon_command(dir)?)?)
}

/// Connects to the daemon of the ledger; `None` when no daemon runs.
///
/// # Errors
/// The socket cannot be used.
pub(crate) fn connect(dir: &Path) -> Result<Option<Client>, CliError> {
    Ok(Client::connect(dir)?)
}

/// The command line of a daemon that exits when it is idle (`daemon --on-demand`).
fn daemon_command(dir: &Path) -> Result<Vec<OsString>, CliError> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    own_command(&[
        "--ledger".as_ref(),
        dir.as_os_str(),
        "daemon".as_ref(),
        "--on-demand".as_ref(),
        "--report-start".as_ref(),
    ])
}

/// The command line of this program with `args`.
pub(crate) fn own_command(args: &[&OsStr]) -> Result<Vec<OsString>, CliError> {
    let program = own_program()?;
    Ok(std::iter::once(program.into_os_string()).chain(args.iter().map(OsString::from)).collect())
}

fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| CliError::failed(format!("cannot find this program: {error}")))
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct RequestError {
    pub(crate) error: ClientError,
    /// Whether the whole request was sent, and may have been read. The daemon may then have carried it out.
    is_sent: bool,
}

impl RequestError {
    /// Whether the request failed because the daemon has ended or is shutting down. False for a timeout.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_leaving() || matches!(&self.error, ClientError::Gone(error) if !is_silent(error))
    }

    /// Whether the request failed because the daemon is shutting down and has not started to carry it out.
    pub(crate) const fn is_leaving(&self) -> bool {
        matches!(&self.error, ClientError::Leaving)
    }

    /// Whether the request failed because the daemon did not answer within the timeout, although it is connected.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(&self.error, ClientError::Gone(error) if is_silent(error))
    }

    /// Whether the result of `request` is unknown. This is so if the daemon has ended and may have carried out the
    /// request, and repeating it could carry it out twice.
    pub(crate) fn is_unknown(&self, request: &ClientRequest) -> bool {
        self.is_lost() && !self.is_leaving() && self.is_sent && !request.is_repeatable()
    }

    /// Whether to send `request` to the next daemon, at the time `waited` after the first attempt. The limit is `max` when
    /// the daemon has ended, and [`LEAVING_MAX`] when it is shutting down. False if this could carry out the request twice.
    pub(crate) fn may_be_repeated(&self, request: &ClientRequest, waited: Duration, max: Duration) -> bool {
        let max = if self.is_leaving() { LEAVING_MAX } else { max };
        self.is_lost() && !self.is_unknown(request) && waited < max
    }

    /// The error for a command that does not send its request again.
    pub(crate) fn of(self, request: &ClientRequest) -> CliError {
        if !self.is_unknown(request) {
            return self.error.into();
        }
        let message = format!(
            "the daemon ended before it answered; the request may or may not have been carried out: {}",
            self.error
        );
        CliError::new(ErrorKind::Unusable, message).with_hint(
            "see `apm2-ledger list` and `show`; the request was not repeated, since that could carry it out twice",
        )
    }
}

/// Sends one request and waits for its final answer. Prints progress to a terminal while it waits.
///
/// # Errors
/// The daemon refuses the request, or the connection is lost.
pub(crate) fn ask(client: Client, request: ClientRequest, reason: Option<String>) -> Result<CallAnswer, CliError> {
    answered(client, &request, reason, say_done).map_err(|unanswered| unanswered.of(&request))
}

/// The reason why an attempt to send a request failed.
pub(crate) enum AttemptError {
    /// There is no connection to a daemon.
    Connecting(CliError),
    /// The daemon did not answer, or refused the request.
    Asking(RequestError),
}

/// Calls `attempt` until it succeeds, or until `goes_on` returns false for its error. Waits for `pause` before each
/// repetition. Commands use this loop to wait for the next daemon.
pub(crate) fn retry<T, E>(
    pause: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
    mut goes_on: impl FnMut(&E) -> bool,
) -> Result<T, E> {
    loop {
        match attempt() {
            Err(error) if goes_on(&error) => thread::sleep(pause),
            result => return result,
        }
    }
}

/// Sends a request to the daemon of the ledger in `dir`. Starts a daemon if none runs. If a daemon ends before it
/// answers, sends the request to the next daemon, unless this could carry out the request twice. Prints progress to a
/// terminal while it waits.
///
/// # Errors
/// The daemon refuses the request, or no daemon answers.
pub(crate) fn order(dir: &Path, request: ClientRequest, reason: Option<String>) -> Result<CallAnswer, CliError> {
    order_with(dir, request, reason, say_done)
}

/// Like [`order`], and calls `done` with each outcome that the daemon reports before the final answer.
///
/// # Errors
/// Those of [`order`].
pub(crate) fn order_with(
    dir: &Path,
    request: ClientRequest,
    reason: Option<String>,
    done: impl Fn(&Outcome),
) -> Result<CallAnswer, CliError> {
    let began = Instant::now();
    let attempt = || {
        let client = connect_or_start(dir).map_err(AttemptError::Connecting)?;
        answered(client, &request, reason.clone(), &done).map_err(AttemptError::Asking)
    };
    let answer = retry(ASK_POLL, attempt, |failed| match failed {
        AttemptError::Connecting(_) => false,
        AttemptError::Asking(error) => error.may_be_repeated(&request, began.elapsed(), ASK_MAX),
    });
    answer.map_err(|failed| match failed {
        AttemptError::Connecting(error) => error,
        AttemptError::Asking(error) => error.of(&request),
    })
}

/// Sends one request to one daemon and waits for its final answer. `done` is called with each outcome that the daemon
/// reports before the final answer.
///
/// # Errors
/// The daemon refuses the request, or the connection is lost.
pub(crate) fn answered(
    mut client: Client,
    request: &ClientRequest,
    reason: Option<String>,
    done: impl Fn(&Outcome),
) -> Result<CallAnswer, RequestError> {
    let unsent = |error| RequestError { error, is_sent: false };
    client.ask(request.clone(), reason, terminal()).map_err(unsent)?;
    let mut received = client.receive().map_err(|error| RequestError { is_sent: !is_unread(&error), error })?;
    loop {
        match received {
            Received::Done(answer) => return Ok(answer),
            Received::Progress(outcome) => done(&outcome),
            Received::Bytes(_) | Received::Answer(_) => {}
        }
        received = client.receive().map_err(|error| RequestError { error, is_sent: true })?;
    }
}

/// Whether the daemon has ended without reading the whole request, if this is the error of the first read. The kernel reports
/// ECONNRESET when the other end of a Unix socket was closed with unread data, or before the connection was accepted, and else
/// the end of the stream.
fn is_unread(error: &ClientError) -> bool {
    matches!(error, ClientError::Gone(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

/// Requests the events from `first` on and passes each event to `take`, until `take` returns an error or the daemon ends
/// the call. The inner result is that of `take`.
///
/// # Errors
/// The connection is lost, or an event cannot be decoded.
pub(crate) fn follow_events<E>(
    mut client: Client,
    first: u64,
    mut take: impl FnMut(Event) -> Result<(), E>,
) -> Result<Result<(), E>, ClientError> {
    client.ask(ClientRequest::Follow { first }, None, None)?;
    loop {
        match client.receive()? {
            Received::Bytes(bytes) => {
                if let Err(error) = take(client::event(&bytes)?) {
                    return Ok(Err(error));
                }
            }
            Received::Done(_) => return Ok(Ok(())),
            Received::Progress(_) | Received::Answer(_) => {}
        }
    }
}

/// Prints one outcome when standard error is a terminal.
fn say_done(outcome: &Outcome) {
    if io::stderr().is_terminal() && outcome.error.is_none() {
        say(&format!("{}: {}", outcome.name, outcome.action));
    }
}

/// Name of the terminal on standard input without `/dev/`, such as `pts/0`; `None` when standard input is not a
/// terminal.
pub(crate) fn terminal() -> Option<String> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let path = fs::read_link("/proc/self/fd/0").ok()?;
    Some(path.strip_prefix("/dev").unwrap_or(&path).to_string_lossy().into_owned())
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Refused { kind, message, hint } => {
                let text = Self::new(kind_of(kind), message);
                match hint {
                    Some(hint) => text.with_hint(hint),
                    None => text,
                }
            }
            ClientError::Unsafe(error) => error.into(),
            ClientError::NotStarted { code, hint, .. } => not_started(code, message, hint),
            ClientError::StillStarting { .. } => Self::new(ErrorKind::Unusable, message)
                .with_hint("it is still starting: try again later, or end it with `apm2-ledger daemon --stop`"),
            ClientError::Unreachable { .. } => Self::new(ErrorKind::Unusable, message).with_hint(
                "`apm2-ledger daemon --stop` ends a daemon that has lost its socket; others end by themselves",
            ),
            ClientError::OtherNamespace => Self::new(ErrorKind::Unusable, message).with_hint(
                "run this command in the pid namespace (container) of the daemon, or stop the daemon there first",
            ),
            ClientError::Foreign { .. } => Self::new(ErrorKind::Unusable, message)
                .with_hint("a daemon answers only its own user; check whether this container has another user mapping"),
            ClientError::Gone(error) if is_silent(&error) => {
                Self::new(ErrorKind::Unusable, "the daemon runs but does not answer").with_hint(
                    "it may be stopped, or waiting for a disk; a request that it has not started is not carried out. If it has \
                     to be killed, the next one adopts the running processes",
                )
            }
            ClientError::Leaving => Self::new(ErrorKind::Unusable, message).with_hint("try again: the next daemon will carry it out"),
            ClientError::Gone(_) => Self::new(ErrorKind::Unusable, message)
                .with_hint("running processes are not affected; try again, and a new daemon adopts them"),
            ClientError::Protocol(_) => Self::new(ErrorKind::Unusable, message)
                .with_hint("`apm2-ledger daemon --leave` lets a daemon of this version take over"),
        }
    }
}

/// Whether the connection is still open, so that the read has failed because of its timeout.
fn is_silent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The error of a daemon that could not start. It has the message and the exit code of the daemon, as if this command
/// had failed itself.
fn not_started(code: Option<i32>, message: String, hint: Option<String>) -> CliError {
    let kind = match code {
        Some(1) => ErrorKind::Failed,
        Some(4) => ErrorKind::Integrity,
        _ => ErrorKind::Unusable,
    };
    let text = CliError::new(kind, message);
    text.with_hint(hint.unwrap_or_else(|| format!("{} in the ledger's directory may say more", client::LOG_FILE)))
}

const fn kind_of(kind: FailureKind) -> ErrorKind {
    match kind {
        FailureKind::Failed => ErrorKind::Failed,
        FailureKind::Usage => ErrorKind::Usage,
        FailureKind::NoSuchProcess => ErrorKind::NoSuchProcess,
        FailureKind::Integrity => ErrorKind::Integrity,
        FailureKind::Unusable => ErrorKind::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_and_a_lost_connection_have_different_errors() {
        let text = |kind: io::ErrorKind| CliError::from(ClientError::Gone(kind.into())).text();
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut] {
            assert!(text(kind).contains("runs but does not answer"), "{}", text(kind));
        }
        assert!(text(io::ErrorKind::UnexpectedEof).contains("try again"));
    }
}
