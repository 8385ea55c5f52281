//! Requests that `run` sends to the daemon because of signals: to stop the command, and to pass signals on to the
//! command.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use apm2_daemon::protocol::{CallAnswer, ClientRequest};
use apm2_model::{signal::Signal, spec::id::ProcessId};

use crate::{
    commands::run::call::{WatchInput, tell},
    daemon::{ASK_POLL, AttemptError, answered, connect, retry},
    error::CliError,
};

/// Total time in which a request is repeated while no daemon answers. The main thread starts the next daemon in the
/// meantime.
const ASK_MAX: Duration = Duration::from_secs(60);

/// Maximum number of queued signals. The kernel also merges pending signals of one kind (signal(7)).
const WAITING_MAX: usize = 64;

/// Requests a stop in a new thread, since the answer arrives only after the process has ended.
pub(crate) fn stop(
    dir: &Path,
    process: ProcessId,
    signal: Signal,
    timeout: Option<Duration>,
    news: &Sender<WatchInput>,
) {
    let (dir, to) = (dir.to_owned(), news.clone());
    let asking = thread::Builder::new().name("apm2-stop".to_owned()).spawn(move || {
        let request = ClientRequest::Stop { targets: vec![process.to_string()], timeout };
        if let Err(why) = ask(&dir, &request, signal, &to) {
            tell(&to, WatchInput::Refused(format!("cannot be stopped: {why}")));
        }
    });
    if let Err(error) = asking {
        tell(news, WatchInput::Refused(format!("cannot be stopped: no thread can be created: {error}")));
    }
}

/// Passes signals on to the command in the order in which they arrive.
pub(crate) struct SignalForwarder(SyncSender<SignalRequest>);

struct SignalRequest {
    process: ProcessId,
    /// The signal that `run` received.
    received: Signal,
    /// The signal that is sent to the command.
    sent: Signal,
    /// Notified when the signal was sent or could not be sent.
    done: Option<Sender<()>>,
}

impl SignalForwarder {
    /// Starts the thread that sends the signals.
    ///
    /// # Errors
    /// No thread can be created.
    pub(crate) fn start(dir: PathBuf, news: Sender<WatchInput>) -> io::Result<Self> {
        let (words, received) = sync_channel(WAITING_MAX);
        let passing = thread::Builder::new().name("apm2-signals".to_owned());
        passing.spawn(move || pass_all(&dir, &received, &news))?;
        Ok(Self(words))
    }

    /// Queues a signal that is passed on. Drops the signal when the queue is full.
    pub(crate) fn pass(&self, process: ProcessId, signal: Signal) {
        drop(self.0.try_send(SignalRequest { process, received: signal, sent: signal, done: None }));
    }

    /// Suspends the process. `done` is notified when the process is suspended or cannot be suspended.
    pub(crate) fn suspend(&self, process: ProcessId, received: Signal, sent: Signal, done: Sender<()>) {
        drop(self.0.try_send(SignalRequest { process, received, sent, done: Some(done) }));
    }
}

fn pass_all(dir: &Path, words: &Receiver<SignalRequest>, news: &Sender<WatchInput>) {
    for SignalRequest { process, received, sent, done } in words {
        let request = ClientRequest::Signal { targets: vec![process.to_string()], signal: sent };
        if let Err(why) = ask(dir, &request, received, news) {
            tell(news, WatchInput::Refused(format!("{sent} is not passed on: {why}")));
        }
        // If the sender is dropped without a message, its receiver is notified as well.
        drop(done);
    }
}

/// Sends a request to the daemon. If no daemon runs, or a daemon ends before it answers, sends the request to the next
/// daemon. A request that is not repeatable is sent only once. A stop is repeated as long as no daemon answers.
fn ask(dir: &Path, request: &ClientRequest, signal: Signal, news: &Sender<WatchInput>) -> Result<(), String> {
    let attempt = || {
        let client = connect(dir).and_then(|client| client.ok_or_else(|| CliError::failed("no daemon is there")));
        let client = client.map_err(AttemptError::Connecting)?;
        answered(client, request, Some(format!("received {signal}")), |_| ()).map_err(AttemptError::Asking)
    };
    let (mut began, mut is_said) = (Instant::now(), false);
    let answer = retry(ASK_POLL, attempt, |failed| match failed {
        AttemptError::Asking(error) if error.is_silent() && matches!(request, ClientRequest::Stop { .. }) => {
            // The daemon is connected. If it is stopped by a signal, it carries out the request when it continues.
            began = Instant::now();
            if !std::mem::replace(&mut is_said, true) {
                let text = "the daemon does not answer; it is asked again to stop it".to_owned();
                tell(news, WatchInput::Remark(text));
            }
            true
        }
        AttemptError::Asking(error) => error.may_be_repeated(request, began.elapsed(), ASK_MAX),
        AttemptError::Connecting(_) => began.elapsed() < ASK_MAX,
    });
    match answer {
        Ok(CallAnswer::Outcomes(outcomes)) => {
            outcomes.into_iter().find_map(|outcome| outcome.error).map_or(Ok(()), Err)
        }
        Ok(_) => Ok(()),
        Err(AttemptError::Asking(error)) if error.is_unknown(request) => {
            Err(format!("it is not known whether that was done: {}", error.error))
        }
        Err(AttemptError::Asking(error)) => Err(error.error.to_string()),
        Err(AttemptError::Connecting(error)) => Err(error.message().to_owned()),
    }
}
