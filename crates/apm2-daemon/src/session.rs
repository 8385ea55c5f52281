//! The session of one client: reads the call and sends the answers.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use apm2_core::blocking;
use apm2_ledger::Poison;
use apm2_model::event::{actor::Actor, requester::Requester};
use nix::unistd::Uid;
use tokio::net::UnixStream;

use crate::{
    calls::{
        apply::{apply, checked, grouped, keep_settings, plan, surplus},
        control::{Verb, each},
        follow::follow,
        read::read,
        remove::{purge, remove},
        run::{ended, run},
        scale::scale,
        shutdown::{left_running, shutdown},
        streams::streams,
    },
    connection::{Connection, peer},
    failure::{Failure, client_gone},
    peer::has_hung_up,
    protocol::{Call, CallAnswer, ClientRequest, DaemonReply, FailureKind, SentLaunch},
    state::{ClientPermit, DaemonState},
    user,
};

/// Serves a client. `number` is the number of its pending connection. A call in progress is completed even if the
/// client disconnects. The call is not started if the client has already disconnected.
pub(crate) async fn serve(state: &Arc<DaemonState>, stream: UnixStream, number: u64) {
    let mut connection = Connection { stream };
    let by = match peer(&connection.stream) {
        Ok(by) => by,
        Err(why) => {
            state.pending.remove(number);
            return tracing::warn!("a client was refused: {why}");
        }
    };
    let call = connection.call().await;
    // The client is counted as served before it is removed from the pending connections, so that it is counted at every
    // moment.
    let served = ClientPermit::acquire(state);
    state.pending.remove(number);
    let is_change = |call: &Call| call.request.is_change();
    if state.is_leaving.load(Ordering::Acquire)
        && state.ledger.poisoned().is_none()
        && matches!(&call, Ok((call, _)) if is_change(call))
    {
        return tell(&mut connection, &leaving()).await;
    }
    let answered = match (call, &served) {
        (_, None) => Err(Failure::new(FailureKind::Failed, "too many clients at the same time; ask again")),
        (Err(error), _) => {
            let message = format!("not a call that this daemon understands: {error}");
            Err(Failure::new(FailureKind::Usage, message))
        }
        // The call is not carried out: a client whose timeout has passed has told its user that the call had no effect.
        (Ok(_), Some(_)) if has_hung_up(&connection.stream) => Err(client_gone()),
        (Ok((call, stdin)), Some(_)) => answer(state, &mut connection, call, stdin, by).await,
    };
    // While the ledger is poisoned, an error of a call is a consequence of the poisoning.
    let answered = match (answered, state.ledger.poisoned()) {
        // An error that already names the cause and a hint is not changed, because it may contain more information.
        (Err(failure), Some(poison)) if !matches!(failure.kind, FailureKind::Unusable) || failure.hint.is_none() => {
            tracing::debug!(message = failure.message, "a call failed since the ledger is poisoned");
            Err(poisoned(&poison))
        }
        (answered, _) => answered,
    };
    let reply = match answered {
        Ok(answer) => DaemonReply::Done(answer),
        Err(failure) => failed(failure),
    };
    tell(&mut connection, &reply).await;
}

/// The answer to a call that is not carried out because the daemon is shutting down.
fn leaving() -> DaemonReply {
    let message = "the daemon is leaving; ask the next one".to_owned();
    DaemonReply::Failed { kind: FailureKind::Failed, message, hint: None, is_leaving: true }
}

/// Sends the last answer of the call to the client.
async fn tell(connection: &mut Connection, reply: &DaemonReply) {
    if let Err(error) = connection.reply(reply).await {
        tracing::debug!(%error, "a client has left before its answer");
    }
}

/// Refuses each call of a client. Returns whether the call was a request to shut down. This request is carried out, and
/// all processes are left running, since no stop can be recorded.
pub(crate) async fn refuse(stream: UnixStream, message: String, running: Vec<String>) -> bool {
    let mut connection = Connection { stream };
    if peer(&connection.stream).is_err() {
        return false;
    }
    let call = connection.call().await;
    let hint =
        "what runs goes on running; the daemon tries again by itself, and takes it over once the disk can be written";
    let (is_leave, reply) = match call {
        Ok((Call { request: ClientRequest::Shutdown { leave }, .. }, _)) if !has_hung_up(&connection.stream) => {
            let stopped = if leave { Ok(CallAnswer::Done) } else { left_running(&message, &running) };
            (true, stopped.map_or_else(failed, DaemonReply::Done))
        }
        _ => (false, failed(Failure { kind: FailureKind::Unusable, message, hint: Some(hint.to_owned()) })),
    };
    if let Err(error) = connection.reply(&reply).await {
        tracing::debug!(%error, "a client has left before its answer");
    }
    is_leave
}

