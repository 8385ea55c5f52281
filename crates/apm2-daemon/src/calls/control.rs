//! The calls `start`, `stop`, `restart`, `signal` and `reload`, which act on instances.

use std::{sync::Arc, time::Duration};

use apm2_core::{
    process::ProcessError,
    supervisor::{Reloaded, Supervisor},
};
use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    signal::Signal,
    spec::name::EVERYTHING,
};

use crate::{
    calls::outcomes::{WAITS_FOR_LIMIT, outcome, outcomes},
    connection::Connection,
    failure::{Failure, error_text},
    protocol::{Action, CallAnswer, Outcome},
    state::DaemonState,
};

/// The operation that a call makes on each instance.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verb {
    Start,
    Stop(Option<Duration>),
    Restart,
    Signal(Signal),
    Reload,
}

impl Verb {
    pub(crate) const fn action(self) -> Action {
        match self {
            Self::Start => Action::Start,
            Self::Stop(_) => Action::Stop,
            Self::Restart => Action::Restart,
            Self::Signal(_) => Action::Signal,
            Self::Reload => Action::Reload,
        }
    }

    /// A note for the user if the instance is already in the requested state.
    pub(crate) fn is_so(self, supervisor: &Supervisor, id: StreamId) -> Option<&'static str> {
        let state = supervisor.state(id)?;
        match self {
            Self::Start if state.is_running() => Some("it runs already"),
            Self::Stop(_) if state.has_exited() => Some("it does not run"),
            Self::Start | Self::Stop(_) | Self::Restart | Self::Signal(_) | Self::Reload => None,
        }
    }

    /// A note for the user if the call was accepted, but its start waits.
    fn is_put_off(self, supervisor: &Supervisor, id: StreamId) -> Option<&'static str> {
        let starts = matches!(self, Self::Start | Self::Restart | Self::Reload);
        (starts && supervisor.waits_for_limit(id)).then_some(WAITS_FOR_LIMIT)
    }

    pub(crate) fn applies_to(self, supervisor: &Supervisor, id: StreamId) -> bool {
        let is_busy = supervisor.is_busy(id);
        match self {
            Self::Start => !is_busy,
            Self::Stop(_) | Self::Restart | Self::Signal(_) => is_busy,
            Self::Reload => is_busy && supervisor.has_credentials(id.process_id),
        }
    }
}

/// Applies `verb` to all target instances concurrently.
pub(crate) async fn each(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    targets: &[String],
    verb: Verb,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let mut ids: Vec<StreamId> = Vec::new();
    for target in targets {
        let found = find(state, target)?;
        // `all` selects only the instances to which the verb applies. Instances that the user names are always
        // reported.
        let is_meant = |id: &StreamId| target != EVERYTHING || verb.applies_to(&state.supervisor, *id);
        ids.extend(found.into_iter().filter(is_meant));
    }
    ids.sort_unstable();
    ids.dedup();
    outcomes(connection, ids.into_iter().map(|id| act(Arc::clone(state), id, verb, by.clone()))).await
}

async fn act(state: Arc<DaemonState>, id: StreamId, verb: Verb, by: Requester) -> Outcome {
    let supervisor = &state.supervisor;
    let name = supervisor.display_name(id);
    let mut action = verb.action();
    let result = match verb {
        Verb::Start => supervisor.start(id, &by).await,
        Verb::Stop(timeout) => supervisor.stop(id, timeout, &by).await,
        Verb::Restart => supervisor.restart(id, &by).await,
        Verb::Signal(signal) => supervisor.signal(id, signal, &by).await,
        Verb::Reload => supervisor.reload(id, &by).await.map(|reloaded| {
            action = match reloaded {
                Reloaded::Signalled => Action::Signal,
                Reloaded::Restarted => Action::Restart,
            };
        }),
    };
    match result {
        Ok(()) => Outcome { note: verb.is_put_off(supervisor, id).map(str::to_owned), ..outcome(&name, action) },
        Err(ProcessError::InvalidState(_)) if let Some(note) = verb.is_so(supervisor, id) => {
            Outcome { note: Some(note.to_owned()), ..outcome(&name, Action::Unchanged) }
        }
        Err(error) => Outcome { error: Some(error_text(error)), ..outcome(&name, action) },
    }
}

pub(crate) fn find(state: &DaemonState, target: &str) -> Result<Vec<StreamId>, Failure> {
    Ok(state.supervisor.find(target)?)
}
