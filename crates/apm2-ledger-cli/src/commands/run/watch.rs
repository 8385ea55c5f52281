//! The main loop of `run`. It starts the run of a specification, handles signals, and returns the exit code.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::LogsDir,
    process::{ProcessStatus, allowed_variables, status_of},
};
use apm2_model::{
    event::{Event, identity::ProcessIdentity, kind::EventKind},
    signal::Signal,
    spec::{ProcessSpec, id::ProcessId, launch::LaunchSpec},
    state::series::Series,
};
use nix::{
    sys::signal::{Signal as Known, kill},
    unistd::Pid,
};

use crate::{
    commands::run::{
        call::{Once, RunCall, WatchInput, tell},
        code,
        orders::{self, SignalForwarder},
        output::OutputThread,
        reporter::EventReporter,
        signals::{RunSignals, SignalMeaning},
        stdin,
    },
    context::Context,
    error::CliError,
    terminal::say,
};

/// Time limit for writing the remaining output before `run` exits.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Interval of the checks whether all output is written.
const FLUSH_POLL: Duration = Duration::from_millis(20);

/// Time limit for receiving the last events after the end of the run is known.
const EVENTS_MAX: Duration = Duration::from_secs(1);

/// Time after SIGKILL after which a further signal ends `run` without waiting for the command.
const KILL_MAX: Duration = Duration::from_secs(2);

/// Time limit for the daemon to report the start when a signal requests to stop the command.
const LAUNCH_MAX: Duration = Duration::from_secs(1);

/// Time limit for suspending the command before `run` suspends itself.
const SUSPEND_MAX: Duration = Duration::from_secs(20);

/// Maximum number of signals that are queued until the command is started.
const EARLY_MAX: usize = 16;

/// Runs `spec` until its restart policy or a signal ends it. Returns the exit code.
///
/// # Errors
/// The command cannot be supervised.
pub(crate) fn watch(spec: ProcessSpec, reason: Option<String>, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let (sender, news) = channel();
    listen(sender.clone())?;
    let once = Once::default();
    let mut watch = RunWatch {
        name: spec.name.clone(),
        remark: format!("recording {} in {}", spec.name, dir.display()),
        reporter: EventReporter::new(&spec.name, context.verbose),
        passing: SignalForwarder::start(dir.clone(), sender.clone()).map_err(no_thread)?,
        news: sender.clone(),
        once: once.clone(),
        dir: dir.clone(),
        may_run: false,
        process: None,
        series: None,
        identity: None,
        output: None,
        seen: 0,
        stops: 0,
        killed_at: None,
        early_stop: None,
        early: Vec::new(),
        is_suspended_early: false,
    };
    let files = LogsDir::new(dir.join("logs")).files(&spec.log, &spec.name, 0);
    let mut launch = LaunchSpec::new(spec);
    launch.base_env = Some(allowed_variables());
    launch.umask = apm2_core::process::current_umask();
    let stdin =
        stdin::take().map_err(|error| CliError::failed(format!("the standard input cannot be used: {error}")))?;
    let call = RunCall { dir, launch, stdin, reason, files, news: sender, once };
    thread::Builder::new().name("apm2-call".to_owned()).spawn(move || call.run()).map_err(no_thread)?;
    watch.until_over(&news, context)
}

/// Forwards signals to the main loop. Runs in a thread of its own.
fn listen(news: Sender<WatchInput>) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot take signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let entered = runtime.enter();
    let signals = RunSignals::listen().map_err(failed)?;
    drop(entered);
    let forward = move || runtime.block_on(signals.forward(|heard| tell(&news, WatchInput::Signal(heard))));
    thread::Builder::new().name("apm2-listen".to_owned()).spawn(forward).map_err(no_thread)?;
    Ok(())
}

/// The error of a command that needs a thread (EAGAIN, pthread_create(3)).
fn no_thread(error: io::Error) -> CliError {
    CliError::failed(format!("no thread can be created: {error}")).of_limit(&error)
}

struct RunWatch {
    name: String,
    /// The first message of `run`, printed with `--verbose`.
    remark: String,
    reporter: EventReporter,
    passing: SignalForwarder,
    news: Sender<WatchInput>,
    once: Once,
    dir: PathBuf,
    /// Whether the run was requested from the daemon.
    may_run: bool,
    process: Option<ProcessId>,
    /// The series of runs that belongs to this request.
    series: Option<Series>,
    /// The process of the latest run.
    identity: Option<ProcessIdentity>,
    output: Option<OutputThread>,
    /// Sequence number of the last event received about the process.
    seen: u64,
    /// Number of stop signals received.
    stops: u32,
    /// The time at which SIGKILL was requested.
    killed_at: Option<Instant>,
    /// A stop signal that was received before the process was started, with the time at which it was received.
    early_stop: Option<(Signal, Instant)>,
    /// Signals that are passed on to the command after its start.
    early: Vec<Signal>,
    /// Whether to suspend the command as soon as it is started.
    is_suspended_early: bool,
}

