//! From a specification to an exit code: asking the daemon, and watching what comes of it.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::LogsDir,
    process::{
        Event, ExitOutcome, ProcessId, ProcessSpec, RunEnd, Signal, SpawnFailure, SpawnStage, Stream, allowed_variables,
    },
    supervisor::Launch,
};
use apm2_daemon::{
    client::{self, Client, ClientError, Received},
    protocol::{Answer, Request},
};

use super::{
    announcer::Announcer,
    output::{Output, Places},
    signals::Signals,
};
use crate::{
    context::Context,
    daemon::{connect, connect_or_start, terminal},
    error::CliError,
};

/// The first exit code that means a signal (sh(1)).
const SIGNAL_CODE_BASE: i32 = 128;

/// The exit codes of a program that is not found, and of one that cannot be executed (sh(1)).
const NOT_FOUND_CODE: i32 = 127;
const NOT_EXECUTABLE_CODE: i32 = 126;

/// How long our outputs are given for what is left, when somebody waits for us to leave.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long the last events are waited for, once the end is known.
const EVENTS_MAX: Duration = Duration::from_secs(1);

/// How often a daemon that takes the place of a dead one is tried.
const RETRY: Duration = Duration::from_millis(100);

/// How often in a row it is tried.
const RETRIES_MAX: u32 = 50;

/// All that can happen.
enum News {
    /// The daemon has it.
    Started(ProcessId),
    /// It is over.
    Ended(Box<Stream>),
    /// The daemon said no, or no daemon answers any more.
    Failed(CliError),
    /// Something was recorded.
    Event(Box<Event>),
    /// We are told to stop it, for the first time or again.
    Signal { signal: Signal, is_first: bool },
}

/// Has `spec` run until its policy or a signal says that it is over; gives the code to leave with.
///
/// # Errors
/// When it cannot be supervised.
pub(super) fn watch(spec: ProcessSpec, reason: Option<String>, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let (sender, news) = channel();
    listen(sender.clone())?;
    let client = connect_or_start(&dir)?;
    context.remark(|| format!("recording {} in {}", spec.name, dir.display()));
    let files = LogsDir::new(dir.join("logs")).files(&spec.log, &spec.name, 0);
    let unreadable = |error: io::Error| CliError::failed(format!("the log files cannot be read: {error}"));
    let places = Places::end_of(&files).map_err(unreadable)?;
    let mut watch = Watch {
        dir,
        announcer: Announcer::new(&spec.name, context.verbose),
        process: None,
        output: None,
        seen: 0,
        stops: 0,
        early: None,
    };
    let mut launch = Launch::new(spec);
    launch.base_env = Some(allowed_variables());
    launch.umask = apm2_core::process::current_umask();
    let follower = Follower { dir: watch.dir.clone(), news: sender.clone() };
    let call = Call { client, dir: watch.dir.clone(), news: sender, follower };
    thread::spawn(move || call.run(launch, reason));
    watch.until_over(places, &news)
}

/// Turns signals into news, on a thread of its own.
fn listen(news: Sender<News>) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot take signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let entered = runtime.enter();
    let signals = Signals::listen().map_err(failed)?;
    drop(entered);
    thread::spawn(move || {
        // Nobody hears it when we are leaving already.
        let tell = |signal, is_first| drop(news.send(News::Signal { signal, is_first }));
        runtime.block_on(signals.forward(tell));
    });
    Ok(())
}

struct Watch {
    dir: PathBuf,
    announcer: Announcer,
    process: Option<ProcessId>,
    output: Option<Output>,
    /// The seq of the last event that was seen of the process.
    seen: u64,
    /// Signals that were received.
    stops: u32,
    /// The signal that came before there was a process to stop.
    early: Option<Signal>,
}

impl Watch {
    fn until_over(&mut self, places: Places, news: &Receiver<News>) -> Result<i32, CliError> {
        let output =
            Output::start(places).map_err(|error| CliError::failed(format!("no thread for output: {error}")))?;
        self.output = Some(output);
        let end = loop {
            match news.recv() {
                Ok(News::Ended(stream)) => break Ok(stream),
                Ok(News::Failed(error)) => break Err(error),
                Ok(other) => self.take_in(other),
                Err(_) => break Err(CliError::failed("nobody watches the process any more")),
            }
        };
        if let Ok(stream) = &end {
            self.last_events(stream.last_seq, news);
        }
        self.flush(end.is_err(), news);
        end.map(|stream| exit_code(stream.end.as_ref()))
    }

    fn take_in(&mut self, news: News) {
        match news {
            News::Started(process) => {
                self.process = Some(process);
                if let Some(signal) = self.early.take() {
                    self.stop(signal, self.stops < 2);
                }
            }
            News::Event(event) if self.process == Some(event.stream.process_id) => {
                self.seen = event.seq;
                if let (Some(remark), Some(output)) = (self.announcer.announce(&event), &self.output) {
                    output.remark(remark);
                }
            }
            News::Signal { signal, is_first } => {
                self.stops = self.stops.saturating_add(1);
                self.stop(signal, is_first);
            }
            News::Event(_) | News::Ended(_) | News::Failed(_) => {}
        }
    }

    /// Has the process stopped, by a thread of its own: the answer comes when it is gone.
    fn stop(&mut self, signal: Signal, is_first: bool) {
        let Some(process) = self.process else {
            self.early.get_or_insert(signal);
            return;
        };
        let timeout = (!is_first).then_some(Duration::ZERO);
        let request = Request::Stop { targets: vec![process.to_string()], timeout };
        let dir = self.dir.clone();
        thread::spawn(move || {
            let asked = connect(&dir).ok().flatten().map(|mut client| {
                client.ask(request, Some(format!("received {signal}")), terminal())?;
                while !matches!(client.receive()?, Received::Done(_)) {}
                Ok::<(), ClientError>(())
            });
            // What could not be stopped is still watched; a second signal tries again.
            drop(asked);
        });
    }

