//! The life of a daemon: opening the ledger, taking up what was left, serving, leaving.

use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use apm2_core::{
    blocking,
    log::{LogThreads, LogsDir},
    process::{LedgerPlace, proc_is_of_our_namespace, raise_descriptor_limit, reset_inherited},
    supervisor::{Past, Services, Supervisor, Unrecovered},
};
use apm2_ledger::{Ledger, Place, ReadError};
use apm2_model::{
    clock::{SystemClock, boot_id},
    event::{kind::EventKind, stream_id::StreamId, timestamp::Timestamp},
    policy::boot::Boot,
    spec::launch::LaunchSpec,
    state::stream::Stream,
};
use nix::{
    sys::stat::{Mode, umask},
    unistd::{getpid, getsid, setsid},
};
use rustix::{
    net::{Shutdown, SocketFlags, accept_with, shutdown},
    process::{DumpableBehavior, set_dumpable_behavior},
};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time,
};

use crate::{
    address::{ACCEPT_PAUSE, DAEMON_SOCKET, listen},
    calls::{forget::forget_runs, shutdown},
    error::DaemonError,
    fd_store::client::FdStoreClient,
    guard::{SocketGuard, registered},
    launches::{LaunchFiles, launched},
    log_file::DaemonLog,
    options::DaemonOptions,
    pending_connections::PendingConnections,
    place::{self, Evidence, Finding},
    reopen::{Poisoned, reopen},
    retention::{self, LOGS_DIR},
    session,
    signals::Signals,
    start::{StartOutcome, report},
    state::{CLIENTS_MAX, DaemonState, ShutdownMode, is_run},
    watch::{poisoned, watch_place},
};

/// Threads that answer clients and tend processes.
const WORKERS: usize = 2;

/// Blocking threads for what only reads, beside those for steps, which may wait for a slow disk: one for each client.
const READS_MAX: usize = CLIENTS_MAX;

/// How often it is looked whether there is anything left to do.
const IDLE_POLL: Duration = Duration::from_secs(1);

/// The same while there is: it wakes two threads.
const BUSY_POLL: Duration = Duration::from_secs(5);

/// The last events of the ledger among which one of a supervisor is looked for.
const WATCHED_EVENTS_MAX: u64 = 64;

/// How long leaving clients are waited for.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Why nothing of a copy's record is taken up.
const COPY_REASON: &str = "this is a copy of the ledger that it was started in, or a restored backup of it";

/// What to do about it.
const COPY_ADVICE: &str =
    "where no daemon of the other directory supervises it, end it with kill(1), then start it here";

/// How it ended.
#[derive(Debug)]
enum ServeEnd {
    /// There is nothing more to do.
    Finished,
    /// The ledger takes nothing any more, and something is supervised: what runs.
    Poisoned(Vec<String>),
}

/// Serves until told to leave by a client or by SIGTERM or SIGINT, which stop everything, or by SIGHUP, which leaves
/// everything running for the next daemon; or until there is nothing to do. What is said goes to `log`, which is flushed where the
/// process does not come back from here.
///
/// # Errors
/// When the ledger or the socket cannot be used, or something could not be stopped.
pub fn serve(options: &DaemonOptions, log: &DaemonLog) -> Result<(), DaemonError> {
    if !proc_is_of_our_namespace() {
        return Err(DaemonError::ForeignProc);
    }
    isolate(options)?;
    let workers = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(blocking::THREADS_MAX + READS_MAX)
        .thread_name("apm2-daemon")
        .enable_all()
        .build()
        .map_err(DaemonError::io("start threads"))?;
    let entered = workers.enter();
    let mut signals = Signals::listen().map_err(DaemonError::io("take signals"))?;
    drop(entered);
    let mut before = Poisoned::before();
    let ledger = match &mut before {
        None => Ledger::open(&options.dir)?,
        Some(poisoned) => match workers.block_on(reopen(options, poisoned, &mut signals))? {
            Some(ledger) => ledger,
            None => return Ok(()),
        },
    };
    let began = Instant::now();
    let logs = Arc::new(LogThreads::default());
    // Its descriptor is a part of paths that threads use for as long as this process lives.
    let dir = Arc::clone(ledger.dir());
    watch_place(&ledger).map_err(DaemonError::io("start threads"))?;
    let served = workers.block_on(run(&ledger, options, &logs, &mut signals));
    // What still waits in a task waits for nothing any more.
    workers.shutdown_background();
    if matches!(served, Err(DaemonError::OutOfSight(_))) {
        // Nothing was begun, and nothing is recorded.
        ledger.close()?;
        return served.map(drop);
    }
    if let Some(poison) = ledger.poisoned()
        && is_to_begin_again(&served, before.is_some())
    {
        let running = match served {
            Ok(ServeEnd::Poisoned(running)) => running,
            _ => before.as_ref().map(Poisoned::running).unwrap_or_default(),
        };
        return Err(Poisoned::again(before, (&poison, ledger.known()), running, began.elapsed()).begin_again(&dir, log));
    }
    let stopped = ledger.append_system(EventKind::SupervisorStopped).map(drop);
    let closed = stopped.and_then(|()| ledger.close());
    drop(logs);
    std::mem::forget(dir);
    served?;
    Ok(closed?)
}