/// The next action of the main loop.
enum Next {
    Watch,
    /// Exit immediately with this code, because of a signal.
    Leave(Signal),
}

impl RunWatch {
    fn until_over(&mut self, news: &Receiver<WatchInput>, context: &Context) -> Result<i32, CliError> {
        let end = loop {
            match self.next_news(news) {
                // The sender of this message is about to request the run, unless a signal has cancelled it.
                Ok(WatchInput::Connected(output)) => {
                    context.remark(|| self.remark.clone());
                    self.output = Some(output);
                    self.may_run = true;
                }
                Ok(WatchInput::Ended(stream)) => break Ok(stream),
                Ok(WatchInput::Failed { error, is_refused }) => {
                    self.may_run &= !is_refused;
                    break Err(error);
                }
                Ok(WatchInput::Signal(heard)) => match self.hear(heard) {
                    Next::Watch => {}
                    Next::Leave(signal) => {
                        self.flush(true, news);
                        self.say_what_is_left();
                        return Ok(code::of_signal(signal));
                    }
                },
                Ok(other) => self.take_in(other),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((signal, _)) = self.early_stop {
                        self.flush(true, news);
                        self.say_what_is_left();
                        return Ok(code::of_signal(signal));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(CliError::failed("the process is not watched any more"));
                }
            }
        };
        if let Ok(stream) = &end {
            self.last_events(stream.last_seq, news);
        }
        self.flush(end.is_err(), news);
        if end.is_err() {
            self.say_what_is_left();
        }
        end.map(|stream| code::of_end(stream.end.as_ref()))
    }

    /// Waits for the next message. If a signal stops the command before its start, the wait has a time limit: when the
    /// daemon does not report the start, `run` exits with a message, and the closed connection cancels the launch.
    fn next_news(&self, news: &Receiver<WatchInput>) -> Result<WatchInput, RecvTimeoutError> {
        let Some((signal, at)) = self.early_stop else { return news.recv().map_err(RecvTimeoutError::from) };
        let told = news.recv_timeout(LAUNCH_MAX.saturating_sub(at.elapsed()));
        if matches!(told, Err(RecvTimeoutError::Timeout)) {
            self.remark(&format!("received {signal}; the daemon does not answer, and the launch is withdrawn"));
        }
        told
    }

    fn take_in(&mut self, news: WatchInput) {
        match news {
            WatchInput::Started(process, run) => {
                self.process = Some(process);
                self.series = run.map(Series::from);
                if let Some((signal, _)) = self.early_stop.take() {
                    self.stop(process, signal);
                }
                for signal in std::mem::take(&mut self.early) {
                    self.passing.pass(process, signal);
                }
                if std::mem::take(&mut self.is_suspended_early) {
                    self.suspend();
                }
            }
            WatchInput::Event(event) if self.process == Some(event.stream.process_id) => {
                // A run that was started after the end of the series belongs to another request.
                if self.series.as_mut().is_none_or(|series| series.takes(&event)) {
                    self.recorded(&event);
                }
            }
            WatchInput::Remark(text) => self.remark(&text),
            // The process may have ended in the meantime. A failed request about it then has no consequence.
            WatchInput::Refused(text) if self.is_left() => self.remark(&text),
            WatchInput::Refused(_)
            | WatchInput::Event(_)
            | WatchInput::Connected(_)
            | WatchInput::Signal(_)
            | WatchInput::Ended(_)
            | WatchInput::Failed { .. } => {}
        }
    }

    fn recorded(&mut self, event: &Event) {
        self.seen = event.seq;
        if let EventKind::Starting { identity, .. } = &event.kind {
            self.identity = *identity;
        }
        if let (Some(remark), Some(output)) = (self.reporter.announce(event), &self.output) {
            output.remark(remark);
        }
    }

    fn remark(&self, text: &str) {
        let text = format!("{}: {text}", self.name);
        match &self.output {
            Some(output) => output.remark(crate::render::escape::escape(&text).into_owned()),
            None => say(&text),
        }
    }

    fn hear(&mut self, heard: SignalMeaning) -> Next {
        match (heard, self.process) {
            (SignalMeaning::Stop { signal, is_first }, process) => {
                self.stops = self.stops.saturating_add(1);
                return self.on_stop_signal(signal, is_first, process);
            }
            (SignalMeaning::PassOn(signal), Some(process)) => self.passing.pass(process, signal),
            (SignalMeaning::PassOn(signal), None) => {
                if i32::from(signal.number()) == nix::libc::SIGQUIT && self.is_called_off(signal) {
                    return Next::Leave(signal);
                }
                if self.early.len() < EARLY_MAX {
                    self.early.push(signal);
                }
            }
            (SignalMeaning::Suspend, None) if self.may_run => self.is_suspended_early = true,
            (SignalMeaning::Suspend, _) => self.suspend(),
        }
        Next::Watch
    }