    /// Waits for the events up to `last`, so that each is remarked on.
    fn last_events(&mut self, last: u64, news: &Receiver<News>) {
        let began = Instant::now();
        while self.seen < last {
            match news.recv_timeout(EVENTS_MAX.saturating_sub(began.elapsed())) {
                Ok(other) => self.take_in(other),
                Err(_) => return,
            }
        }
    }

    /// Waits until our outputs have taken what is left; not for long when hurried, or once a stop was asked for, and not
    /// at all once it was asked for twice.
    fn flush(&mut self, is_hurried: bool, news: &Receiver<News>) {
        let Some(output) = self.output.take() else { return };
        output.finish();
        let mut began = None;
        while self.stops < 2 && !output.is_through_in(POLL) {
            if self.stops > 0 || is_hurried {
                let began = began.get_or_insert_with(Instant::now);
                if began.elapsed() > FLUSH_MAX {
                    return;
                }
            }
            if let Ok(News::Signal { .. }) = news.try_recv() {
                self.stops = self.stops.saturating_add(1);
            }
        }
    }
}

/// How often it is looked whether our outputs are through.
const POLL: Duration = Duration::from_millis(20);

/// The thread that asks the daemon, and the next one when that ends.
struct Call {
    client: Client,
    dir: PathBuf,
    news: Sender<News>,
    follower: Follower,
}

impl Call {
    fn run(self, launch: Launch, reason: Option<String>) {
        let Self { mut client, dir, news, follower } = self;
        let mut follower = Some(follower);
        let mut process = None;
        let mut result = client.ask(Request::Run { launch: Box::new(launch) }, reason, terminal());
        let mut retries = 0;
        let mut end = None;
        loop {
            let received = result.and_then(|()| client.receive());
            result = Ok(());
            match received {
                Ok(Received::Answer(Answer::Started { process_id, seq })) => {
                    process = Some(process_id);
                    tell(&news, News::Started(process_id));
                    if let Some(follower) = follower.take() {
                        thread::spawn(move || follower.run(seq.saturating_add(1)));
                    }
                }
                Ok(Received::Bytes(bytes)) => end = client::stream(&bytes).ok(),
                Ok(Received::Done(_)) => {
                    let over = end.ok_or_else(|| CliError::failed("the daemon did not say how it ended"));
                    return tell(&news, over.map_or_else(News::Failed, |stream| News::Ended(Box::new(stream))));
                }
                Ok(Received::Progress(_) | Received::Answer(_)) => {}
                // The daemon is gone: the process is not, and the next daemon takes it over.
                Err(ClientError::Gone(error)) => match (process, retries < RETRIES_MAX) {
                    (Some(process_id), true) => {
                        retries += 1;
                        let Ok(next) = connect_or_start(&dir) else {
                            thread::sleep(RETRY);
                            result = Err(ClientError::Gone(error));
                            continue;
                        };
                        client = next;
                        result = client.ask(Request::Wait { process_id }, None, None);
                    }
                    _ => return tell(&news, News::Failed(ClientError::Gone(error).into())),
                },
                Err(error) => return tell(&news, News::Failed(error.into())),
            }
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

/// Nobody hears it when we are leaving already.
fn tell(news: &Sender<News>, what: News) {
    let _ = news.send(what);
}

/// The code that tells how the last run ended, as a shell would put it.
fn exit_code(end: Option<&RunEnd>) -> i32 {
    match end {
        Some(RunEnd::Exit(exit)) => match exit.outcome {
            ExitOutcome::Code(code) => code,
            ExitOutcome::Signal { signal, .. } => SIGNAL_CODE_BASE + i32::from(signal.number()),
            ExitOutcome::Unknown => 1,
        },
        Some(RunEnd::SpawnFailed(failure)) => spawn_failure_code(failure),
        Some(RunEnd::NeverConfirmed) | None => 1,
    }
}

const fn spawn_failure_code(failure: &SpawnFailure) -> i32 {
    match (failure.stage, failure.errno) {
        (SpawnStage::Exec, Some(nix::libc::ENOENT)) => NOT_FOUND_CODE,
        (SpawnStage::Exec, _) => NOT_EXECUTABLE_CODE,
        (SpawnStage::WorkingDirectory | SpawnStage::Fork | SpawnStage::Credentials | SpawnStage::Stdin, _) => 1,
    }
}

#[cfg(test)]
mod tests {
    use apm2_core::process::{Evidence, Exit};

    use super::*;

    fn exited(outcome: ExitOutcome) -> i32 {
        exit_code(Some(&RunEnd::Exit(Exit { outcome, evidence: Evidence::Observed })))
    }

    fn unspawned(stage: SpawnStage, errno: i32) -> i32 {
        exit_code(Some(&RunEnd::SpawnFailed(SpawnFailure { stage, errno: Some(errno), message: String::new() })))
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exited(ExitOutcome::Code(7)), 7);
        assert_eq!(exited(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false }), 137);
        assert_eq!(unspawned(SpawnStage::Exec, nix::libc::ENOENT), 127);
        assert_eq!(unspawned(SpawnStage::Exec, nix::libc::EACCES), 126);
    }

    #[test]
    fn what_nobody_knows_is_a_failure() {
        assert_eq!(exited(ExitOutcome::Unknown), 1);
        assert_eq!(unspawned(SpawnStage::WorkingDirectory, nix::libc::ENOENT), 1);
        assert_eq!((exit_code(None), exit_code(Some(&RunEnd::NeverConfirmed))), (1, 1));
    }
}
