//! The connection of `run` to the daemon: requests the run and receives its events. When a daemon ends, continues with
//! the next daemon.

use std::{
    convert::Infallible,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use apm2_core::log::LogFiles;
use apm2_daemon::{
    client::{self, Client, ClientError, Received},
    protocol::{CallAnswer, ClientRequest, FailureKind, SentLaunch},
};
use apm2_model::{
    event::Event,
    spec::{id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{
    commands::run::{
        output::{LogPositions, OutputThread},
        signals::SignalMeaning,
    },
    daemon::{LEAVING_MAX, connect, connect_or_start, follow_events, retry, terminal},
    error::CliError,
};

/// Pause between two attempts to connect to the next daemon.
const RETRY: Duration = Duration::from_millis(100);

/// Pause between two requests to a daemon that refuses them because its ledger is poisoned. At most [`LOSSES_MAX`]
/// requests are made.
const POISONED_RETRY: Duration = Duration::from_secs(1);

/// Total time in which `run` tries to reach the next daemon.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Largest number of daemons that may be lost one after another. A loss counts if it follows within [`RETRY_MAX`] of
/// the loss before.
const LOSSES_MAX: u32 = 50;

/// Messages to the main thread of `run`.
pub(crate) enum WatchInput {
    /// The daemon is connected, and the run is about to be requested.
    Connected(OutputThread),
    /// The daemon has accepted the run. The number is that of the first run; `None` if the daemon does not report it.
    Started(ProcessId, Option<u64>),
    /// The series of runs has ended.
    Ended(Box<Stream>),
    /// The daemon refused the run, or no daemon answers.
    Failed {
        error: CliError,
        /// Whether the daemon refused the run, so that no process was started.
        is_refused: bool,
    },
    /// An event of the process was recorded.
    Event(Box<Event>),
    /// `run` received a signal.
    Signal(SignalMeaning),
    /// A request failed that was sent because of a signal.
    Refused(String),
    /// A text for the user.
    Remark(String),
}

/// Sends a message to the main thread. An error is ignored: it means that the receiver is dropped.
pub(crate) fn tell(news: &Sender<WatchInput>, what: WatchInput) {
    let _ = news.send(what);
}

/// A flag that only the first caller can set. It decides whether the run is requested or a signal cancels it before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Once(Arc<AtomicBool>);

impl Once {
    /// Sets the flag. Returns whether this caller was the first to set it.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// The input of the thread that sends the requests.
pub(crate) struct RunCall {
    pub(crate) dir: PathBuf,
    pub(crate) launch: LaunchSpec,
    /// The standard input of the first run.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) reason: Option<String>,
    /// The log files of the command.
    pub(crate) files: LogFiles,
    pub(crate) news: Sender<WatchInput>,
    /// The sizes of the log files, which were read before the run was requested.
    pub(crate) once: Once,
}

impl RunCall {
    /// Connects to the daemon, requests the run, and waits for its end.
    pub(crate) fn run(self) {
        let Self { dir, launch, stdin, reason, files, news, once } = self;
        let client = match begin(&dir, &files, &news) {
            Ok(client) => client,
            Err(error) => return tell(&news, WatchInput::Failed { error, is_refused: true }),
        };
        if !once.take() {
            return;
        }
        let mut waiting = RunWait { dir, news, process: None, run: None, lost_at: None, losses: 0 };
        let over = match waiting.until_over(client, launch, stdin, reason) {
            Ok(stream) => WatchInput::Ended(Box::new(stream)),
            Err(WaitEnd { error, is_refused }) => WatchInput::Failed { error, is_refused },
        };
        tell(&waiting.news, over);
    }
}

/// Connects to the daemon, and then starts to copy the log files from their current ends. The output of earlier runs is
/// complete at this time.
fn begin(dir: &std::path::Path, files: &LogFiles, news: &Sender<WatchInput>) -> Result<Client, CliError> {
    let client = connect_or_start(dir)?;
    let unreadable = |error: io::Error| CliError::failed(format!("the log files cannot be read: {error}"));
    let places = LogPositions::end_of(files).map_err(unreadable)?;
    let output =
        OutputThread::start(places).map_err(|error| CliError::failed(format!("no thread for output: {error}")))?;
    tell(news, WatchInput::Connected(output));
    Ok(client)
}

/// Requests the run from one daemon.
fn ask_for(
    client: &mut Client,
    request: &ClientRequest,
    stdin: Option<&OwnedFd>,
    reason: Option<&String>,
) -> Result<(), ClientError> {
    match stdin {
        Some(stdin) => client.ask_with(request.clone(), stdin.as_fd(), reason.cloned(), terminal()),
        None => client.ask(request.clone(), reason.cloned(), terminal()),
    }
}

/// The reason why `run` does not wait any longer for the end of the command.
struct WaitEnd {
    error: CliError,
    is_refused: bool,
}

impl WaitEnd {
    const fn lost(error: CliError) -> Self {
        Self { error, is_refused: false }
    }
}

struct RunWait {
    dir: PathBuf,
    news: Sender<WatchInput>,
    process: Option<ProcessId>,
    /// The number of the first run. A later daemon may report a later run.
    run: Option<u64>,
    /// The time at which the last daemon was lost, and the number of daemons lost one after another.
    lost_at: Option<Instant>,
    losses: u32,
}

impl RunWait {
    /// Requests the run and waits for its end. When a daemon ends, continues with the next daemon.
    fn until_over(
        &mut self,
        mut client: Client,
        launch: LaunchSpec,
        mut stdin: Option<OwnedFd>,
        reason: Option<String>,
    ) -> Result<Stream, WaitEnd> {
        let (mut end, began) = (None, Instant::now());
        let request = ClientRequest::Run { launch: Box::new(SentLaunch(launch)), stdin: stdin.is_some() };
        let mut asked = ask_for(&mut client, &request, stdin.as_ref(), reason.as_ref());
        loop {
            let received = asked.and_then(|()| client.receive());
            if let Err(ClientError::Leaving) = &received
                && self.process.is_none()
                && began.elapsed() < LEAVING_MAX
            {
                thread::sleep(RETRY);
                client = connect_or_start(&self.dir).map_err(|error| WaitEnd { error, is_refused: true })?;
                asked = ask_for(&mut client, &request, stdin.as_ref(), reason.as_ref());
                continue;
            }
            // `run` closes its own copy of the standard input, because the writer of a pipe must get SIGPIPE when the
            // command has ended.
            drop(stdin.take());
            match received {
                Ok(Received::Answer(CallAnswer::Started { process_id, seq, run })) => {
                    self.process = Some(process_id);
                    self.run = run;
                    tell(&self.news, WatchInput::Started(process_id, run));
                    let follower = Follower { dir: self.dir.clone(), news: self.news.clone() };
                    let following = thread::Builder::new().name("apm2-follow".to_owned());
                    if let Err(error) = following.spawn(move || follower.run(seq.saturating_add(1))) {
                        let remark = format!("events are not displayed: no thread can be created: {error}");
                        tell(&self.news, WatchInput::Remark(remark));
                    }
                }
                Ok(Received::Bytes(bytes)) => end = client::stream(&bytes).ok(),
                Ok(Received::Done(_)) => {
                    return end.ok_or_else(|| WaitEnd::lost(CliError::failed("the daemon did not say how it ended")));
                }
                Ok(Received::Progress(_) | Received::Answer(_)) => {}
                // The daemon has ended, but the process has not. The next daemon adopts the process.
                Err(ClientError::Gone(error)) => match self.reconnect(error) {
                    Ok(next) => client = next,
                    Err(error) => return Err(WaitEnd::lost(error)),
                },
                // A daemon whose ledger is poisoned executes itself again, and adopts the process.
                Err(refused @ ClientError::Refused { kind: FailureKind::Unusable, .. }) if self.process.is_some() => {
                    thread::sleep(POISONED_RETRY);
                    match self.reconnect(io::ErrorKind::ConnectionReset.into()) {
                        Ok(next) => client = next,
                        Err(_) => return Err(WaitEnd::lost(refused.into())),
                    }
                }
                Err(error) => return Err(WaitEnd { error: error.into(), is_refused: self.process.is_none() }),
            }
            asked = Ok(());
        }
    }

    /// Connects to the next daemon and requests a wait for the end of the process.
    fn reconnect(&mut self, error: io::Error) -> Result<Client, CliError> {
        let Some(process_id) = self.process else { return Err(ClientError::Gone(error).into()) };
        let began = Instant::now();
        let is_series = self.lost_at.replace(began).is_some_and(|before| before.elapsed() < RETRY_MAX);
        self.losses = if is_series { self.losses.saturating_add(1) } else { 1 };
        if self.losses > LOSSES_MAX {
            return Err(ClientError::Gone(error).into());
        }
        let attempt = || {
            let mut next = connect_or_start(&self.dir)?;
            next.ask(ClientRequest::Wait { process_id, run: self.run }, None, None)?;
            Ok(next)
        };
        let mut is_said = false;
        retry(RETRY, attempt, |error: &CliError| {
            let goes_on = began.elapsed() <= RETRY_MAX;
            if goes_on && !std::mem::replace(&mut is_said, true) {
                let why = error.message();
                tell(&self.news, WatchInput::Remark(format!("the daemon has ended; starting the next one: {why}")));
            }
            goes_on
        })
    }
}

/// The thread that receives the events of the run. When a daemon ends, continues with the next daemon.
struct Follower {
    dir: PathBuf,
    news: Sender<WatchInput>,
}

impl Follower {
    fn run(self, mut next: u64) {
        loop {
            if let Ok(Some(client)) = connect(&self.dir) {
                // The thread that waits for the end of the process handles a lost daemon, so this thread only waits.
                let _ = follow_events(client, next, |event| {
                    next = event.seq.saturating_add(1);
                    tell(&self.news, WatchInput::Event(Box::new(event)));
                    Ok::<_, Infallible>(())
                });
            }
            thread::sleep(RETRY);
        }
    }
}
