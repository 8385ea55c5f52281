//! The restart of a daemon after its ledger was poisoned (a write to the ledger failed).
//!
//! After a failed write, the content of the disk is known only when the ledger is opened again, and threads of this
//! process may still use the ledger. The daemon therefore executes itself again (execve(2)). Its pid, standard error
//! and child processes stay; everything else is released. The processes are recovered as by any later daemon. The pause
//! between two attempts grows. During the pause, the daemon holds the lock of the ledger and answers each call with the
//! reason. A request to stop is carried out as `--leave`, since a stop could not be recorded.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use apm2_core::{blocking, process::lower_descriptor_limit};
use apm2_ledger::{ExpectedLedger, Ledger, LedgerDir, LedgerLock, OpenError, Poison};
use apm2_model::causes::causes;
use rustix::stdio::dup2_stdin;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time};
use uuid::Uuid;

use crate::{
    address::{ACCEPT_PAUSE, DAEMON_SOCKET, listen},
    error::DaemonError,
    guard::registered,
    log_file::DaemonLog,
    options::DaemonOptions,
    session,
    signals::ShutdownSignals,
};

/// The environment variable that passes the reason to the newly executed daemon.
const VARIABLE: &str = "APM2_POISONED";

/// The pause before the second attempt. The pause doubles with each attempt, up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_secs(1);

const WAIT_MAX: Duration = Duration::from_secs(30);

/// A daemon that has served for this time counts as recovered. The pause then starts again at its minimum.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// Maximum number of clients that are answered at the same time.
const REFUSED_MAX: usize = 64;

/// The reason why the previous daemon in this process had to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Poisoned {
    /// The message for clients: since when the ledger cannot be used, and the cause.
    what: String,
    /// The number of failed attempts to open the ledger since then.
    attempts: u32,
    /// The id of the ledger, and the seq of the last acknowledged event.
    ledger: Uuid,
    size: u64,
    /// The error of the last attempt; empty before the first attempt.
    #[serde(default)]
    why: String,
    /// The processes that ran at that time, with pids.
    running: Vec<String>,
}

impl Poisoned {
    /// The state that the previous daemon in this process passed on; `None` if there was none.
    pub(crate) fn before() -> Option<Self> {
        serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
    }

    /// The state after the ledger is poisoned again, for a daemon that has served for `served`.
    pub(crate) fn again(
        before: Option<Self>,
        ledger: (&Poison, ExpectedLedger),
        running: Vec<String>,
        served: Duration,
    ) -> Self {
        let (poison, ExpectedLedger { id, size }) = ledger;
        match before.filter(|_| served < RECOVERED_AFTER) {
            Some(before) => Self { ledger: id, size, running, ..before.failed() },
            None => Self { what: poison.to_string(), attempts: 0, ledger: id, size, why: String::new(), running },
        }
    }

    /// The processes that ran when the ledger was poisoned, as a text.
    pub(crate) fn running(&self) -> Vec<String> {
        self.running.clone()
    }

    fn failed(self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self }
    }

    /// The pause before the next attempt.
    fn wait(&self) -> Duration {
        let doublings = self.attempts.checked_sub(1);
        doublings.map_or(Duration::ZERO, |doublings| WAIT_MIN.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX))
    }

    /// Replaces this process by a new daemon with the same arguments (execve(2)). The lock of the ledger in `dir` is
    /// held all the time: the standard input of the new daemon is the locked directory. Returns only when execve(2)
    /// fails.
    pub(crate) fn begin_again(&self, dir: &LedgerDir, log: &DaemonLog) -> DaemonError {
        let locked = match dir.descriptor() {
            Ok(locked) => Stdio::from(locked),
            Err(error) => {
                tracing::warn!(%error, "the lock of the ledger is given up for a moment");
                Stdio::null()
            }
        };
        if let Err(error) = lower_descriptor_limit() {
            tracing::warn!(%error, "the limit on open files stays raised for what is started from now on");
        }
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_default();
        let told = serde_json::to_string(self).unwrap_or_default();
        // The log is flushed first, because execve(2) ends the thread that writes it.
        log.flush();
        // The program is not executed by its path, because another version, or no file, may have this path by now.
        let error = Command::new("/proc/self/exe").arg0(name).args(args).env(VARIABLE, told).stdin(locked).exec();
        DaemonError::io("begin again")(error)
    }
}

