//! `daemon --stop` and `--leave`.

use std::sync::Arc;

use apm2_model::event::{actor::Actor, requester::Requester as By};
use tokio::sync::oneshot;

use crate::{
    calls::outcomes::outcome,
    connection::Connection,
    failure::Failure,
    protocol::{Action, Answer, FailureKind, Outcome},
    shared::{Leave, Shared},
};

/// That the supervisor leaves is no word about its processes: what it stops for that is its own doing, as on SIGTERM, and
/// is still wanted.
fn own_shutdown(by: By) -> By {
    let who = match by.actor {
        Actor::Operator { user: Some(user), .. } => user,
        Actor::Operator { uid, .. } => format!("user {uid}"),
        _ => "an unknown user".to_owned(),
    };
    let reason = by.reason.map_or_else(String::new, |reason| format!(": {reason}"));
    By { actor: Actor::System, reason: Some(format!("`daemon --stop` by {who}{reason}")) }
}

pub(crate) async fn shutdown(
    shared: &Arc<Shared>,
    connection: &mut Connection,
    leave: bool,
    by: By,
) -> Result<Answer, Failure> {
    let (told, problems) = oneshot::channel();
    let poison = shared.ledger.poisoned().filter(|_| !leave);
    let why = if leave || poison.is_some() { Leave::Running } else { Leave::Stopping(own_shutdown(by)) };
    let leaving = || Failure::new(FailureKind::Failed, "the daemon is leaving already");
    shared.leave.try_send((why, Some(told))).map_err(|_| leaving())?;
    let problems = connection.wait_for(problems).await?.map_err(|_| leaving())?;
    if problems.is_empty() {
        return Ok(poison.map_or(Answer::Done, |poison| left_running(&format!("the ledger is {poison}"))));
    }
    Err(Failure::new(FailureKind::Failed, format!("could not stop {}", problems.join("; "))))
}

/// The answer to a `daemon --stop` where nothing can be stopped, since no stop can be recorded.
pub(crate) fn left_running(why: &str) -> Answer {
    let note =
        format!("{why}; no stop can be recorded, so what runs is left running, and the next daemon takes it over");
    Answer::Outcomes(vec![Outcome { note: Some(note), ..outcome("daemon", Action::Stop) }])
}
