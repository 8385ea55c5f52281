//! The way to the daemon: every command that changes something goes through here.

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
    protocol::{Answer, FailureKind, Outcome, Request},
};

use crate::{
    error::{CliError, ErrorKind},
    terminal::say,
};

/// How long a request is made again of daemons that end before they answer.
const ASK_MAX: Duration = Duration::from_secs(30);

/// How long a daemon that is leaving is waited for, with all that it stops.
pub(crate) const LEAVING_MAX: Duration = Duration::from_secs(60);

/// How often.
const ASK_POLL: Duration = Duration::from_millis(50);

/// Connects to the daemon of the ledger, and starts one where there is none.
///
/// # Errors
/// When there is none and none begins.
pub(crate) fn connect_or_start(dir: &Path) -> Result<Client, CliError> {
    Ok(Client::connect_or_start(dir, &daemon_command(dir)?)?)
}

/// Connects to the daemon that there is.
///
/// # Errors
/// When the socket cannot be used.
pub(crate) fn connect(dir: &Path) -> Result<Option<Client>, CliError> {
    Ok(Client::connect(dir)?)
}

/// The command that becomes a daemon which leaves when it has nothing to do.
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

/// This very program with these arguments.
pub(crate) fn own_command(args: &[&OsStr]) -> Result<Vec<OsString>, CliError> {
    let program = own_program()?;
    Ok(std::iter::once(program.into_os_string()).chain(args.iter().map(OsString::from)).collect())
}

fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| CliError::failed(format!("cannot find this program: {error}")))
}

/// Why there is no answer to a request.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: ClientError,
    /// Whether the whole request was sent, so that it may have been carried out.
    is_sent: bool,
}

impl Unanswered {
    /// Whether the daemon has ended, or is about to, and did not just say nothing.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_leaving() || matches!(&self.error, ClientError::Gone(error) if !is_silent(error))
    }

    /// Whether the daemon is about to end, and has not begun the request.
    pub(crate) const fn is_leaving(&self) -> bool {
        matches!(&self.error, ClientError::Leaving)
    }

    /// Whether the daemon is there, and has said nothing for a long time.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(&self.error, ClientError::Gone(error) if is_silent(error))
    }

    /// Whether it is unknown what came of `request`: the daemon has ended and may have carried it out, and to ask again could do
    /// more.
    pub(crate) fn is_unknown(&self, request: &Request) -> bool {
        self.is_lost() && !self.is_leaving() && self.is_sent && !request.is_repeatable()
    }

    /// The error of a command that does not ask again.
    pub(crate) fn of(self, request: &Request) -> CliError {
        if !self.is_unknown(request) {
            return self.error.into();
        }
        let message =
            format!("the daemon ended before it answered, and it is not known whether this was done: {}", self.error);
        CliError::new(ErrorKind::Unusable, message)
            .with_hint("`apm2-ledger list` and `show` tell; it was not asked for again, since that could do it twice")
    }
}

/// Asks for something, and waits for the last answer; what is done meanwhile is told as it is done.
///
/// # Errors
/// When the daemon says no, or is gone.
pub(crate) fn ask(client: Client, request: Request, reason: Option<String>) -> Result<Answer, CliError> {
    answered(client, &request, reason, say_done).map_err(|unanswered| unanswered.of(&request))
}

/// Asks the daemon of the ledger in `dir`, starting one where there is none. Where a daemon ends before it answers, the next
/// one is asked, as long as that does no more than asking once.
///
/// # Errors
/// When the daemon says no, or none answers.
pub(crate) fn order(dir: &Path, request: Request, reason: Option<String>) -> Result<Answer, CliError> {
    let began = Instant::now();
    loop {
        match answered(connect_or_start(dir)?, &request, reason.clone(), say_done) {
            Ok(answer) => return Ok(answer),
            Err(leaving) if leaving.is_leaving() && began.elapsed() < LEAVING_MAX => thread::sleep(ASK_POLL),
            Err(lost) if lost.is_lost() && !lost.is_unknown(&request) && began.elapsed() < ASK_MAX => {
                thread::sleep(ASK_POLL);
            }
            Err(unanswered) => return Err(unanswered.of(&request)),
        }
    }
}

