//! The command `daemon`, which owns the ledger and supervises its processes.

use std::{
    ffi::{OsStr, OsString},
    io,
    ops::ControlFlow,
    os::fd::AsFd as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::{LOGS_BYTES_MAX, Retention},
    process::{ProcessStatus, RUN_VARIABLE, status_of},
};
use apm2_daemon::{
    DaemonError, DaemonOptions,
    client::{Client, ClientError},
    fd_store::serve_descriptors,
    log_file::DaemonLog,
    owner::{Owner, Ownership, ownership},
    protocol::{CallAnswer, ClientRequest},
    start::{StartOutcome, report},
    stray::strays,
};
use apm2_ledger::{OpenError, Reader};
use nix::unistd::{getpid, getsid};

use crate::{
    context::Context,
    daemon::{answered, ask, connect, own_command},
    error::{CliError, ErrorKind},
    terminal::say,
};

/// Idle time after which a daemon that a client started exits.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for the exit of a daemon after a signal, including the stops of its processes.
const END_MAX: Duration = Duration::from_secs(60);

/// Time to wait after a lost connection. It distinguishes a daemon that exits from a daemon that executes itself again
/// (execve(2)).
const END_POLL: Duration = Duration::from_millis(200);

/// Time limit for a daemon whose ledger was moved away from its path to exit, or for a new daemon to start.
const STRAY_MAX: Duration = Duration::from_secs(5);

/// Supervise processes until stopped
///
/// A ledger has one daemon. Commands that need one start it; that daemon exits when it is idle. For a permanent daemon, run
/// this command under systemd: docs/daemon.md contains a unit.
///
/// SIGTERM and SIGINT stop all processes and the daemon. SIGHUP stops only the daemon: the processes go on running, and the
/// next daemon adopts them. The next daemon also adopts them after a SIGKILL.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger daemon                     until SIGTERM or SIGINT
  apm2-ledger daemon --stop              stop all processes and the daemon
  apm2-ledger daemon --leave             end the daemon, leave the processes running")]
pub(crate) struct DaemonArgs {
    /// Exit after --idle-timeout without a process or a client
    #[arg(long)]
    on_demand: bool,
    /// Idle time before --on-demand exits. Default: 10s
    #[arg(long, value_name = "DURATION", requires = "on_demand", value_parser = humantime::parse_duration)]
    idle_timeout: Option<Duration>,
    /// Record as ended the processes of another pid namespace, such as a container that no longer exists
    #[arg(long)]
    forget_other_namespaces: bool,
    /// Report the result of the start on standard output; used by clients that start a daemon
    #[arg(long, hide = true)]
    report_start: bool,
    /// Time limit for stopping all processes on SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    stop_deadline: Duration,
    /// Limit for all logs in the ledger's directory. Above it, the oldest logs of removed processes are deleted
    #[arg(long, value_name = "BYTES", default_value_t = LOGS_BYTES_MAX)]
    logs_bytes_max: u64,
    /// How long logs of removed processes are kept
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = humantime::parse_duration)]
    logs_age_max: Duration,
    /// Stop all processes and the daemon of this ledger
    #[arg(long, conflicts_with_all = ["on_demand", "leave"])]
    stop: bool,
    /// Stop the daemon of this ledger and leave its processes running
    #[arg(long, conflicts_with = "on_demand")]
    leave: bool,
    /// Reason to record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: DaemonArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    if args.stop || args.leave {
        return end(&dir, args.leave, args.reason);
    }
    if is_part_of_a_run() && connect(&dir)?.is_none() {
        return run_apart(&dir, &args, context.verbose);
    }
    let cannot_log = |error| CliError::failed(format!("no thread for the log: {error}")).of_limit(&error);
    let log = DaemonLog::start(&std::path::absolute(&dir).unwrap_or_else(|_| dir.clone())).map_err(cannot_log)?;
    let lines = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(if context.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN })
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .init();
    // Logs a panic in a task. The panic ends only this task.
    let of_panic = log.clone();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!("internal error: {info}");
        // The process may exit immediately after this panic hook.
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

/// The error when another daemon already has the ledger open.
fn runs_already(dir: &Path) -> Option<CliError> {
    let Ok(Ownership::Process(owner)) = ownership(dir) else { return None };
    let message = format!("a daemon of this ledger is already running, as process {}", owner.pid());
    let error = CliError::new(ErrorKind::Unusable, message);
    owner.is_daemon().then(|| error.with_hint("`apm2-ledger daemon --leave` ends it and leaves its processes running"))
}