/// Opens the ledger again, and repeats failed attempts without a limit. `None` if a shutdown is requested first.
///
/// # Errors
/// Another process has the ledger open, or the error is of a kind that another attempt cannot solve.
pub(crate) async fn reopen(
    options: &DaemonOptions,
    poisoned: &mut Poisoned,
    signals: &mut ShutdownSignals,
) -> Result<Option<Ledger>, DaemonError> {
    let dir = options.dir.clone();
    let lock = blocking(move || lock_of(&dir)).await??;
    let lock = Arc::new(lock);
    loop {
        let wait = poisoned.wait();
        if !wait.is_zero() && !refuse_for(wait, &lock, poisoned, signals).await {
            return Ok(None);
        }
        let locked = Arc::clone(&lock);
        let known = ExpectedLedger { id: poisoned.ledger, size: poisoned.size };
        match blocking(move || Ledger::open_again(locked, known)).await? {
            Ok(ledger) => return Ok(Some(ledger)),
            // If the ledger is missing, this daemon keeps waiting. Another daemon would create a new, empty ledger, and
            // could not take over the processes.
            Err(error) if is_waited_for(&error) => {
                *poisoned = poisoned.clone().failed();
                poisoned.why = causes(&error).to_string();
                tracing::warn!(error = %causes(&error), attempts = poisoned.attempts, "the ledger cannot be opened again yet");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the ledger is opened again after this error.
const fn is_waited_for(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Io { .. }
            | OpenError::Store(_)
            | OpenError::JournalGone { .. }
            | OpenError::JournalShort { .. }
            | OpenError::OtherLedger { .. }
    )
}

/// The lock of the ledger: the inherited lock if there is one, otherwise a new lock.
fn lock_of(dir: &Path) -> Result<LedgerLock, OpenError> {
    match kept_lock(dir) {
        Ok(Some(lock)) => return Ok(lock),
        Ok(None) => tracing::debug!("the lock of the ledger was not kept"),
        Err(error) => tracing::warn!(error = %causes(&error), "the lock of the ledger was not kept"),
    }
    LedgerLock::of(dir)
}

/// Takes the lock that was inherited as standard input, and redirects standard input to `/dev/null`.
fn kept_lock(dir: &Path) -> Result<Option<LedgerLock>, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: dir.to_owned(), source };
    let held = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let lock = LedgerLock::inherited(held, dir)?;
    if lock.is_some() {
        let null = File::open("/dev/null").map_err(failed)?;
        dup2_stdin(null).map_err(|errno| failed(errno.into()))?;
    }
    Ok(lock)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DaemonError> {
    blocking::spawn(work).await.map_err(|error| DaemonError::io("open the ledger again")(io::Error::other(error)))
}

/// Answers every client with the reason during the time `wait`. Returns whether the daemon makes another attempt after
/// that.
async fn refuse_for(wait: Duration, lock: &LedgerLock, poisoned: &Poisoned, signals: &mut ShutdownSignals) -> bool {
    let message = match poisoned.why.as_str() {
        "" => format!("the ledger is {}", poisoned.what),
        why => format!("the ledger is {}; it cannot be opened again: {why}", poisoned.what),
    };
    let made = listen(lock.dir().at(), DAEMON_SOCKET).and_then(|(listener, _)| registered(listener));
    let listener = made.inspect_err(|error| tracing::warn!(%error, "no socket while the ledger is poisoned")).ok();
    let mut refused = JoinSet::new();
    let over = time::sleep(wait);
    tokio::pin!(over);
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut over => return true,
            // The processes are left running, since no stop could be recorded.
            _ = signals.next() => {
                tracing::warn!("{message}; no stop can be recorded, so what runs is left running");
                return false;
            }
            Some(told) = refused.join_next() => if matches!(told, Ok(true)) { return false },
            accepted = accept, if refused.len() < REFUSED_MAX => match accepted {
                Ok((stream, _)) => drop(refused.spawn(session::refuse(stream, message.clone(), poisoned.running.clone()))),
                // accept(2) has failed, perhaps because no descriptor is free (EMFILE). The pause avoids a busy loop.
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};

    use super::*;

    #[test]
    fn attempts_come_at_once_and_then_less_and_less_often() {
        let poison = Poison { since: SystemClock.now().wall(), why: "EIO".to_owned() };
        let ledger = (&poison, ExpectedLedger { id: Uuid::nil(), size: 0 });
        let mut poisoned = Poisoned::again(None, ledger, Vec::new(), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(poisoned.wait().as_secs());
            poisoned = Poisoned::again(Some(poisoned), ledger, Vec::new(), Duration::from_secs(59));
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(Poisoned::again(Some(poisoned), ledger, Vec::new(), RECOVERED_AFTER).wait(), Duration::ZERO);
    }
}
