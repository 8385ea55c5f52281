//! `daemon`: the owner of a ledger, and the supervisor of what runs.

use std::{
    ffi::OsStr,
    io,
    os::fd::AsFd as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::{LOGS_BYTES_MAX, Retention},
    process::RUN_VARIABLE,
};
use apm2_daemon::{
    DaemonError, DaemonOptions,
    client::{Client, ClientError},
    fd_store::serve_descriptors,
    log_file::DaemonLog,
    owner::{Owner, Ownership, ownership},
    protocol::{Answer, Request},
    start::{StartOutcome, report},
    stray::strays,
};
use apm2_ledger::OpenError;
use nix::unistd::{getpid, getsid};

use crate::{
    context::Context,
    daemon::{answered, ask, connect, own_command},
    error::{CliError, ErrorKind},
    terminal::say,
};

/// How long a daemon that a client started stays with nothing to do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a daemon that was sent a signal may take to end, with all that it stops.
const END_MAX: Duration = Duration::from_secs(60);

/// How long a daemon whose connection is lost is waited for, to tell one that ends from one that begins again.
const END_POLL: Duration = Duration::from_millis(200);

/// How long a daemon that does not have the ledger at its path may take to leave, as that of a moved ledger does, or to begin.
const STRAY_MAX: Duration = Duration::from_secs(5);

/// Supervise processes until told to leave
///
/// There is one daemon for a ledger. Commands that need one start it by themselves; it then leaves when it has nothing to
/// do. To have one always, run this under systemd: docs/daemon.md has a unit.
///
/// SIGTERM and SIGINT stop everything and leave. SIGHUP leaves everything running: the next daemon takes it over. So does
/// the next daemon after a SIGKILL: nothing is lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger daemon                     until SIGTERM or SIGINT
  apm2-ledger daemon --stop              stop everything, and the daemon
  apm2-ledger daemon --leave             the daemon leaves, what runs goes on")]
pub(crate) struct DaemonArgs {
    /// Leave when there has been nothing to do for --idle-timeout
    #[arg(long)]
    on_demand: bool,
    /// See --on-demand
    #[arg(long, value_name = "DURATION", requires = "on_demand", value_parser = humantime::parse_duration)]
    idle_timeout: Option<Duration>,
    /// Take processes that ran in another pid namespace, such as a container that is gone, for ended
    #[arg(long)]
    forget_other_namespaces: bool,
    /// A client starts it, for itself and others, and reads on its standard output how that went
    #[arg(long, hide = true)]
    report_start: bool,
    /// The time in which everything is stopped on SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    stop_deadline: Duration,
    /// All logs in the ledger's directory together. Beyond it, the oldest of what is not supervised any more are removed
    #[arg(long, value_name = "BYTES", default_value_t = LOGS_BYTES_MAX)]
    logs_bytes_max: u64,
    /// How long the logs of what is not supervised any more are kept
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = humantime::parse_duration)]
    logs_age_max: Duration,
    /// Tell the daemon of this ledger to stop everything and leave
    #[arg(long, conflicts_with_all = ["on_demand", "leave"])]
    stop: bool,
    /// Tell the daemon of this ledger to leave everything running
    #[arg(long, conflicts_with = "on_demand")]
    leave: bool,
    /// Why: recorded with what is done
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: DaemonArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    if args.stop || args.leave {
        return end(&dir, args.leave, args.reason);
    }
    if is_part_of_a_run() && connect(&dir)?.is_none() {
        return run_apart(&dir, &args);
    }
    let cannot_log = |error| CliError::failed(format!("no thread for the log: {error}"));
    let log = DaemonLog::start(&std::path::absolute(&dir).unwrap_or_else(|_| dir.clone())).map_err(cannot_log)?;
    let lines = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(if context.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN })
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .init();
    // A task that breaks off must not do so in silence.
    let of_panic = log.clone();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!("internal error: {info}");
        // The process may end with this thread.
        of_panic.flush();
    }));
    let idle_timeout = args.on_demand.then(|| args.idle_timeout.unwrap_or(IDLE_TIMEOUT));
    let absolute = std::path::absolute(&dir).unwrap_or_else(|_| dir.clone());
    let fd_store_command = own_command(&["--ledger".as_ref(), absolute.as_os_str(), "keeper".as_ref()])?;
    let options = DaemonOptions {
        dir,
        idle_timeout,
        stop_deadline: args.stop_deadline,
        retention: Retention { bytes_max: args.logs_bytes_max, age_max: args.logs_age_max },
        fd_store_command,
        forget_other_namespaces: args.forget_other_namespaces,
        is_started_by_client: args.report_start,
    };
    let served = apm2_daemon::serve(&options, &log);
    let is_in_use = matches!(&served, Err(DaemonError::Open(OpenError::Locked { .. })));
    let served =
        served.map_err(|error| runs_already(&options.dir).filter(|_| is_in_use).unwrap_or_else(|| error.into()));
    if let (Err(error), true) = (&served, args.report_start) {
        report(if is_in_use {
            StartOutcome::InUse
        } else {
            let hint = error.hint().map(str::to_owned);
            StartOutcome::Failed { code: error.exit_code(), message: error.message().to_owned(), hint }
        });
    }
    log.flush();
    served.map(|()| 0)
}

