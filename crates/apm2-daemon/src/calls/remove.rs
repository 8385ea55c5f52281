//! The call `down`, with and without removal of the logs.

use std::{io, sync::Arc};

use apm2_core::{blocking, process::ProcessError};
use apm2_model::{event::requester::Requester, spec::launch::LaunchSpec};

use crate::{
    calls::{
        apply::Work,
        outcomes::{outcome, outcomes},
    },
    connection::Connection,
    failure::Failure,
    ledger_settings,
    protocol::{Action, CallAnswer, FailureKind, Outcome, Targets},
    retention,
    state::DaemonState,
};

pub(crate) async fn remove(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    targets: &Targets,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    forget_settings(state, targets).await;
    let launches = state.supervisor.launches();
    let named = match targets {
        Targets::Named(names) => {
            let mut ids = Vec::new();
            for name in names {
                ids.push(state.supervisor.find_process(name)?);
            }
            ids
        }
        Targets::Group(_) | Targets::All => Vec::new(),
    };
    let is_meant = |launch: &LaunchSpec| match targets {
        Targets::All => true,
        Targets::Group(group) => launch.group.as_ref() == Some(group),
        Targets::Named(_) => named.contains(&launch.spec.id),
    };
    let group = if let Targets::Group(group) = targets { Some(group.clone()) } else { None };
    // The removals are independent of each other, because no process is started that would have to wait for them.
    let alone = |launch: &Arc<LaunchSpec>| state.supervisor.together(vec![launch.spec.name.clone()]);
    let works: Vec<_> = launches
        .iter()
        .filter(|launch| is_meant(launch))
        .flat_map(|launch| alone(launch).into_iter().map(move |part| (launch, part)))
        .map(|(launch, part)| Work::remove(launch, group.clone()).done(Arc::clone(state), part, by.clone()))
        .collect();
    outcomes(connection, works.into_iter()).await
}

/// Removes the settings of the ledger that the processes' group gave.
async fn forget_settings(state: &Arc<DaemonState>, targets: &Targets) {
    let group = match targets {
        Targets::Named(_) => return,
        Targets::Group(group) => Some(group.clone()),
        Targets::All => None,
    };
    let dir = Arc::clone(&state.dir);
    let forgotten = blocking::spawn(move || ledger_settings::forget(dir.at(), group.as_deref()));
    if let Err(error) = forgotten.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "the settings of the ledger cannot be removed");
    }
}

/// Like [`remove`], but also removes the logs of these processes, and the logs of processes that were removed earlier.
pub(crate) async fn purge(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    targets: Targets,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let present: Vec<String> = state.supervisor.launches().iter().map(|launch| launch.spec.name.clone()).collect();
    let (supervised, names) = match targets {
        Targets::All => (Targets::All, vec![None]),
        Targets::Group(group) => {
            let launches = state.supervisor.launches();
            let of_group = launches.iter().filter(|launch| launch.group.as_ref() == Some(&group));
            let names = of_group.map(|launch| Some(launch.spec.name.clone())).collect();
            (Targets::Group(group), names)
        }
        Targets::Named(names) => {
            let is_known = |name: &String| state.supervisor.find_process(name).is_ok();
            let supervised = names.iter().filter(|name| is_known(name)).cloned().collect();
            let named = names.into_iter().map(|name| match state.supervisor.find_process(&name) {
                Ok(id) => state.supervisor.name_of(id).unwrap_or(name),
                Err(_) => name,
            });
            (Targets::Named(supervised), named.map(Some).collect::<Vec<_>>())
        }
    };
    let mut all = match remove(state, connection, &supervised, by).await? {
        CallAnswer::Outcomes(outcomes) => outcomes,
        other => return Ok(other),
    };
    for name in names {
        let (supervisor, dir, named) = (state.supervisor.clone(), Arc::clone(state.ledger.dir()), name.clone());
        let removed = connection.wait_for(async move { retention::purge(&supervisor, &dir, named).await }).await?;
        let removed = removed.map_err(|error| {
            Failure::new(
                FailureKind::Failed,
                format!("the logs in {} cannot be listed: {error}", state.dir.named().display()),
            )
        })?;
        // A name for which there is neither a process nor a log is an error of the user.
        if let Some(name) = name.filter(|name| removed.is_empty() && !present.contains(name)) {
            return Err(ProcessError::NotFound(name).into());
        }
        all.extend(
            removed
                .into_iter()
                .map(|logs| Outcome { bytes: Some(logs.bytes), ..outcome(&logs.instance, Action::Purge) }),
        );
    }
    Ok(CallAnswer::Outcomes(all))
}