/// Ends the daemon, either together with its processes or alone. If the daemon executes itself again (execve(2)) before
/// it answers, sends the request again.
fn end(dir: &Path, leave: bool, reason: Option<String>) -> Result<i32, CliError> {
    let failed = |error: io::Error| CliError::new(ErrorKind::Unusable, format!("{}: {error}", dir.display()));
    let began = Instant::now();
    loop {
        // The owner is read before the client connects. If the owner has not ended, it is the daemon to which the
        // client connects.
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
            let Some(owner) = owner else { return ended_on_another_request(dir, leave) };
            end_by_signal(&owner, leave).map_err(failed)??;
            return ended_on_another_request(dir, leave);
        };
        let request = ClientRequest::Shutdown { leave };
        match answered(client, &request, reason.clone(), |_| ()) {
            Ok(answer) => {
                say_notes(&answer);
                // The daemon sends the answer before it closes the ledger, so its end is waited for.
                if let Some(owner) = owner.filter(|owner| !owner.has_ended(END_MAX)) {
                    say(&format!("the daemon, process {}, has not ended yet", owner.pid()));
                }
                return Ok(0);
            }
            // The daemon was idle and exited, or another client has sent the same request.
            Err(leaving) if leaving.is_leaving() => {
                return match owner {
                    Some(owner) if !owner.has_ended(END_MAX) => Err(not_ended(owner.pid())),
                    Some(_) | None => ended_on_another_request(dir, leave),
                };
            }
            Err(lost) if lost.is_lost() && began.elapsed() < END_MAX && is_there(owner.as_ref()) => {}
            Err(unanswered) => return Err(unanswered.of(&request)),
        }
    }
}

/// The error for daemons of this ledger whose directory was removed. Such daemons cannot record a stop, and clients
/// cannot connect to them.
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

/// Whether the process still exists after a short wait.
fn is_there(owner: Option<&Owner>) -> bool {
    owner.is_some_and(|owner| !owner.has_ended(END_POLL))
}

/// A connection to a daemon that holds the ledger but did not listen at first; `None` when the daemon still does not
/// listen.
fn reached(owner: &Owner, dir: &Path) -> Result<Option<Client>, CliError> {
    if owner.is_daemon() {
        return Ok(owner.client(dir)?);
    }
    if owner.has_ended(Duration::ZERO) {
        return Ok(None);
    }
    Err(ClientError::Unreachable { pid: owner.pid(), command: owner.command_line() }.into())
}

/// The result of a shutdown request to a daemon that ended without an answer. Another client may have requested another
/// kind of shutdown. The processes that still run show which one the daemon carried out.
fn ended_on_another_request(dir: &Path, leave: bool) -> Result<i32, CliError> {
    let running = running_processes(dir)?;
    if leave || running.is_empty() {
        let left = if running.is_empty() {
            "nothing runs".to_owned()
        } else {
            format!("still running: {}", running.join(", "))
        };
        say(&format!("the daemon has ended; {left}"));
        return Ok(0);
    }
    let message = format!("the daemon has ended on another request, without stopping {}", running.join(", "));
    Err(CliError::failed(message).with_hint("`apm2-ledger stop all` starts a daemon that stops them"))
}

/// Name and pid of each process that is recorded as running and that is alive or may be alive.
fn running_processes(dir: &Path) -> Result<Vec<String>, CliError> {
    let mut running = Vec::new();
    Reader::open(dir)?.each_stream(|stream| {
        let identity = stream.identity.filter(|_| stream.is_open());
        if let Some(identity) = identity
            && matches!(status_of(&identity), ProcessStatus::Alive | ProcessStatus::Unverifiable)
        {
            running.push(format!("{} (pid {})", stream.handle.display_name(), identity.pid));
        }
        ControlFlow::Continue(())
    })?;
    Ok(running)
}

/// Ends a daemon that does not listen on its socket. Sends a signal to the daemon instead of a request.
fn end_by_signal(owner: &Owner, leave: bool) -> io::Result<Result<(), CliError>> {
    let pid = owner.pid();
    if owner.has_ended(Duration::ZERO) {
        return Ok(Ok(()));
    }
    owner.end(leave)?;
    let signal = if leave { "SIGHUP" } else { "SIGTERM" };
    say(&format!("the daemon, process {pid}, does not listen on its socket; it was sent {signal}"));
    if owner.has_ended(END_MAX) {
        return Ok(Ok(()));
    }
    Ok(Err(not_ended(pid)))
}

