//! The transition function: which event is allowed in which state, and which state follows (INV-0006, INV-0007).

use crate::{
    event::{
        exit::{Exit, RunEnd},
        kind::EventKind,
    },
    state::ProcessState,
};

/// The error for an event that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not allowed while {from}")]
pub struct IllegalTransition {
    /// The name of the state in `snake_case`.
    pub from: &'static str,
    /// The name of the kind of the event, in `snake_case`.
    pub event: &'static str,
}

/// The state that follows `from` upon `kind`: `Some` for a transition, `None` for an event that does not change the
/// state.
///
/// The table is in `docs/lifecycle.md`. [`Stream::apply`](crate::state::stream::Stream::apply) checks the conditions
/// that do not depend on the state alone: versions, run numbers and requested starts.
///
/// # Errors
/// The event is not allowed in this state.
pub fn transition(from: &ProcessState, kind: &EventKind) -> Result<Option<ProcessState>, IllegalTransition> {
    use EventKind as K;
    use ProcessState as S;
    let next = match (from, kind) {
        (S::Stopped { .. } | S::Crashed { .. } | S::Terminated, K::Starting { .. }) => Some(S::Starting),
        (S::Starting, K::Running) => Some(S::Running),
        (S::Starting, K::Crashed { cause }) => Some(S::Crashed { exit_code: cause.exit_code() }),
        (S::Starting | S::Running | S::Unhealthy, K::Stopping { .. }) => Some(S::Stopping),
        (S::Running, K::Unhealthy { .. }) => Some(S::Unhealthy),
        (S::Running | S::Unhealthy, K::Stopped { exit }) if exit.is_success() => {
            Some(S::Stopped { exit_code: exit.code() })
        }
        (S::Running | S::Unhealthy, K::Crashed { cause: RunEnd::Exit(exit) }) if !exit.is_success() => {
            Some(S::Crashed { exit_code: exit.code() })
        }
        (S::Stopping, K::Stopped { exit }) => Some(S::Stopped { exit_code: Exit::code(exit) }),
        (S::Stopping, K::Terminated { .. }) => Some(S::Terminated),
        _ if leaves_unchanged(from, kind) => None,
        _ => return Err(IllegalTransition { from: from.name(), event: kind.name() }),
    };
    Ok(next)
}

/// Whether an event of this kind is allowed in this state and does not change the state.
const fn leaves_unchanged(from: &ProcessState, kind: &EventKind) -> bool {
    use EventKind as K;
    let alive = !from.has_exited();
    match kind {
        K::SpecChanged { .. }
        | K::BudgetReset
        | K::OutputLeaked { .. }
        | K::OutputTail { .. }
        | K::OutputDropped { .. }
        | K::GroupSurvived { .. }
        | K::OrphansEnded { .. }
        // The session of a run is chosen before its start.
        | K::Agent { .. } => true,
        K::SignalSent { .. } | K::SignalFailed { .. } | K::Adopted { .. } | K::Observed { .. } => alive,
        K::HealthChanged { .. } | K::Sampled { .. } | K::CredentialRotated { .. } => from.is_running(),
        K::PreStopEnded { .. } => matches!(from, ProcessState::Stopping),
        // During a stop, this event records that no start follows the stop.
        K::RestartRefused { .. } => !alive || matches!(from, ProcessState::Stopping),
        K::StartRequested { .. } | K::RestartScheduled { .. } | K::Unregistered | K::EndUnobserved { .. } => !alive,
        K::Registered { .. }
        | K::Starting { .. }
        | K::Running
        | K::Unhealthy { .. }
        | K::Stopping { .. }
        | K::Stopped { .. }
        | K::Crashed { .. }
        | K::Terminated { .. }
        | K::SupervisorStarted { .. }
        | K::SupervisorStopped
        | K::Checkpointed { .. }
        | K::StoreRebuilt { .. }
        | K::TailCut { .. } => false,
    }
}

#[cfg(test)]
mod tests;
