//! The conversation with the daemon, and with the next one when that ends: the run itself, and its events.

use std::{
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
    protocol::{Answer, FailureKind, Request},
};
use apm2_model::{
    event::Event,
    spec::{id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{
    commands::run::{
        output::{Output, Places},
        signals::Heard,
    },
    daemon::{LEAVING_MAX, connect, connect_or_start, terminal},
    error::CliError,
};

/// How often a daemon that takes the place of a dead one is tried.
const RETRY: Duration = Duration::from_millis(100);

/// How often a daemon is asked again that refuses since its ledger is poisoned: at most [`LOSSES_MAX`] times.
const POISONED_RETRY: Duration = Duration::from_secs(1);

/// How long it is tried.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Daemons that may be lost in a row, each within [`RETRY_MAX`] of the one before.
const LOSSES_MAX: u32 = 50;

/// All that can happen.
pub(crate) enum News {
    /// The daemon is there, and is asked for the run.
    Connected(Output),
    /// The daemon has it; with the run that it began with, where the daemon tells.
    Started(ProcessId, Option<u64>),
    /// It is over.
    Ended(Box<Stream>),
    /// The daemon said no, or no daemon answers any more.
    Failed {
        error: CliError,
        /// Whether it said no, so that nothing runs.
        is_refused: bool,
    },
    /// Something was recorded.
    Event(Box<Event>),
    /// A signal came.
    Signal(Heard),
    /// Something was asked for because of a signal, and was not done.
    Refused(String),
    /// Something to be said.
    Remark(String),
}

/// A main thread that has left hears nothing any more.
pub(crate) fn tell(news: &Sender<News>, what: News) {
    let _ = news.send(what);
}

/// Whether the run may still be called off, or was asked for. Only one of both comes about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Once(Arc<AtomicBool>);

impl Once {
    /// Whether nobody has taken it before.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What the thread that asks the daemon needs.
pub(crate) struct Call {
    pub(crate) dir: PathBuf,
    pub(crate) launch: LaunchSpec,
    /// What its first run reads.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) reason: Option<String>,
    /// Where the output of the command is kept.
    pub(crate) files: LogFiles,
    pub(crate) news: Sender<News>,
    /// Taken before the run is asked for.
    pub(crate) once: Once,
}

impl Call {
    /// Connects, asks for the run, and waits for its end.
    pub(crate) fn run(self) {
        let Self { dir, launch, stdin, reason, files, news, once } = self;
        let client = match begin(&dir, &files, &news) {
            Ok(client) => client,
            Err(error) => return tell(&news, News::Failed { error, is_refused: true }),
        };
        if !once.take() {
            return;
        }
        let mut waiting = Waiting { dir, news, process: None, run: None, lost_at: None, losses: 0 };
        let over = match waiting.until_over(client, launch, stdin, reason) {
            Ok(stream) => News::Ended(Box::new(stream)),
            Err(Over { error, is_refused }) => News::Failed { error, is_refused },
        };
        tell(&waiting.news, over);
    }
}

/// Connects, and begins to show what comes into the log files from now on: what an earlier run left is in them by then.
fn begin(dir: &std::path::Path, files: &LogFiles, news: &Sender<News>) -> Result<Client, CliError> {
    let client = connect_or_start(dir)?;
    let unreadable = |error: io::Error| CliError::failed(format!("the log files cannot be read: {error}"));
    let places = Places::end_of(files).map_err(unreadable)?;
    let output = Output::start(places).map_err(|error| CliError::failed(format!("no thread for output: {error}")))?;
    tell(news, News::Connected(output));
    Ok(client)
}

/// Asks a daemon for the run.
fn ask_for(
    client: &mut Client,
    request: &Request,
    stdin: Option<&OwnedFd>,
    reason: Option<&String>,
) -> Result<(), ClientError> {
    match stdin {
        Some(stdin) => client.ask_with(request.clone(), stdin.as_fd(), reason.cloned(), terminal()),
        None => client.ask(request.clone(), reason.cloned(), terminal()),
    }
}

/// Why it is not waited for any longer.
struct Over {
    error: CliError,
    is_refused: bool,
}

impl Over {
    const fn lost(error: CliError) -> Self {
        Self { error, is_refused: false }
    }
}

struct Waiting {
    dir: PathBuf,
    news: Sender<News>,
    process: Option<ProcessId>,
    /// The run that it began with: a later daemon may know later ones.
    run: Option<u64>,
    /// When a daemon was last lost, and how many in a row.
    lost_at: Option<Instant>,
    losses: u32,
}

impl Waiting {
    /// Asks for the run and waits for its end, from one daemon to the next.
    fn until_over(
        &mut self,
        mut client: Client,
        launch: LaunchSpec,
        mut stdin: Option<OwnedFd>,
        reason: Option<String>,
    ) -> Result<Stream, Over> {
        let (mut end, began) = (None, Instant::now());
        let request = Request::Run { launch: Box::new(launch), stdin: stdin.is_some() };
        let mut asked = ask_for(&mut client, &request, stdin.as_ref(), reason.as_ref());
        loop {
            let received = asked.and_then(|()| client.receive());
            if let Err(ClientError::Leaving) = &received
                && self.process.is_none()
                && began.elapsed() < LEAVING_MAX
            {
                thread::sleep(RETRY);
                client = connect_or_start(&self.dir).map_err(|error| Over { error, is_refused: true })?;
                asked = ask_for(&mut client, &request, stdin.as_ref(), reason.as_ref());
                continue;
            }
            // Whoever writes into it is to notice when the command has ended.
            drop(stdin.take());
            match received {
                Ok(Received::Answer(Answer::Started { process_id, seq, run })) => {
                    self.process = Some(process_id);
                    self.run = run;
                    tell(&self.news, News::Started(process_id, run));
                    let follower = Follower { dir: self.dir.clone(), news: self.news.clone() };
                    thread::spawn(move || follower.run(seq.saturating_add(1)));
                }
                Ok(Received::Bytes(bytes)) => end = client::stream(&bytes).ok(),
                Ok(Received::Done(_)) => {
                    return end.ok_or_else(|| Over::lost(CliError::failed("the daemon did not say how it ended")));
                }
                Ok(Received::Progress(_) | Received::Answer(_)) => {}
                // The daemon is gone: the process is not, and the next daemon takes it over.
                Err(ClientError::Gone(error)) => match self.reconnect(error) {
                    Ok(next) => client = next,
                    Err(error) => return Err(Over::lost(error)),
                },
                // A daemon whose ledger is poisoned begins again by itself, and takes the process over.
                Err(refused @ ClientError::Refused { kind: FailureKind::Unusable, .. }) if self.process.is_some() => {
                    thread::sleep(POISONED_RETRY);
                    match self.reconnect(io::ErrorKind::ConnectionReset.into()) {
                        Ok(next) => client = next,
                        Err(_) => return Err(Over::lost(refused.into())),
                    }
                }
                Err(error) => return Err(Over { error: error.into(), is_refused: self.process.is_none() }),
            }
            asked = Ok(());
        }
    }

    /// The next daemon, which is asked for the end of the process.
    fn reconnect(&mut self, error: io::Error) -> Result<Client, CliError> {
        let Some(process_id) = self.process else { return Err(ClientError::Gone(error).into()) };
        let began = Instant::now();
        let is_series = self.lost_at.replace(began).is_some_and(|before| before.elapsed() < RETRY_MAX);
        self.losses = if is_series { self.losses.saturating_add(1) } else { 1 };
        if self.losses > LOSSES_MAX {
            return Err(ClientError::Gone(error).into());
        }
        let mut is_said = false;
        loop {
            let next = connect_or_start(&self.dir).and_then(|mut next| {
                next.ask(Request::Wait { process_id, run: self.run }, None, None)?;
                Ok(next)
            });
            match next {
                Ok(next) => return Ok(next),
                Err(error) if began.elapsed() > RETRY_MAX => return Err(error),
                Err(error) if !std::mem::replace(&mut is_said, true) => {
                    let why = error.message();
                    tell(&self.news, News::Remark(format!("the daemon is gone; trying to start the next one: {why}")));
                }
                Err(_) => {}
            }
            thread::sleep(RETRY);
        }
    }
}

/// The thread that follows the events, from one daemon to the next.
struct Follower {
    dir: PathBuf,
    news: Sender<News>,
}

impl Follower {
    fn run(self, mut next: u64) {
        loop {
            if let Ok(Some(client)) = connect(&self.dir) {
                // The other thread finds out what a daemon that is gone means.
                let _ = self.follow(client, &mut next);
            }
            thread::sleep(RETRY);
        }
    }

    fn follow(&self, mut client: Client, next: &mut u64) -> Result<(), ClientError> {
        client.ask(Request::Follow { first: *next }, None, None)?;
        loop {
            if let Received::Bytes(bytes) = client.receive()? {
                let event = client::event(&bytes)?;
                *next = event.seq.saturating_add(1);
                tell(&self.news, News::Event(Box::new(event)));
            }
        }
    }
}