    fn on_stop_signal(&mut self, signal: Signal, is_first: bool, process: Option<ProcessId>) -> Next {
        if (process.is_none() && self.is_called_off(signal)) || self.killed_at.is_some_and(|at| at.elapsed() > KILL_MAX)
        {
            return Next::Leave(signal);
        }
        if !is_first {
            self.killed_at.get_or_insert_with(Instant::now);
        }
        match process {
            // Further signals have the same effect as the second signal.
            Some(process) if self.stops <= 2 => self.stop(process, signal),
            Some(_) => {}
            None => self.early_stop = self.early_stop.or_else(|| Some((signal, Instant::now()))),
        }
        Next::Watch
    }

    /// Whether the signal cancelled the run before the run was requested.
    fn is_called_off(&mut self, signal: Signal) -> bool {
        let is_called_off = self.once.take();
        if is_called_off {
            self.may_run = false;
            self.remark(&format!("received {signal}; it was not started"));
        }
        is_called_off
    }

    /// Stops the process within its stop timeout. The second signal kills the process immediately.
    fn stop(&self, process: ProcessId, signal: Signal) {
        let timeout = (self.stops > 1).then_some(Duration::ZERO);
        orders::stop(&self.dir, process, signal, timeout, &self.news);
    }

    /// Suspends the process, and then `run` itself until it receives SIGCONT. SIGCONT is passed on to the process.
    ///
    /// The signal is SIGSTOP, since the kernel ignores SIGTSTP in an orphaned process group (setpgid(2)).
    fn suspend(&self) {
        let [suspend, stop] = [nix::libc::SIGTSTP, nix::libc::SIGSTOP]
            .map(|number| u8::try_from(number).ok().and_then(Signal::from_number));
        if let (Some(process), Some(received), Some(sent)) = (self.process, suspend, stop) {
            let (done, told) = channel();
            self.passing.suspend(process, received, sent, done);
            let _ = told.recv_timeout(SUSPEND_MAX);
        }
        if let Err(error) = kill(Pid::this(), Known::SIGSTOP) {
            self.remark(&format!("cannot be suspended: {error}"));
        }
    }

    /// Waits for the events up to sequence number `last`, so that messages about them are printed.
    fn last_events(&mut self, last: u64, news: &Receiver<WatchInput>) {
        let began = Instant::now();
        while self.seen < last {
            match news.recv_timeout(EVENTS_MAX.saturating_sub(began.elapsed())) {
                Ok(other) => self.take_in(other),
                Err(_) => return,
            }
        }
    }

    /// Waits until the remaining output is written. The wait is short after one stop signal or when there is little
    /// time; after two stop signals, there is no wait.
    fn flush(&mut self, is_hurried: bool, news: &Receiver<WatchInput>) {
        let Some(output) = self.output.take() else { return };
        output.finish();
        let mut began = None;
        while self.stops < 2 && !output.is_through_in(FLUSH_POLL) {
            if self.stops > 0 || is_hurried {
                let began = began.get_or_insert_with(Instant::now);
                if began.elapsed() > FLUSH_MAX {
                    return;
                }
            }
            if let Ok(WatchInput::Signal(SignalMeaning::Stop { .. })) = news.try_recv() {
                self.stops = self.stops.saturating_add(1);
            }
        }
    }

    /// Whether the process of the latest run still runs.
    fn is_left(&self) -> bool {
        self.identity.is_some_and(|identity| status_of(&identity) == ProcessStatus::Alive)
    }

    /// If the command continues without `run`, or its end is not recorded, prints a message about it.
    fn say_what_is_left(&self) {
        if let Some(left) = what_is_left(&self.name, self.identity, self.may_run) {
            say(&left);
        }
    }
}

/// The message about the process `identity` of the latest run, when `run` exits before its end is recorded. `may_run` is
/// false if the run was refused or cancelled, so that no process exists.
fn what_is_left(name: &str, identity: Option<ProcessIdentity>, may_run: bool) -> Option<String> {
    match identity.map(|identity| (identity.pid, status_of(&identity))) {
        Some((pid, ProcessStatus::Alive)) => {
            Some(format!("{name} (pid {pid}) is left running; `apm2-ledger stop {name}` stops it"))
        }
        Some((pid, ProcessStatus::Zombie(_))) => {
            Some(format!("{name} (pid {pid}) has ended; the next daemon records its exit code"))
        }
        Some((_, ProcessStatus::Gone)) => None,
        Some((_, ProcessStatus::Unverifiable)) | None => {
            may_run.then(|| format!("{name} may be running; see `apm2-ledger show {name}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use apm2_core::process::identify;

    use super::*;

    #[test]
    fn a_process_that_has_ended_and_is_not_reaped_is_not_left_running() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let identity = identify(child.id());
        let left = || what_is_left("it", identity, true).unwrap_or_default();
        assert!(left().contains("is left running"), "{}", left());
        child.kill().unwrap();
        let began = Instant::now();
        while !left().contains("has ended") {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", left());
            thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(what_is_left("it", identity, true), None);
        assert!(what_is_left("it", None, true).is_some_and(|left| left.contains("may be running")));
        assert_eq!(what_is_left("it", None, false), None);
    }
}