/// Asks one daemon. `done` is called with each thing that is done meanwhile.
///
/// # Errors
/// When it says no, or is gone.
pub(crate) fn answered(
    mut client: Client,
    request: &Request,
    reason: Option<String>,
    done: impl Fn(&Outcome),
) -> Result<Answer, Unanswered> {
    let unsent = |error| Unanswered { error, is_sent: false };
    client.ask(request.clone(), reason, terminal()).map_err(unsent)?;
    loop {
        match client.receive().map_err(|error| Unanswered { error, is_sent: true })? {
            Received::Done(answer) => return Ok(answer),
            Received::Progress(outcome) => done(&outcome),
            Received::Bytes(_) | Received::Answer(_) => {}
        }
    }
}

/// Says to a person who waits what is done.
fn say_done(outcome: &Outcome) {
    if io::stderr().is_terminal() && outcome.error.is_none() {
        say(&format!("{}: {}", outcome.name, outcome.action));
    }
}

/// The terminal that our standard input is, without `/dev/`: `pts/0`.
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
                let told = Self::new(kind_of(kind), message);
                match hint {
                    Some(hint) => told.with_hint(hint),
                    None => told,
                }
            }
            ClientError::Unsafe(error) => error.into(),
            ClientError::NotStarted { code, hint, .. } => not_started(code, message, hint),
            ClientError::StillStarting { .. } => Self::new(ErrorKind::Unusable, message)
                .with_hint("it goes on: ask again later; `apm2-ledger daemon --stop` ends it"),
            ClientError::Unreachable { .. } => Self::new(ErrorKind::Unusable, message).with_hint(
                "`apm2-ledger daemon --stop` ends a daemon that has lost its socket; others end by themselves",
            ),
            ClientError::OtherNamespace => Self::new(ErrorKind::Unusable, message).with_hint(
                "give this command where the daemon runs (in its container), or stop the daemon there first",
            ),
            ClientError::Foreign { .. } => Self::new(ErrorKind::Unusable, message)
                .with_hint("a daemon answers its own user only; is this a container that maps users otherwise?"),
            ClientError::Gone(error) if is_silent(&error) => {
                Self::new(ErrorKind::Unusable, "the daemon is there and does not answer").with_hint(
                    "it may be stopped, or wait for a disk; what it had not begun when this command ended is not done. If it has \
                     to be killed, the next one takes over what runs",
                )
            }
            ClientError::Leaving => Self::new(ErrorKind::Unusable, message).with_hint("ask again: the next daemon does it"),
            ClientError::Gone(_) => Self::new(ErrorKind::Unusable, message)
                .with_hint("what runs goes on running; ask again, and a new daemon takes it over"),
            ClientError::Protocol(_) => Self::new(ErrorKind::Unusable, message)
                .with_hint("`apm2-ledger daemon --leave` lets a daemon of this version take over"),
        }
    }
}

/// Whether somebody holds the other end of the socket, and says nothing.
fn is_silent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// What kept the daemon from beginning, as if it had kept us: in its words, with its exit code.
fn not_started(code: Option<i32>, message: String, hint: Option<String>) -> CliError {
    let kind = match code {
        Some(1) => ErrorKind::Failed,
        Some(4) => ErrorKind::Integrity,
        _ => ErrorKind::Unusable,
    };
    let told = CliError::new(kind, message);
    told.with_hint(hint.unwrap_or_else(|| format!("{} in the ledger's directory may say more", client::LOG_FILE)))
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
    fn a_daemon_that_is_silent_is_told_from_one_that_is_gone() {
        let told = |kind: io::ErrorKind| CliError::from(ClientError::Gone(kind.into())).text();
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut] {
            assert!(told(kind).contains("is there and does not answer"), "{}", told(kind));
        }
        assert!(told(io::ErrorKind::UnexpectedEof).contains("ask again"));
    }
}
