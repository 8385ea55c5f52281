//! From a specification to an exit code: what comes of the run, and what signals to us make of it.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::LogsDir,
    process::{allowed_variables, identify},
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
        announcer::Announcer,
        call::{Call, News, Once, tell},
        code,
        orders::{self, Passing},
        output::Output,
        signals::{Heard, Signals},
        stdin,
    },
    context::Context,
    error::CliError,
    terminal::say,
};

/// How long our outputs are given for what is left, when we are to leave.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether our outputs are through.
const FLUSH_POLL: Duration = Duration::from_millis(20);

/// How long the last events are waited for, once the end is known.
const EVENTS_MAX: Duration = Duration::from_secs(1);

/// How long SIGKILL is given before a further signal makes us leave without the command.
const KILL_MAX: Duration = Duration::from_secs(2);

/// How long the daemon is given to say that the command is started, once a signal says to stop it.
const LAUNCH_MAX: Duration = Duration::from_secs(1);

/// How long the command may take to be suspended before we are.
const SUSPEND_MAX: Duration = Duration::from_secs(20);

/// Signals that may wait for the command to be started.
const EARLY_MAX: usize = 16;

/// Has `spec` run until its policy or a signal says that it is over; gives the code to leave with.
///
/// # Errors
/// When it cannot be supervised.
pub(crate) fn watch(spec: ProcessSpec, reason: Option<String>, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let (sender, news) = channel();
    listen(sender.clone())?;
    let once = Once::default();
    let mut watch = Watch {
        name: spec.name.clone(),
        remark: format!("recording {} in {}", spec.name, dir.display()),
        announcer: Announcer::new(&spec.name, context.verbose),
        passing: Passing::start(dir.clone(), sender.clone()),
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
    let call = Call { dir, launch, stdin, reason, files, news: sender, once };
    thread::spawn(move || call.run());
    watch.until_over(&news, context)
}

/// Turns signals into news, on a thread of its own.
fn listen(news: Sender<News>) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot take signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let entered = runtime.enter();
    let signals = Signals::listen().map_err(failed)?;
    drop(entered);
    thread::spawn(move || runtime.block_on(signals.forward(|heard| tell(&news, News::Signal(heard)))));
    Ok(())
}

struct Watch {
    name: String,
    /// What is said at the beginning, if more is wanted than the output.
    remark: String,
    announcer: Announcer,
    passing: Passing,
    news: Sender<News>,
    once: Once,
    dir: PathBuf,
    /// Whether it was asked for.
    may_run: bool,
    process: Option<ProcessId>,
    /// The runs that are waited for.
    series: Option<Series>,
    /// The process of the latest run that was seen to begin.
    identity: Option<ProcessIdentity>,
    output: Option<Output>,
    /// The seq of the last event that was seen of the process.
    seen: u64,
    /// Signals to stop that were received.
    stops: u32,
    /// When SIGKILL was asked for.
    killed_at: Option<Instant>,
    /// The signal to stop that came before there was a process to stop, and when.
    early_stop: Option<(Signal, Instant)>,
    /// Those to be passed on.
    early: Vec<Signal>,
    /// Whether it is to be suspended as soon as it is started.
    is_suspended_early: bool,
}

/// How the watch goes on.
enum Next {
    Watch,
    /// A signal says to leave at once, with its code.
    Leave(Signal),
}