/// What there is to say where the ledger is in use by a daemon, as it should be.
fn runs_already(dir: &Path) -> Option<CliError> {
    let Ok(Ownership::Process(owner)) = ownership(dir) else { return None };
    let message = format!("a daemon of this ledger runs already, as process {}", owner.pid());
    let error = CliError::new(ErrorKind::Unusable, message);
    owner.is_daemon().then(|| error.with_hint("`apm2-ledger daemon --leave` has it leave, and what it runs goes on"))
}

/// Has the daemon leave, with or without what it runs. One that begins again in its process (execve(2)) before it has answered is
/// asked again.
fn end(dir: &Path, leave: bool, reason: Option<String>) -> Result<i32, CliError> {
    let failed = |error: io::Error| CliError::new(ErrorKind::Unusable, format!("{}: {error}", dir.display()));
    let began = Instant::now();
    loop {
        // Before the connection: what has the lock then is what was connected to, unless it has ended.
        let ownership = ownership(dir).map_err(failed)?;
        let client = connect(dir)?;
        let (client, owner) = match (client, ownership) {
            (Some(client), Ownership::Process(owner)) => (Some(client), Some(owner)),
            (Some(client), Ownership::Free | Ownership::Unseen) => (Some(client), None),
            (None, Ownership::Process(owner)) => (reached(&owner, dir)?, Some(owner)),
            (None, Ownership::Unseen) => return Err(ClientError::OtherNamespace.into()),
            (None, Ownership::Free) => match left_behind(dir) {
                Some(_) if began.elapsed() < STRAY_MAX => {
                    thread::sleep(END_POLL);
                    continue;
                }
                Some(left_behind) => return Err(left_behind),
                None => {
                    say("there is no daemon");
                    return Ok(0);
                }
            },
        };
        let Some(client) = client else {
            return owner.map_or(Ok(0), |owner| end_by_signal(&owner, leave).map_err(failed)?);
        };
        let request = Request::Shutdown { leave };
        match answered(client, &request, reason.clone(), |_| ()) {
            Ok(answer) => {
                say_notes(&answer);
                // Its answer comes before it closes the ledger.
                if let Some(owner) = owner.filter(|owner| !owner.has_ended(END_MAX)) {
                    say(&format!("the daemon, process {}, has not ended yet", owner.pid()));
                }
                return Ok(0);
            }
            // By itself, or since another client has asked for it.
            Err(leaving) if leaving.is_leaving() => {
                say("the daemon is leaving already");
                return match owner {
                    Some(owner) if !owner.has_ended(END_MAX) => Err(not_ended(owner.pid())),
                    Some(_) | None => Ok(0),
                };
            }
            Err(lost) if lost.is_lost() && began.elapsed() < END_MAX && is_there(owner.as_ref()) => {}
            Err(unanswered) => return Err(unanswered.of(&request)),
        }
    }
}