/// Whether a poisoned daemon becomes a new one: where it has something to take over, or is such a new one itself. One that
/// a client has just started tells that client instead.
fn is_to_begin_again(served: &Result<ServeEnd, DaemonError>, is_second: bool) -> bool {
    match served {
        Ok(ServeEnd::Poisoned(_)) => true,
        Ok(ServeEnd::Finished) => false,
        Err(error) => is_second && matches!(error, DaemonError::Append(_) | DaemonError::Read(_)),
    }
}

/// Makes this process independent of what started it. Before any thread is made.
fn isolate(options: &DaemonOptions) -> Result<(), DaemonError> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    if options.is_started_by_client {
        // Seen to before exec; a daemon in another's session would end with it.
        let session = getsid(None).map_err(|errno| DaemonError::io("find its session")(errno.into()))?;
        if session != getpid() {
            setsid().map_err(|errno| DaemonError::io("lead a session of its own")(errno.into()))?;
        }
        // A daemon that begins again has seen to it before.
        let kept = if Poisoned::before().is_none() { reset_inherited() } else { Vec::new() };
        for kept in kept {
            tracing::warn!("kept from the command that started this daemon: {kept}");
        }
    } else if let Err(errno) = setsid() {
        // A shell or a service manager has made it the leader of a group or a session, to which it belongs by intent.
        tracing::debug!(%errno, "it stays in the session that it was started in");
    }
    // After what is written below /proc/self, which then belongs to root. What it is given must be in no core dump, and
    // nobody without privileges may look into it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| DaemonError::io("keep its memory to itself")(errno.into()))?;
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    Ok(())
}

/// The pid of the supervisor before this one, where it ran.
fn pid_of_latest_supervisor(ledger: &Ledger) -> Option<u32> {
    let events = ledger.reader().stream_events(StreamId::SYSTEM).filter_map(Result::ok);
    let started = events.filter_map(|event| match event.kind {
        EventKind::SupervisorStarted { pid, .. } => Some(pid),
        _ => None,
    });
    started.last()
}

/// What the record tells of the place that it is in, as far as streams were noted.
pub(crate) struct LedgerSummary {
    has_open_runs: bool,
    is_empty: bool,
}

impl LedgerSummary {
    pub(crate) const fn none() -> Self {
        Self { has_open_runs: false, is_empty: true }
    }

    pub(crate) fn note(&mut self, stream: &Stream) {
        let is_of_this_boot = || stream.identity.is_none_or(|identity| identity.boot_id == boot_id());
        self.has_open_runs |= Supervisor::is_unfinished(stream) && is_of_this_boot();
        self.is_empty &= stream.id.is_system();
    }

    /// What they tell, and the keeper.
    pub(crate) fn evidence(&self, fd_store: &FdStoreClient) -> Evidence {
        let Self { has_open_runs, is_empty } = *self;
        // Asked only where it matters.
        Evidence { has_fd_store: has_open_runs && fd_store.is_present(), has_open_runs, is_empty }
    }
}

/// What is on record, with little of it in memory, and what that tells of the place.
fn past(ledger: &Ledger) -> Result<(Past, LedgerSummary), ReadError> {
    let (mut past, mut summary) = (nothing_yet(ledger), LedgerSummary::none());
    ledger.reader().each_stream(|stream| {
        summary.note(&stream);
        past.add(stream);
        ControlFlow::Continue(())
    })?;
    Ok((past, summary))
}

