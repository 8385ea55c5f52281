//! The calls `daemon --stop` and `daemon --leave`, which end the daemon.

use std::sync::Arc;

use apm2_core::supervisor::Supervisor;
use apm2_model::{
    event::{actor::Actor, requester::Requester},
    spec::redact::known::Known,
};
use tokio::sync::oneshot;

use crate::{
    calls::outcomes::outcome,
    connection::Connection,
    failure::Failure,
    protocol::{Action, CallAnswer, FailureKind, Outcome},
    state::{DaemonState, ShutdownMode},
};

/// The requester of the stops at a shutdown is the system, as for SIGTERM. The user has asked the daemon to end, not
/// the processes, so the next daemon starts the processes again.
pub(crate) fn own_shutdown(by: &Requester) -> Requester {
    let who = match &by.actor {
        Actor::Operator { user: Some(user), .. } => user.clone(),
        Actor::Operator { uid, .. } => format!("user {uid}"),
        _ => return by.clone(),
    };
    let reason = by.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    Requester { actor: Actor::System, reason: Some(format!("`daemon --stop` by {who}{reason}")) }
}

/// The requester as it is recorded with the end of the daemon: as the requester of any event, with secrets masked.
pub(crate) fn recorded(by: &Requester) -> Requester {
    let reason = by.reason.as_ref().map(|reason| Known::default().redact_text(reason));
    Requester { actor: by.actor.clone(), reason }
}

pub(crate) async fn shutdown(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    leave: bool,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let (told, problems) = oneshot::channel();
    let poisoned = || state.ledger.poisoned().filter(|_| !leave);
    let why = if leave || poisoned().is_some() { ShutdownMode::LeaveRunning(by) } else { ShutdownMode::StopAll(by) };
    let leaving = || Failure::new(FailureKind::Failed, "the daemon is leaving already");
    state.leave.try_send((why, Some(told))).map_err(|_| leaving())?;
    let problems = connection.wait_for(problems).await?.map_err(|_| leaving())?;
    // The ledger is checked again, because the first stop that cannot be recorded may poison the ledger (no further
    // writes are possible).
    if let Some(poison) = poisoned() {
        return left_running(&format!("the ledger is {poison}"), &running(&state.supervisor));
    }
    if problems.is_empty() {
        return Ok(CallAnswer::Done);
    }
    Err(Failure::new(FailureKind::Failed, format!("could not stop {}", problems.join("; "))))
}

/// The answer to `daemon --stop` when no process can be stopped, because no stop can be recorded. It is a failure
/// unless no process runs.
pub(crate) fn left_running(why: &str, running: &[String]) -> Result<CallAnswer, Failure> {
    if running.is_empty() {
        let note =
            format!("{why}; the daemon leaves, and nothing is left running: nothing ran when the ledger was poisoned");
        return Ok(CallAnswer::Outcomes(vec![Outcome { note: Some(note), ..outcome("daemon", Action::Stop) }]));
    }
    let running = running.join(", ");
    let message =
        format!("{why}; the daemon leaves, and no stop can be recorded, so these are left running: {running}");
    let hint =
        "the next daemon of this ledger takes them over, if the ledger can be opened again; else end them with kill(1)";
    Err(Failure { kind: FailureKind::Unusable, message, hint: Some(hint.to_owned()) })
}

/// The running instances, each with its pid.
pub(crate) fn running(supervisor: &Supervisor) -> Vec<String> {
    let instances = supervisor.instances();
    let with_pid = instances.iter().filter_map(|stream| {
        let pid = stream.handle.pid.filter(|_| !stream.handle.state.has_exited())?;
        Some(format!("{} (pid {pid})", stream.handle.display_name()))
    });
    with_pid.collect()
}