/// The error for daemons of this ledger that have lost its directory: they can record no stop, and cannot be asked for one.
fn left_behind(dir: &Path) -> Option<CliError> {
    let strays = strays(dir);
    let named = strays.iter().map(|stray| match stray.children.as_slice() {
        [] => format!("the daemon, process {}, has no child process", stray.pid),
        children => format!("the daemon, process {}, leaves running: {}", stray.pid, children.join(", ")),
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let message = format!(
        "the directory of the ledger in {} was removed or renamed while its daemon ran: {named}",
        dir.display()
    );
    let hint =
        "no stop can be recorded; end these processes with kill(1), and the daemon leaves when the last has ended";
    (!strays.is_empty()).then(|| CliError::new(ErrorKind::Unusable, message).with_hint(hint))
}

/// Whether the process is there, and stays for a moment longer than one that ends.
fn is_there(owner: Option<&Owner>) -> bool {
    owner.is_some_and(|owner| !owner.has_ended(END_POLL))
}

/// A connection to a daemon that has the ledger and does not listen, once it does; `None` when it does not.
fn reached(owner: &Owner, dir: &Path) -> Result<Option<Client>, CliError> {
    if owner.is_daemon() {
        return Ok(owner.client(dir)?);
    }
    if owner.has_ended(Duration::ZERO) {
        return Ok(None);
    }
    Err(ClientError::Unreachable { pid: owner.pid(), command: owner.command_line() }.into())
}

/// Has a daemon leave that does not listen.
fn end_by_signal(owner: &Owner, leave: bool) -> io::Result<Result<i32, CliError>> {
    let pid = owner.pid();
    if owner.has_ended(Duration::ZERO) {
        say(&format!("the daemon, process {pid}, has ended"));
        return Ok(Ok(0));
    }
    owner.end(leave)?;
    let signal = if leave { "SIGHUP" } else { "SIGTERM" };
    say(&format!("the daemon, process {pid}, does not listen on its socket; it was sent {signal}"));
    if owner.has_ended(END_MAX) {
        return Ok(Ok(0));
    }
    Ok(Err(not_ended(pid)))
}

fn not_ended(pid: u32) -> CliError {
    CliError::new(ErrorKind::Unusable, format!("the daemon, process {pid}, has not ended yet"))
        .with_hint("it may be stopped, or wait for a disk; if it has to be killed, the next one takes over what runs")
}

/// Says what a daemon has to say about its leaving.
fn say_notes(answer: &Answer) {
    if let Answer::Outcomes(outcomes) = answer {
        outcomes.iter().filter_map(|outcome| outcome.note.as_deref()).for_each(say);
    }
}

/// Whether this is a process that a supervised one has started, and would be ended with it. The supervised process itself may
/// be a daemon: it is stopped when its supervisor stops it, which is what was asked for.
fn is_part_of_a_run() -> bool {
    std::env::var_os(RUN_VARIABLE).is_some() && getsid(None) != Ok(getpid())
}

/// Starts the same daemon detached from the run that this process is a part of, and leaves once it listens.
fn run_apart(dir: &Path, args: &DaemonArgs) -> Result<i32, CliError> {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let deadline = args.stop_deadline.as_nanos().to_string() + "ns";
    let mut words: Vec<&OsStr> = vec!["--ledger".as_ref(), absolute.as_os_str(), "daemon".as_ref()];
    words.extend(["--report-start".as_ref(), "--stop-deadline".as_ref(), OsStr::new(&deadline)]);
    let idle = args.idle_timeout.map(|idle| idle.as_nanos().to_string() + "ns");
    if args.on_demand {
        words.push("--on-demand".as_ref());
        words.extend(idle.iter().flat_map(|idle| [OsStr::new("--idle-timeout"), OsStr::new(idle)]));
    }
    let client = Client::connect_or_start(dir, &own_command(&words)?)?;
    if let Answer::Hello { pid, .. } = ask(client, Request::Hello, None)? {
        say(&format!(
            "{RUN_VARIABLE} is set: this is part of a supervised run, so the daemon is detached from it, as process {pid}"
        ));
    }
    Ok(0)
}

/// Hold descriptors for a daemon; started by it, with a listening socket as standard input
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples:\n  only a daemon starts it")]
pub(crate) struct KeeperArgs {}

pub(crate) fn keeper(_args: &KeeperArgs, context: &Context) -> Result<i32, CliError> {
    let failed = |error| CliError::failed(format!("cannot hold descriptors: {error}"));
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    serve_descriptors(listener, &context.ledger_dir()?).map_err(failed)?;
    Ok(0)
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Open(error) => error.into(),
            DaemonError::Append(error) => error.into(),
            DaemonError::Read(error) => error.into(),
            error @ DaemonError::OutOfSight(_) => Self::new(ErrorKind::Unusable, error.to_string()).with_hint(
                "run this where they run (their container); or if that is gone, `apm2-ledger daemon --forget-other-namespaces` \
                 once records that they have ended",
            ),
            error @ DaemonError::ForeignProc => Self::new(ErrorKind::Unusable, error.to_string())
                .with_hint("mount /proc anew in this namespace (`unshare --mount-proc`)"),
            error @ DaemonError::Io { .. } => Self::new(ErrorKind::Unusable, error.to_string()),
            error @ DaemonError::Unstopped(_) => Self::failed(error.to_string()),
        }
    }
}