fn failed(Failure { kind, message, hint }: Failure) -> DaemonReply {
    DaemonReply::Failed { kind, message, hint, is_leaving: false }
}

async fn answer(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    call: Call,
    stdin: Option<OwnedFd>,
    uid: Uid,
) -> Result<CallAnswer, Failure> {
    let user = if is_recorded(&call.request) { user::name_of(uid).await } else { None };
    let by =
        Requester { actor: Actor::Operator { uid: uid.as_raw(), user, terminal: call.terminal }, reason: call.reason };
    if !matches!(call.request, ClientRequest::Hello | ClientRequest::Shutdown { .. })
        && let Some(failure) = unusable(state).await
    {
        return Err(failure);
    }
    match call.request {
        ClientRequest::Hello => {
            Ok(CallAnswer::Hello { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() })
        }
        ClientRequest::Apply { group, launches, dry_run, rerun, ledger } => {
            let launches = grouped(launches.into_iter().map(|SentLaunch(launch)| launch), &group);
            if dry_run {
                return plan(&state.supervisor, &group, &launches, rerun, &by);
            }
            checked(&state.supervisor, &launches, &by)?;
            keep_settings(state, group.clone(), ledger).await?;
            let surplus = surplus(&state.supervisor, &group, &launches);
            apply(state, connection, launches, &surplus, rerun, by).await
        }
        ClientRequest::Remove { targets, purge: false } => remove(state, connection, &targets, by).await,
        ClientRequest::Remove { targets, purge: true } => purge(state, connection, targets, by).await,
        ClientRequest::Start { targets } => each(state, connection, &targets, Verb::Start, by).await,
        ClientRequest::Stop { targets, timeout } => each(state, connection, &targets, Verb::Stop(timeout), by).await,
        ClientRequest::Restart { targets } => each(state, connection, &targets, Verb::Restart, by).await,
        ClientRequest::Signal { targets, signal } => each(state, connection, &targets, Verb::Signal(signal), by).await,
        ClientRequest::Reload { targets } => each(state, connection, &targets, Verb::Reload, by).await,
        ClientRequest::Scale { name, instances } => scale(state, connection, name, instances, by).await,
        ClientRequest::Run { launch, stdin: true } if stdin.is_none() => {
            let name = launch.0.spec.name;
            Err(Failure::new(FailureKind::Failed, format!("the standard input for {name} did not arrive")))
        }
        ClientRequest::Run { launch, stdin: is_given } => {
            run(state, connection, launch.0, stdin.filter(|_| is_given), by).await
        }
        ClientRequest::Wait { process_id, run } => ended(state, connection, process_id, run).await,
        ClientRequest::Streams => streams(state, connection).await,
        ClientRequest::Follow { first } => follow(state, connection, first).await,
        ClientRequest::Read { question } => read(state, connection, question).await,
        ClientRequest::Shutdown { leave } => shutdown(state, connection, leave, by).await,
    }
}

/// Whether the requester of this call is recorded in events.
const fn is_recorded(request: &ClientRequest) -> bool {
    !matches!(
        request,
        ClientRequest::Hello
            | ClientRequest::Wait { .. }
            | ClientRequest::Streams
            | ClientRequest::Follow { .. }
            | ClientRequest::Read { .. }
    )
}

/// Returns an error if the ledger is poisoned, because the state in memory may then differ from the recorded state.
async fn unusable(state: &DaemonState) -> Option<Failure> {
    let ledger = state.ledger.clone();
    // The check runs on a blocking thread, because it may wait for the disk.
    let poison = blocking::spawn(move || {
        ledger.check_place();
        ledger.poisoned()
    });
    Some(poisoned(&poison.await.ok().flatten()?))
}

fn poisoned(poison: &Poison) -> Failure {
    let hint =
        "what runs goes on running, and the next daemon takes it over; ask again, of the directory that is meant";
    Failure { kind: FailureKind::Unusable, message: format!("the ledger is {poison}"), hint: Some(hint.to_owned()) }
}