fn not_ended(pid: u32) -> CliError {
    CliError::new(ErrorKind::Unusable, format!("the daemon, process {pid}, has not ended yet")).with_hint(
        "it may be stopped, or waiting for a disk; if it has to be killed, the next one adopts the running processes",
    )
}

/// Prints the notes in the daemon's last answer.
fn say_notes(answer: &CallAnswer) {
    if let CallAnswer::Outcomes(outcomes) = answer {
        outcomes.iter().filter_map(|outcome| outcome.note.as_deref()).for_each(say);
    }
}

/// Whether this process belongs to a supervised run, so that it would be stopped together with the run. Returns false
/// if it is the main process of a run: a supervised daemon is stopped on request.
fn is_part_of_a_run() -> bool {
    std::env::var_os(RUN_VARIABLE).is_some() && getsid(None) != Ok(getpid())
}

/// Starts the daemon outside of the run to which this process belongs, and returns when the daemon listens.
fn run_apart(dir: &Path, args: &DaemonArgs, verbose: bool) -> Result<i32, CliError> {
    let words = apart_words(dir, args, verbose);
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    let client = Client::connect_or_start(dir, &own_command(&words)?)?;
    if let CallAnswer::Hello { pid, .. } = ask(client, ClientRequest::Hello, None)? {
        say(&format!(
            "{RUN_VARIABLE} is set: this is part of a supervised run, so the daemon is detached from it, as process {pid}"
        ));
    }
    Ok(0)
}

/// The arguments of a detached daemon with the settings of `args`. A new setting of the daemon does not compile before
/// it is passed on here.
fn apart_words(dir: &Path, args: &DaemonArgs, verbose: bool) -> Vec<OsString> {
    let DaemonArgs {
        on_demand,
        idle_timeout,
        forget_other_namespaces,
        stop_deadline,
        logs_bytes_max,
        logs_age_max,
        // The start is always reported. The other settings are of requests to a daemon that runs.
        report_start: _,
        stop: _,
        leave: _,
        reason: _,
    } = args;
    let duration = |duration: &Duration| OsString::from(format!("{}ns", duration.as_nanos()));
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut words: Vec<OsString> = vec!["--ledger".into(), absolute.into(), "daemon".into(), "--report-start".into()];
    words.extend(["--stop-deadline".into(), duration(stop_deadline)]);
    words.extend(["--logs-bytes-max".into(), logs_bytes_max.to_string().into()]);
    words.extend(["--logs-age-max".into(), duration(logs_age_max)]);
    for (flag, is_set) in
        [("--on-demand", *on_demand), ("--forget-other-namespaces", *forget_other_namespaces), ("--verbose", verbose)]
    {
        words.extend(is_set.then(|| flag.into()));
    }
    words.extend(idle_timeout.iter().flat_map(|idle| ["--idle-timeout".into(), duration(idle)]));
    words
}

/// Store file descriptors for a daemon; the daemon starts it with a listening socket as standard input
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples:\n  none; the daemon starts this command")]
pub(crate) struct KeeperArgs {}

pub(crate) fn keeper(_args: &KeeperArgs, context: &Context) -> Result<i32, CliError> {
    let failed = |error| CliError::failed(format!("cannot store file descriptors: {error}"));
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
            DaemonError::Io { ref source, .. } => Self::new(ErrorKind::Unusable, error.to_string()).of_limit(source),
            error @ DaemonError::Unstopped(_) => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{args::Args, commands::Command};

    #[test]
    fn a_detached_daemon_has_all_settings() {
        let settings = "--on-demand --idle-timeout 3s --forget-other-namespaces --stop-deadline 1500ms --logs-bytes-max 7 \
                        --logs-age-max 2h";
        for (settings, verbose) in [("", false), (settings, true)] {
            let parsed = |words: &[OsString]| {
                let args =
                    Args::try_parse_from(std::iter::once("apm2-ledger".into()).chain(words.iter().cloned())).unwrap();
                let Command::Daemon(command) = args.command else { panic!("not the daemon: {words:?}") };
                (args.global.verbose, DaemonArgs { report_start: true, ..command })
            };
            let given =
                ["daemon"].into_iter().chain(settings.split_whitespace()).map(OsString::from).collect::<Vec<_>>();
            let (_, given) = parsed(&given);
            let (is_verbose, passed_on) = parsed(&apart_words(Path::new("/ledger"), &given, verbose));
            assert_eq!((is_verbose, format!("{passed_on:?}")), (verbose, format!("{given:?}")));
        }
    }
}
