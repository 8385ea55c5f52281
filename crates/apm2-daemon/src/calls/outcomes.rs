//! Makes several changes concurrently, and reports the outcome of each.

use std::future::Future;

use tokio::{sync::oneshot, task::JoinSet, time};

use crate::{
    connection::{ALIVE_INTERVAL, Connection},
    failure::{Failure, client_gone},
    protocol::{Action, CallAnswer, DaemonReply, Outcome},
};

/// The note about an agent that is not started before the reset of a usage limit.
pub(crate) const WAITS_FOR_LIMIT: &str = "it waits for a usage limit; `apm2-ledger list` says until when";

/// Makes all changes concurrently, and sends the outcome of each change when it is complete.
pub(crate) async fn outcomes(
    connection: &mut Connection,
    works: impl Iterator<Item = impl Future<Output = Outcome> + Send + 'static>,
) -> Result<CallAnswer, Failure> {
    let mut running = JoinSet::new();
    let mut detached = Vec::new();
    for work in works {
        // The change is spawned as a task of its own. The set would abort its tasks if the client disconnected.
        let (told, outcome) = oneshot::channel();
        // Boxed, because the task would otherwise contain the future twice: as it was captured, and as it is polled.
        let work = Box::pin(work);
        tokio::spawn(async move {
            // The receiver is gone when the client has disconnected.
            let _ = told.send(work.await);
        });
        detached.push(outcome);
    }
    for outcome in detached {
        running.spawn(outcome);
    }
    let mut all = Vec::new();
    while !running.is_empty() {
        tokio::select! {
            Some(joined) = running.join_next() => if let Ok(Ok(outcome)) = joined {
                connection.reply(&DaemonReply::Progress(outcome.clone())).await.map_err(|_| client_gone())?;
                all.push(outcome);
            },
            () = time::sleep(ALIVE_INTERVAL) => connection.reply(&DaemonReply::Alive).await.map_err(|_| client_gone())?,
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(CallAnswer::Outcomes(all))
}

pub(crate) fn outcome(name: &str, action: Action) -> Outcome {
    Outcome { name: name.to_owned(), action, bytes: None, error: None, note: None }
}