/// A past to which nothing was added. What is launched from here is held whole; where that cannot be listed, it is loaded
/// later.
fn nothing_yet(ledger: &Ledger) -> Past {
    Past::of(launched(ledger.dir().at()).ok().flatten().unwrap_or_default())
}

/// Closes what is open on the record of a copy, and says what is left alone. Gives what is on record then.
fn left_alone(ledger: &Ledger, supervisor: &Unrecovered) -> Result<Past, DaemonError> {
    let mut past = nothing_yet(ledger);
    let mut failure = None;
    ledger.reader().each_stream(|stream| {
        if Supervisor::is_unfinished(&stream) {
            let (name, pid) = (stream.handle.display_name(), stream.handle.pid);
            tracing::warn!(process = name, ?pid, "left alone, and not started: {COPY_REASON}; {COPY_ADVICE}");
        }
        match supervisor.disown(stream, COPY_REASON) {
            Ok(stream) => {
                past.add(stream);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(past), |error| Err(DaemonError::io("record what is left alone")(io::Error::other(error))))
}

/// What a daemon has before it takes anything over.
struct Prepared {
    supervisor: Unrecovered,
    past: Past,
    /// The seq of the event of its start.
    started: u64,
    /// When a supervisor before this one last recorded anything.
    watched_until: Option<Timestamp>,
    finding: Finding,
}

/// Reads the ledger, and records that it is supervised from here on, unless it must not be.
fn prepare(ledger: &Ledger, options: &DaemonOptions, logs: &Arc<LogThreads>) -> Result<Prepared, DaemonError> {
    let watched_until = watched_until(ledger);
    let (past, summary) = past(ledger)?;
    let fd_store = Arc::new(FdStoreClient::new(ledger.dir(), options.fd_store_command.clone()));
    let finding =
        place::find(ledger.dir().at(), summary.evidence(&fd_store)).map_err(DaemonError::io("read `place`"))?;
    if matches!(finding, Finding::Copy(_)) {
        fd_store.require_proof();
    }
    let supervisor = Unrecovered::new(services(ledger, logs, fd_store, finding.place()));
    let is_copy = matches!(finding, Finding::Copy(_));
    if !is_copy && !options.forget_other_namespaces {
        let out_of_sight = supervisor.out_of_sight(past.streams(), || pid_of_latest_supervisor(ledger));
        if !out_of_sight.is_empty() {
            return Err(DaemonError::OutOfSight(out_of_sight));
        }
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let started = ledger.append_system(EventKind::SupervisorStarted { pid: std::process::id(), version })?.seq;
    let past = if is_copy { left_alone(ledger, &supervisor)? } else { past };
    Ok(Prepared { supervisor, past, started, watched_until, finding })
}

/// When a supervisor last recorded anything. What was found on opening the ledger was recorded since then, and tells nothing
/// of when a supervisor was there.
fn watched_until(ledger: &Ledger) -> Option<Timestamp> {
    let size = ledger.reader().head()?.size;
    let latest = ledger.reader().events(size.saturating_sub(WATCHED_EVENTS_MAX).max(1), size).filter_map(Result::ok);
    let is_of_supervisor = |kind: &EventKind| {
        !kind.is_system() || matches!(kind, EventKind::SupervisorStarted { .. } | EventKind::SupervisorStopped)
    };
    latest.filter(|event| is_of_supervisor(&event.kind)).last().map(|event| event.stamp)
}

async fn run(
    ledger: &Ledger,
    options: &DaemonOptions,
    logs: &Arc<LogThreads>,
    signals: &mut Signals,
) -> Result<ServeEnd, DaemonError> {
    let (recording, chosen, threads) = (ledger.clone(), options.clone(), Arc::clone(logs));
    let prepared = blocking::step(move || prepare(&recording, &chosen, &threads));
    let prepared = prepared.await.map_err(DaemonError::io("read the ledger"))??;
    let Prepared { supervisor, past, started, watched_until, finding } = prepared;
    // No client waits any more for what `run` has started before a shutdown. A copy starts nothing by itself.
    let stays = if matches!(finding, Finding::Copy(_)) { |_: &LaunchSpec| true } else { is_run };
    let (supervisor, recovery) = supervisor.recover(Boot { cause: Some(started), watched_until, stays }, past).await;
    let noting = ledger.dir().clone();
    let noted = blocking::step(move || place::note(noting.at(), finding.place())).await;
    if let Err(error) = noted.and_then(|noted| noted) {
        tracing::error!(%error, "it is not noted which place this is; the next daemon may take it for a copy");
    }
    for problem in &recovery.problems {
        tracing::error!("{problem}");
    }
    let (leave, left) = mpsc::channel(1);
    let clients = AtomicUsize::new(0);
    let pending = PendingConnections::default();
    let (ledger_copy, dir, head) = (ledger.clone(), ledger.dir().clone(), watch_head(ledger));
    let state = Arc::new(DaemonState {
        supervisor,
        ledger: ledger_copy,
        dir,
        leave,
        pending,
        head,
        clients,
        is_leaving: AtomicBool::new(false),
    });
    forget_runs(&state);
    let (mut listener, file) = listen(ledger.dir().at(), DAEMON_SOCKET)
        .and_then(|(listener, file)| Ok((registered(listener)?, file)))
        .map_err(DaemonError::io("listen on the socket"))?;
    tokio::spawn(retention::keep(Arc::clone(&state), options.retention));
    notify("READY=1");
    if options.is_started_by_client {
        report(StartOutcome::Ready);
    }
    let guard = SocketGuard::new(file).map_err(DaemonError::io("look after the socket"))?;
    let (why, told) = until_leaving(&state, (&mut listener, guard), options, left, signals).await;
    state.is_leaving.store(true, Ordering::Release);
    let door = ClosingListener::of(&state, listener).map_err(DaemonError::io("listen on the socket while leaving"))?;
    notify("STOPPING=1");
    if matches!(why, ShutdownMode::Reexec) {
        drain_clients(&state, door).await;
        finish_starts(&state, options.stop_deadline).await;
        return Ok(ServeEnd::Poisoned(shutdown::running(&state.supervisor)));
    }
    let is_running_on = matches!(why, ShutdownMode::LeaveRunning);
    let problems = match why {
        ShutdownMode::StopAll(request) => state.supervisor.shutdown(options.stop_deadline, &request).await.problems,
        ShutdownMode::LeaveRunning | ShutdownMode::Reexec => Vec::new(),
    };
    if let Some(told) = told {
        // A client that is gone need not be told.
        let _ = told.send(problems.clone());
    }
    drain_clients(&state, door).await;
    if is_running_on {
        finish_starts(&state, options.stop_deadline).await;
    }
    if problems.is_empty() { Ok(ServeEnd::Finished) } else { Err(DaemonError::Unstopped(problems)) }
}

/// The size of the ledger, as it grows.
fn watch_head(ledger: &Ledger) -> watch::Receiver<u64> {
    let (sender, head) = watch::channel(0);
    let sender = Arc::new(sender);
    let grown = Arc::clone(&sender);
    // Of two sizes the larger one is the later one, in whatever order they come.
    let grow = |to: u64| move |size: &mut u64| std::mem::replace(size, to.max(*size)) < to;
    ledger.on_commit(move |size| {
        grown.send_if_modified(grow(size));
    });
    sender.send_if_modified(grow(ledger.reader().head().map_or(0, |head| head.size)));
    head
}

/// The socket of a daemon that is leaving: what reads is answered, and what would change something is refused.
struct ClosingListener {
    listener: OwnedFd,
    accepting: JoinHandle<()>,
}

impl ClosingListener {
    fn of(state: &Arc<DaemonState>, listener: UnixListener) -> io::Result<Self> {
        let handle = listener.as_fd().try_clone_to_owned()?;
        let state = Arc::clone(state);
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => spawn_session(&state, stream),
                    Err(_) => time::sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Ok(Self { listener: handle, accepting })
    }

    /// Takes in the connections that were made, and lets no further one be made: they are refused, as where there is no daemon.
    async fn close(self, state: &Arc<DaemonState>) {
        // Before the socket is shut, which it would take for one that is always ready.
        self.accepting.abort();
        drop(self.accepting.await);
        if let Err(error) = shutdown(&self.listener, Shutdown::Both) {
            tracing::debug!(%error, "the socket is closed with the process");
            return;
        }
        while let Ok(connection) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            match UnixStream::from_std(connection.into()) {
                Ok(stream) => spawn_session(state, stream),
                Err(error) => tracing::debug!(%error, "a client is not answered"),
            }
        }
    }
}

/// Lets no start begin any more, and waits until those under way are on record, so that the next daemon finds their processes.
async fn finish_starts(state: &DaemonState, deadline: Duration) {
    if !state.supervisor.leave(deadline).await {
        tracing::error!("a start is still under way after {deadline:?}; the next daemon may not find its process");
    }
}

/// Lets clients have the answers that are on their way.
async fn drain_clients(state: &Arc<DaemonState>, door: ClosingListener) {
    door.close(state).await;
    let began = Instant::now();
    let is_anyone_there = || state.clients.load(Ordering::Acquire) > 0 || !state.pending.is_empty();
    while is_anyone_there() && began.elapsed() < LEAVE_MAX {
        time::sleep(Duration::from_millis(2)).await;
    }
}

fn services(ledger: &Ledger, logs: &Arc<LogThreads>, fd_store: Arc<FdStoreClient>, place: LedgerPlace) -> Services {
    Services {
        store: Arc::new(ledger.clone()),
        clock: Arc::new(SystemClock),
        launches: Arc::new(LaunchFiles::new(ledger.dir())),
        place: Some(place),
        fd_store: Some(fd_store),
        logs: Some((LogsDir::new(ledger.dir().at().join(LOGS_DIR)), Arc::clone(logs))),
        adapters: Arc::new(|_| None),
    }
}

type ShutdownAck = Option<oneshot::Sender<Vec<String>>>;

/// Serves clients until it is time to leave.
async fn until_leaving(
    state: &Arc<DaemonState>,
    (listener, mut guard): (&mut UnixListener, SocketGuard),
    options: &DaemonOptions,
    mut left: mpsc::Receiver<(ShutdownMode, ShutdownAck)>,
    signals: &mut Signals,
) -> (ShutdownMode, ShutdownAck) {
    let mut busy = Instant::now();
    let mut ticks = time::interval(IDLE_POLL);
    let mut poisoned = poisoned(&state.ledger);
    let mut is_deaf = false;
    loop {
        tokio::select! {
            biased;
            Some(told) = left.recv() => return told,
            Some(place) = poisoned.recv() => match place {
                Place::Moved => return (ShutdownMode::LeaveRunning, None),
                Place::Same if !state.supervisor.launches().is_empty() => return (ShutdownMode::Reexec, None),
                // No other daemon could ever take over what runs.
                Place::Same | Place::Removed | Place::Exchanged => {}
            },
            leave = signals.next() => return (leave, None),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    is_deaf = false;
                    spawn_session(state, stream);
                }
                // Out of descriptors, perhaps: it stays pending, and is no reason to turn in circles.
                Err(error) => {
                    if !std::mem::replace(&mut is_deaf, true) {
                        tracing::warn!(%error, "a client could not be accepted");
                    }
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
            made = guard.made() => match registered(made) {
                Ok(made) => *listener = made,
                Err(error) => tracing::error!(%error, "the socket that was made again cannot be listened on"),
            },
            _ = ticks.tick() => {
                let has_clients = state.clients.load(Ordering::Acquire) > 0 || !state.pending.is_empty();
                if has_clients || !state.supervisor.is_idle() {
                    busy = Instant::now();
                    ticks.reset_after(BUSY_POLL);
                }
                // A ledger that takes nothing any more is left as soon as nothing is lost by it.
                let limit = if state.ledger.poisoned().is_some() { Some(Duration::ZERO) } else { options.idle_timeout };
                if limit.is_some_and(|limit| busy.elapsed() >= limit) && !has_clients && state.supervisor.is_idle() {
                    return (ShutdownMode::LeaveRunning, None);
                }
            }
        }
    }
}

fn spawn_session(state: &Arc<DaemonState>, stream: UnixStream) {
    let (admit, admitted) = oneshot::channel();
    let ours = Arc::clone(state);
    let task = tokio::spawn(async move {
        // It has a number before it does anything, so that it can give that back.
        if let Ok(number) = admitted.await {
            session::serve(&ours, stream, number).await;
        }
    });
    // A task that was aborted at once needs no number.
    let _ = admit.send(state.pending.add(task.abort_handle()));
}

/// Tells the service manager, if there is one (`sd_notify(3)`).
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = || {
        use std::os::{
            linux::net::SocketAddrExt as _,
            unix::{
                ffi::OsStrExt as _,
                net::{SocketAddr, UnixDatagram},
            },
        };
        let address = match path.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = sent() {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
