//! `up`: computes the plan for a group of processes, and carries it out.

use std::{io, sync::Arc};

use apm2_core::{
    blocking,
    process::ProcessError,
    supervisor::{Applied, BroughtUp, Part, Supervisor},
};
use apm2_model::{
    event::requester::Requester,
    spec::{id::ProcessId, launch::LaunchSpec},
};

use crate::{
    calls::outcomes::{WAITS_FOR_LIMIT, outcome, outcomes},
    connection::Connection,
    failure::{Failure, error_text},
    ledger_settings::{self, LedgerSettings},
    protocol::{Action, CallAnswer, FailureKind, Outcome},
    state::{DaemonState, RUN_GROUP},
};

/// The plan for applying `launches` as the group `group`. Changes nothing.
pub(crate) fn plan(
    supervisor: &Supervisor,
    group: &str,
    launches: &[LaunchSpec],
    rerun: bool,
    by: &Requester,
) -> Result<CallAnswer, Failure> {
    checked(supervisor, launches, by)?;
    let planned = launches.iter().map(|launch| planned(supervisor, launch, rerun));
    let surplus = surplus(supervisor, group, launches);
    let removed = surplus.iter().map(|launch| outcome(&launch.spec.name, Action::Remove));
    Ok(CallAnswer::Outcomes(planned.chain(removed).collect()))
}

pub(crate) fn grouped(launches: impl IntoIterator<Item = LaunchSpec>, group: &str) -> Vec<LaunchSpec> {
    launches.into_iter().map(|launch| LaunchSpec { group: Some(group.to_owned()), ..launch }).collect()
}

/// Refuses invalid launches before any process is changed.
pub(crate) fn checked(supervisor: &Supervisor, launches: &[LaunchSpec], by: &Requester) -> Result<(), Failure> {
    let usage = |error: ProcessError| Failure::new(FailureKind::Usage, error_text(error));
    for launch in launches {
        supervisor.check_owner(launch).map_err(|error| taken(supervisor, launch, error))?;
        supervisor.check(launch, by).map_err(usage)?;
    }
    Supervisor::check_together(launches).map_err(usage)
}

/// Replaces the settings of the ledger by those that the group gives.
pub(crate) async fn keep_settings(
    state: &DaemonState,
    group: String,
    settings: Option<LedgerSettings>,
) -> Result<(), Failure> {
    let dir = Arc::clone(&state.dir);
    let kept = blocking::spawn(move || {
        dir.check_place()?;
        ledger_settings::replace(dir.at(), &group, settings)
    });
    kept.await.map_err(io::Error::other).flatten().map_err(|error| {
        Failure::new(FailureKind::Failed, format!("the settings of the ledger cannot be written: {error}"))
    })
}

/// The names of the processes of the group that are not in `launches`.
pub(crate) fn surplus(supervisor: &Supervisor, group: &str, launches: &[LaunchSpec]) -> Vec<Arc<LaunchSpec>> {
    let is_wanted = |name: &str| launches.iter().any(|launch| launch.spec.name == name);
    let is_surplus = |launch: &Arc<LaunchSpec>| launch.group.as_deref() == Some(group) && !is_wanted(&launch.spec.name);
    supervisor.launches().into_iter().filter(is_surplus).collect()
}

/// Carries out the plan of a group. Removed and changed processes are stopped before any process is started, because a
/// process may need a resource that another process still uses.
pub(crate) async fn apply(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    launches: Vec<LaunchSpec>,
    surplus: &[Arc<LaunchSpec>],
    rerun: bool,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let mut works: Vec<(String, Work)> = Vec::new();
    works.extend(surplus.iter().map(|launch| (launch.spec.name.clone(), Work::remove(launch, launch.group.clone()))));
    works.extend(launches.into_iter().map(|launch| (launch.spec.name.clone(), Work::Apply(Box::new(launch), rerun))));
    let parts = state.supervisor.together(works.iter().map(|(name, _)| name.clone()).collect());
    let works = works.into_iter().zip(parts).map(|((_, work), part)| work.done(Arc::clone(state), part, by.clone()));
    outcomes(connection, works).await
}