impl Watch {
    fn until_over(&mut self, news: &Receiver<News>, context: &Context) -> Result<i32, CliError> {
        let end = loop {
            match self.next_news(news) {
                // The thread that sent it asks for the run now, unless it was called off.
                Ok(News::Connected(output)) => {
                    context.remark(|| self.remark.clone());
                    self.output = Some(output);
                    self.may_run = true;
                }
                Ok(News::Ended(stream)) => break Ok(stream),
                Ok(News::Failed { error, is_refused }) => {
                    self.may_run &= !is_refused;
                    break Err(error);
                }
                Ok(News::Signal(heard)) => match self.hear(heard) {
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

    /// The next news. Times out when the daemon does not say that it has started what a signal says to stop: it is left with
    /// a word, and the end of the connection withdraws the launch.
    fn next_news(&self, news: &Receiver<News>) -> Result<News, RecvTimeoutError> {
        let Some((signal, at)) = self.early_stop else { return news.recv().map_err(RecvTimeoutError::from) };
        let told = news.recv_timeout(LAUNCH_MAX.saturating_sub(at.elapsed()));
        if matches!(told, Err(RecvTimeoutError::Timeout)) {
            self.remark(&format!("received {signal}; the daemon does not answer, and the launch is withdrawn"));
        }
        told
    }

    fn take_in(&mut self, news: News) {
        match news {
            News::Started(process, run) => {
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
            News::Event(event) if self.process == Some(event.stream.process_id) => {
                // What was started once all was over is somebody else's.
                if self.series.as_mut().is_none_or(|series| series.takes(&event)) {
                    self.recorded(&event);
                }
            }
            News::Remark(text) => self.remark(&text),
            // What has ended meanwhile could not be stopped or signalled, and need not be.
            News::Refused(text) if self.is_left() => self.remark(&text),
            News::Refused(_)
            | News::Event(_)
            | News::Connected(_)
            | News::Signal(_)
            | News::Ended(_)
            | News::Failed { .. } => {}
        }
    }

    fn recorded(&mut self, event: &Event) {
        self.seen = event.seq;
        if let EventKind::Starting { identity, .. } = &event.kind {
            self.identity = *identity;
        }
        if let (Some(remark), Some(output)) = (self.announcer.announce(event), &self.output) {
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

    fn hear(&mut self, heard: Heard) -> Next {
        match (heard, self.process) {
            (Heard::Stop { signal, is_first }, process) => {
                self.stops = self.stops.saturating_add(1);
                return self.stop_heard(signal, is_first, process);
            }
            (Heard::PassOn(signal), Some(process)) => self.passing.pass(process, signal),
            (Heard::PassOn(signal), None) => {
                if i32::from(signal.number()) == nix::libc::SIGQUIT && self.is_called_off(signal) {
                    return Next::Leave(signal);
                }
                if self.early.len() < EARLY_MAX {
                    self.early.push(signal);
                }
            }
            (Heard::Suspend, None) if self.may_run => self.is_suspended_early = true,
            (Heard::Suspend, _) => self.suspend(),
        }
        Next::Watch
    }

    fn stop_heard(&mut self, signal: Signal, is_first: bool, process: Option<ProcessId>) -> Next {
        if (process.is_none() && self.is_called_off(signal)) || self.killed_at.is_some_and(|at| at.elapsed() > KILL_MAX)
        {
            return Next::Leave(signal);
        }
        if !is_first {
            self.killed_at.get_or_insert_with(Instant::now);
        }
        match process {
            // Each further one would ask for the same as the second.
            Some(process) if self.stops <= 2 => self.stop(process, signal),
            Some(_) => {}
            None => self.early_stop = self.early_stop.or_else(|| Some((signal, Instant::now()))),
        }
        Next::Watch
    }

    /// Whether the signal came before the run was asked for, so that it never is.
    fn is_called_off(&mut self, signal: Signal) -> bool {
        let is_called_off = self.once.take();
        if is_called_off {
            self.may_run = false;
            self.remark(&format!("received {signal}; it was not started"));
        }
        is_called_off
    }

    /// Has the process stopped within its own time, and at once upon a second signal.
    fn stop(&self, process: ProcessId, signal: Signal) {
        let timeout = (self.stops > 1).then_some(Duration::ZERO);
        orders::stop(&self.dir, process, signal, timeout, &self.news);
    }

    /// Suspends the process, and then ourselves, until we get SIGCONT, which is passed on.
    ///
    /// It is sent SIGSTOP: the kernel ignores SIGTSTP in a group that has no shell.
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
        while self.stops < 2 && !output.is_through_in(FLUSH_POLL) {
            if self.stops > 0 || is_hurried {
                let began = began.get_or_insert_with(Instant::now);
                if began.elapsed() > FLUSH_MAX {
                    return;
                }
            }
            if let Ok(News::Signal(Heard::Stop { .. })) = news.try_recv() {
                self.stops = self.stops.saturating_add(1);
            }
        }
    }

    /// Whether the process that was last seen to begin is there.
    fn is_left(&self) -> bool {
        self.identity.is_some_and(|identity| identify(identity.pid) == Some(identity))
    }

    /// Says that the command goes on without us, if it does.
    fn say_what_is_left(&self) {
        let name = &self.name;
        match self.identity {
            Some(identity) if self.is_left() => {
                let pid = identity.pid;
                say(&format!("{name} (pid {pid}) is left running; `apm2-ledger stop {name}` stops it"));
            }
            Some(_) => {}
            // What was refused, or called off, does not run. All else may.
            None if self.may_run => say(&format!("{name} may be running; `apm2-ledger show {name}` tells")),
            None => {}
        }
    }
}
