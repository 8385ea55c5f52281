//! The life of a daemon: it opens the ledger, recovers processes, serves clients and shuts down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use apm2_core::{
    blocking,
    log::LogThreads,
    process::{
        configure_malloc, proc_is_of_our_namespace, raise_descriptor_limit, release_free_memory, reset_inherited,
        reuse_large_allocations,
    },
};
use apm2_ledger::Ledger;
use apm2_model::{
    event::{kind::EventKind, requester::Requester},
    policy::boot::Boot,
    spec::launch::LaunchSpec,
};
use nix::{
    sys::stat::{Mode, umask},
    unistd::{getpid, getsid, setsid},
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::{
    runtime,
    sync::{mpsc, watch},
};

use crate::{
    accept_loop::until_leaving,
    address::{DAEMON_SOCKET, listen},
    calls::{forget::forget_runs, shutdown},
    drain::{ClosingListener, drain_clients},
    error::DaemonError,
    guard::{SocketGuard, registered},
    log_file::DaemonLog,
    options::DaemonOptions,
    pending_connections::PendingConnections,
    place::{self, PlaceCheck},
    recovery::{PreparedRecovery, prepare},
    reopen::{Poisoned, reopen},
    retain_at_start::retain_at_start,
    retention,
    service_manager::{READY, STOPPING, notify},
    signals::ShutdownSignals,
    start::{StartOutcome, report},
    state::{CLIENTS_MAX, DaemonState, ShutdownMode, is_run},
    thread_limit::check_thread_limit,
    watch::watch_place,
};

/// How long a blocking thread waits for work before it ends. Each has touched about 50 KiB of memory, and after the start of many
/// processes there are more than 60.
const IDLE_THREAD_MAX: Duration = Duration::from_secs(2);

/// Number of worker threads of the async runtime.
const WORKERS: usize = 2;

/// Number of blocking threads that are kept for work that no other one begins.
const RESERVE: usize = 1;

/// Number of blocking threads for reads, one for each client. Steps of instances have further threads, because they may
/// wait for a slow disk.
const READS_MAX: usize = CLIENTS_MAX;

/// The way in which [`run`] ended.
#[derive(Debug)]
enum ServeEnd {
    /// The process of the daemon must exit.
    Finished {
        /// Who requested it, and why.
        by: Requester,
        /// The errors of stops.
        problems: Vec<String>,
    },
    /// The ledger is poisoned (a write failed) and processes are supervised. The text names the running processes.
    Poisoned(Vec<String>),
}

/// Runs a daemon. It ends when a client asks it to; on SIGTERM or SIGINT, which stop all processes; on SIGHUP, which
/// leaves them running for the next daemon; or when it is idle. `log` is flushed before an execve(2).
///
/// # Errors
/// The ledger or the socket cannot be used, or a process could not be stopped.
pub fn serve(options: &DaemonOptions, log: &DaemonLog) -> Result<(), DaemonError> {
    if !proc_is_of_our_namespace() {
        return Err(DaemonError::ForeignProc);
    }
    isolate(options)?;
    configure_malloc();
    check_thread_limit(WORKERS + RESERVE).map_err(DaemonError::io("start threads"))?;
    let workers = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(blocking::THREADS_MAX + READS_MAX)
        .thread_keep_alive(IDLE_THREAD_MAX)
        .thread_name("apm2-daemon")
        .enable_all()
        .build()
        .map_err(DaemonError::io("start threads"))?;
    let entered = workers.enter();
    let mut signals = ShutdownSignals::listen().map_err(DaemonError::io("take signals"))?;
    drop(entered);
    let mut before = Poisoned::before();
    let ledger = match &mut before {
        None => {
            retain_at_start(&options.dir);
            Ledger::open(&options.dir)?
        }
        Some(poisoned) => match workers.block_on(reopen(options, poisoned, &mut signals))? {
            Some(ledger) => ledger,
            None => return Ok(()),
        },
    };
    // The check of a store, or its rebuild, needs much memory, and leaves little of it in use.
    release_free_memory();
    reuse_large_allocations();
    let began = Instant::now();
    let logs = Arc::new(LogThreads::default());
    // The descriptor is never closed. Threads use paths below `/proc/self/fd` that contain its number until the process
    // ends.
    let dir = Arc::clone(ledger.dir());
    watch_place(&ledger).map_err(DaemonError::io("start threads"))?;
    workers.spawn(blocking::keep_reserve());
    let served = workers.block_on(run(&ledger, options, &logs, &mut signals));
    // Tasks that still wait at this point have nothing left to do.
    workers.shutdown_background();
    if matches!(served, Err(DaemonError::OutOfSight(_))) {
        // Nothing was recovered or recorded, so no shutdown is necessary.
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
    let by = match &served {
        Ok(ServeEnd::Finished { by, .. }) => shutdown::recorded(by),
        Ok(ServeEnd::Poisoned(_)) | Err(_) => Requester::default(),
    };
    let stopped = ledger.append_system_by(EventKind::SupervisorStopped, by).map(drop);
    let closed = stopped.and_then(|()| ledger.close());
    drop(logs);
    std::mem::forget(dir);
    match served? {
        ServeEnd::Finished { problems, .. } if !problems.is_empty() => Err(DaemonError::Unstopped(problems)),
        ServeEnd::Finished { .. } | ServeEnd::Poisoned(_) => Ok(closed?),
    }
}

/// Whether the process executes a new daemon after its ledger was poisoned. It does if it supervises processes, or if
/// it was itself executed for this reason. A daemon that a client has just started reports the error to the client
/// instead.
fn is_to_begin_again(served: &Result<ServeEnd, DaemonError>, is_second: bool) -> bool {
    match served {
        Ok(ServeEnd::Poisoned(_)) => true,
        Ok(ServeEnd::Finished { .. }) => false,
        Err(error) => is_second && matches!(error, DaemonError::Append(_) | DaemonError::Read(_)),
    }
}

/// Detaches this process from its parent: session, umask, inherited resources. Called before any thread is started.
fn isolate(options: &DaemonOptions) -> Result<(), DaemonError> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    if options.is_started_by_client {
        // Normally, the client creates the session before execve(2). In the session of another process, the daemon
        // would receive the signals to that session.
        let session = getsid(None).map_err(|errno| DaemonError::io("find its session")(errno.into()))?;
        if session != getpid() {
            setsid().map_err(|errno| DaemonError::io("lead a session of its own")(errno.into()))?;
        }
        // A newly executed daemon has already reset these attributes.
        let kept = if Poisoned::before().is_none() { reset_inherited() } else { Vec::new() };
        for kept in kept {
            tracing::warn!("kept from the command that started this daemon: {kept}");
        }
    } else if let Err(errno) = setsid() {
        // EPERM means that a shell or a service manager has made the daemon a process group leader. This is intended.
        tracing::debug!(%errno, "the daemon stays in its session");
    }
    // The daemon becomes non-dumpable (prctl(2), `PR_SET_DUMPABLE`). Core dumps then do not contain the secrets of
    // launches, and other processes of the user cannot read them. This call follows the writes below `/proc/self`,
    // because the files there then belong to root.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| DaemonError::io("keep its memory to itself")(errno.into()))?;
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    Ok(())
}

async fn run(
    ledger: &Ledger,
    options: &DaemonOptions,
    logs: &Arc<LogThreads>,
    signals: &mut ShutdownSignals,
) -> Result<ServeEnd, DaemonError> {
    let (recording, chosen, threads) = (ledger.clone(), options.clone(), Arc::clone(logs));
    let prepared = blocking::step(move || prepare(&recording, &chosen, &threads));
    let prepared = prepared.await.map_err(DaemonError::io("read the ledger"))??;
    let PreparedRecovery { supervisor, past, started, watched_until, finding } = prepared;
    // Processes that the call `run` started before the shutdown are not started again, because their client is gone. In
    // a copied ledger, no process is started.
    let stays = if matches!(finding, PlaceCheck::Copy(_)) { |_: &LaunchSpec| true } else { is_run };
    let (supervisor, recovery) = supervisor.recover(Boot { cause: Some(started), watched_until, stays }, past).await;
    let noting = ledger.dir().clone();
    let noted = blocking::step(move || place::note(noting.at(), finding.place())).await;
    if let Err(error) = noted.and_then(|noted| noted) {
        tracing::error!(%error, "could not write the file `place`; the next daemon may take this directory for a copy");
    }
    for problem in &recovery.problems {
        tracing::error!("{problem}");
    }
    drop(recovery);
    // So does the recovery of many processes.
    let released = blocking::step(release_free_memory).await;
    released.map_err(DaemonError::io("release free memory"))?;
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
    notify(READY);
    if options.is_started_by_client {
        report(StartOutcome::Ready);
    }
    let guard = SocketGuard::new(file).map_err(DaemonError::io("look after the socket"))?;
    let (why, told) = until_leaving(&state, (&mut listener, guard), options, left, signals).await;
    state.is_leaving.store(true, Ordering::Release);
    let door = ClosingListener::of(&state, listener).map_err(DaemonError::io("listen on the socket while leaving"))?;
    notify(STOPPING);
    if matches!(why, ShutdownMode::Reexec) {
        drain_clients(&state, door).await;
        finish_starts(&state, options.stop_deadline).await;
        return Ok(ServeEnd::Poisoned(shutdown::running(&state.supervisor)));
    }
    let is_running_on = matches!(why, ShutdownMode::LeaveRunning(_));
    let (by, problems) = match why {
        ShutdownMode::StopAll(by) => {
            let request = shutdown::own_shutdown(&by);
            let report = state.supervisor.shutdown(options.stop_deadline, &request).await;
            (by, report.problems)
        }
        ShutdownMode::LeaveRunning(by) => (by, Vec::new()),
        ShutdownMode::Reexec => (Requester::default(), Vec::new()),
    };
    if let Some(told) = told {
        // The receiver is gone if the client has closed its connection.
        let _ = told.send(problems.clone());
    }
    drain_clients(&state, door).await;
    if is_running_on {
        finish_starts(&state, options.stop_deadline).await;
    }
    Ok(ServeEnd::Finished { by, problems })
}

/// Refuses new starts, and waits until starts in progress are recorded, so that the next daemon finds their processes.
async fn finish_starts(state: &DaemonState, deadline: Duration) {
    if !state.supervisor.leave(deadline).await {
        tracing::error!("a start is still under way after {deadline:?}; the next daemon may not find its process");
    }
}

/// A channel that holds the size of the ledger. Each commit updates the size.
fn watch_head(ledger: &Ledger) -> watch::Receiver<u64> {
    let (sender, head) = watch::channel(0);
    let sender = Arc::new(sender);
    let grown = Arc::clone(&sender);
    // Updates may arrive in any order. The size of the ledger never decreases, so the larger value is the later one.
    let grow = |to: u64| move |size: &mut u64| std::mem::replace(size, to.max(*size)) < to;
    ledger.on_commit(move |size| {
        grown.send_if_modified(grow(size));
    });
    sender.send_if_modified(grow(ledger.reader().head().map_or(0, |head| head.size)));
    head
}
