//! From a specification to an exit code, with everything between on record.

use std::{io, time::Duration};

use apm2_core::{
    process::{
        EventKind, ExitOutcome, ProcessError, ProcessRunner, ProcessSpec, Request, RunEnd, SpawnFailure, SpawnStage,
        Stream,
    },
    supervisor::{StopRequest, keep_running, reconcile},
};
use apm2_ledger::{FindError, Ledger, Reader};
use tokio::{
    runtime::{self, Runtime},
    sync::{mpsc, watch},
    task::JoinHandle,
    time,
};

use super::{
    announcer::Announcer,
    operator::operator,
    pump::{pump, remarks},
    signals::{Links, STOPS_WAITING_MAX, Signals, take_over_inherited},
};
use crate::{
    context::{Context, say},
    error::CliError,
};

/// The first exit code that means a signal (sh(1)).
const SIGNAL_CODE_BASE: i32 = 128;

/// The exit codes of a program that is not found, and of one that cannot be executed (sh(1)).
const NOT_FOUND_CODE: i32 = 127;
const NOT_EXECUTABLE_CODE: i32 = 126;

/// How long our outputs are given for what is left, when somebody waits for us to leave.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Runs `spec` until its policy or a signal says that it is over; gives the code to leave with.
///
/// # Errors
/// When the ledger cannot be used, or the process cannot be supervised.
pub(super) fn supervise(spec: ProcessSpec, reason: Option<String>, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let runtime = runtime()?;
    let ledger = Ledger::open(&dir)?;
    context.remark(|| format!("recording {} in {}", spec.name, dir.display()));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ledger.append_system(EventKind::SupervisorStarted { pid: std::process::id(), version })?;
    let end = runtime.block_on(run_to_the_end(&ledger, spec, reason, context.verbose));
    // A write to an output that nobody reads may never return.
    runtime.shutdown_background();
    // Recorded whatever the end: the supervisor does stop here. The first error is the one to tell.
    let stopped = ledger.append_system(EventKind::SupervisorStopped).map(drop);
    let closed = stopped.and_then(|()| ledger.close());
    let code = exit_code(end?.as_ref());
    closed?;
    Ok(code)
}

fn runtime() -> Result<Runtime, CliError> {
    let build = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        take_over_inherited()?;
        drop(entered);
        Ok(runtime)
    };
    build().map_err(|error: io::Error| CliError::failed(format!("cannot wait for processes: {error}")))
}

async fn run_to_the_end(
    ledger: &Ledger,
    spec: ProcessSpec,
    reason: Option<String>,
    verbose: bool,
) -> Result<Option<RunEnd>, CliError> {
    let signals = Signals::listen().map_err(|error| CliError::failed(format!("cannot take signals: {error}")))?;
    let operator = operator();
    let timeout = spec.shutdown.timeout;
    let (remarks, remarked) = remarks();
    let announcer = Announcer::new(ledger.recorder(), remarks, &spec.name, verbose);
    let mut runner = continued(spec, announcer, &ledger.reader())?;
    let output = tokio::spawn(pump(runner.subscribe_output(), remarked));

    let (stops, mut requested) = mpsc::channel(STOPS_WAITING_MAX);
    let (asked, stop_asked) = watch::channel(false);
    let links = Links { stops, asked, output: output.abort_handle() };
    tokio::spawn(signals.forward(timeout, operator.clone(), links));
    let end = run_by_policy(&mut runner, Request { actor: operator, reason }, &mut requested).await;
    // The channels end with the runner, and so does the pump.
    drop(runner);
    // After an error the process may still be there, and so may its output.
    let is_hurried = end.is_err();
    flush(output, stop_asked, is_hurried).await;
    end
}

/// The runner of `spec`, under the id that its name has in the ledger, with all that was left open closed.
fn continued(mut spec: ProcessSpec, announcer: Announcer, reader: &Reader) -> Result<ProcessRunner, CliError> {
    let known = named(reader, &spec.name)?;
    if let Some(stream) = &known {
        spec.id = stream.id.process_id;
    }
    let name = spec.name.clone();
    let mut runner = ProcessRunner::recorded(spec, 0, Box::new(announcer), known);
    reconcile(&mut runner).map_err(|error| match error {
        ProcessError::AlreadyExists(what) => CliError::failed(format!("{name} is already running: {what}"))
            .with_hint("stop that process, or give this one another --name"),
        error => error.into(),
    })?;
    Ok(runner)
}

/// The first instance of the process of this name, if there is one.
fn named(reader: &Reader, name: &str) -> Result<Option<Stream>, CliError> {
    let found = match reader.find(name) {
        Ok(found) => found,
        // A name goes before the beginning of an id: what is ambiguous is no name.
        Err(FindError::NoSuchProcess(_) | FindError::Ambiguous { .. }) => return Ok(None),
        Err(FindError::Read(error)) => return Err(error.into()),
    };
    let Some(id) = found.into_iter().find(|id| id.instance == 0) else { return Ok(None) };
    Ok(reader.stream(id)?.filter(|stream| stream.handle.spec.name == name))
}

async fn run_by_policy(
    runner: &mut ProcessRunner,
    request: Request,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Option<RunEnd>, CliError> {
    match keep_running(runner, request, stops).await {
        Ok(stream) => Ok(stream.end),
        Err(error) => {
            if runner.has_child() {
                say("the process is still there, and no longer supervised");
            }
            Err(error.into())
        }
    }
}

/// Waits until our outputs have taken what is left; not for long when hurried, or once a stop was asked for.
async fn flush(mut output: JoinHandle<()>, mut stop_asked: watch::Receiver<bool>, is_hurried: bool) {
    tokio::select! {
        biased;
        // An error means that the output was cut off by a second signal.
        _ = &mut output => return,
        _ = stop_asked.wait_for(|asked| *asked || is_hurried) => {}
    }
    // Out of time: what is left has nobody who reads it.
    let _ = time::timeout(FLUSH_MAX, output).await;
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
        (SpawnStage::WorkingDirectory | SpawnStage::Fork, _) => 1,
    }
}

#[cfg(test)]
mod tests {
    use apm2_core::process::{Evidence, Exit, Signal};

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