/// The failure if a process name belongs to another group, or to a process of `run`.
pub(crate) fn taken(supervisor: &Supervisor, launch: &LaunchSpec, error: ProcessError) -> Failure {
    let name = &launch.spec.name;
    let present = supervisor.launches();
    let owner = present.iter().find(|present| present.spec.name == *name).and_then(|present| present.group.as_deref());
    let command = match owner {
        Some(RUN_GROUP) => format!("`apm2-ledger stop {name}`"),
        Some(group) => format!("`apm2-ledger down {group}`"),
        None => format!("`apm2-ledger down --name {name}`"),
    };
    let hint = Some(format!("give it another name, or stop it: {command}"));
    Failure { hint, ..error.into() }
}

/// The planned action for a launch.
pub(crate) fn planned(supervisor: &Supervisor, launch: &LaunchSpec, rerun: bool) -> Outcome {
    let (would_start, has_finished) = supervisor.would_start(launch, rerun);
    outcome(&launch.spec.name, action_of(supervisor.plan(launch), would_start, has_finished))
}

pub(crate) const fn action_of(applied: Applied, has_started: bool, has_finished: bool) -> Action {
    match applied {
        Applied::Created => Action::Create,
        Applied::Changed => Action::Change,
        Applied::Unchanged if has_started => Action::Start,
        Applied::Unchanged if has_finished => Action::Finished,
        Applied::Unchanged => Action::Unchanged,
    }
}

/// The action that is reported for a failed `up`.
pub(crate) const fn failed_action(planned: Action, error: &ProcessError) -> Action {
    match (planned, error) {
        (Action::Unchanged | Action::Finished, _) | (_, ProcessError::SpawnFailed(_)) => Action::Start,
        (planned, _) => planned,
    }
}

/// The note about a process that something else has removed.
const IS_REMOVED: &str = "it is not supervised any more";

/// A change of one process by `up` or `down`.
pub(crate) enum Work {
    /// The process is created or changed, and started. The flag says whether a process that has finished (ended with
    /// success) is started again.
    Apply(Box<LaunchSpec>, bool),
    Remove {
        id: ProcessId,
        name: String,
        /// Removes the process only if it still belongs to the group.
        group: Option<String>,
    },
}

impl Work {
    pub(crate) fn remove(launch: &LaunchSpec, group: Option<String>) -> Self {
        Self::Remove { id: launch.spec.id, name: launch.spec.name.clone(), group }
    }

    pub(crate) async fn done(self, state: Arc<DaemonState>, part: Part, by: Requester) -> Outcome {
        match self {
            Self::Apply(launch, rerun) => {
                let name = launch.spec.name.clone();
                let planned = planned(&state.supervisor, &launch, rerun).action;
                match part.bring_up(launch, rerun, &by).await {
                    Ok(BroughtUp { applied, has_started, has_finished, waits_for_limit, ended_at_once }) => {
                        match ended_at_once {
                            None => Outcome {
                                note: waits_for_limit.then(|| WAITS_FOR_LIMIT.to_owned()),
                                ..outcome(&name, action_of(applied, has_started, has_finished))
                            },
                            error => Outcome { error, ..outcome(&name, Action::Start) },
                        }
                    }
                    Err(error) => {
                        let action = failed_action(planned, &error);
                        Outcome { error: Some(error_text(error)), ..outcome(&name, action) }
                    }
                }
            }
            Self::Remove { id, name, group } => {
                match part.remove(id, group.as_deref(), &by).await {
                    Ok(()) => outcome(&name, Action::Remove),
                    // Another client has removed it, or it is a process of `run` that has ended. Another process may have its
                    // name in the meantime.
                    Err(ProcessError::NotFound(_)) => {
                        Outcome { note: Some(IS_REMOVED.to_owned()), ..outcome(&name, Action::Unchanged) }
                    }
                    Err(error) => Outcome { error: Some(error_text(error)), ..outcome(&name, Action::Remove) },
                }
            }
        }
    }
}
