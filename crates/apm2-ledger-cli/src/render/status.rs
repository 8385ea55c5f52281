//! Describes the state of an instance in words.

use std::time::Duration;

use apm2_model::{
    event::{
        exit::{ExitOutcome, RunEnd},
        kind::RestartRule,
    },
    state::stream::Stream,
};

use crate::{
    render::{words::duration, zone::Zone},
    status::{InstanceStatus, KernelState, Supervision},
};

/// The displayed state of a process. It includes the exit, or the restart that is due.
pub(crate) fn status(status: &InstanceStatus<'_>, zone: Zone) -> String {
    let stream = status.stream;
    let is_absent = status.supervision == Some(Supervision::Absent);
    let state = state(stream);
    match (status.observed, status.restart) {
        (Some(KernelState::Gone), _) => "gone (not recorded)".to_owned(),
        (Some(KernelState::Elsewhere), _) => "unknown (another host or boot)".to_owned(),
        (Some(KernelState::Unseen), _) => "unknown (not visible from here)".to_owned(),
        (Some(KernelState::Alive), _) if is_absent => format!("{state} (not supervised)"),
        (Some(KernelState::Alive), _) => format!("{state} (last known)"),
        (None, _) if status.is_unwatched && !stream.handle.state.has_exited() => format!("{state} (last known)"),
        (None, Some(_)) if status.is_unwatched => format!("{state}, restart waits for a daemon"),
        (None, Some(_)) if is_absent => format!("{state}, restart waits for a daemon"),
        (None, Some(restart)) if stream.waits_for_limit() => {
            format!("waits for its usage limit until {}", zone.time_of_day(restart.at))
        }
        (None, Some(restart)) if restart.left.is_zero() => format!("{state}, restart is due"),
        (None, Some(restart)) => format!("{state}, restarts in {}", duration(coarse(restart.left))),
        (None, None) if stream.intent.is_some() && status.supervised == Some(true) => {
            format!("{state}, is being started")
        }
        (None, None) if stream.intent.is_some() => format!("{state}, start not confirmed"),
        (None, None) if stream.unregistered => format!("{state}, removed"),
        (None, None) if let Some(RestartRule::AgentStopped { finding }) = stream.gave_up => {
            let at = stream.agent.as_ref().map(|agent| format!(" at {}", zone.time_of_day(agent.reported_at.wall())));
            format!("stopped: {finding}{}", at.unwrap_or_default())
        }
        (None, None) if stream.gave_up.is_some() => format!("{state}, gave up"),
        (None, None) => state,
    }
}

/// The displayed state in few columns, for narrow lists: a restart that is due is an arrow with the time until it.
pub(crate) fn short_status(status: &InstanceStatus<'_>, zone: Zone) -> String {
    let stream = status.stream;
    let state = state(stream);
    match (status.observed, status.restart) {
        (Some(KernelState::Gone), _) => "gone".to_owned(),
        (Some(KernelState::Elsewhere | KernelState::Unseen), _) => "unknown".to_owned(),
        (Some(KernelState::Alive), _) if status.supervision == Some(Supervision::Absent) => "unsupervised".to_owned(),
        (Some(KernelState::Alive), _) => format!("{state}?"),
        (None, _) if status.is_unwatched && !stream.handle.state.has_exited() => format!("{state}?"),
        (None, Some(restart)) if stream.waits_for_limit() => format!("limit, {}", zone.time_of_day(restart.at)),
        (None, Some(restart)) => format!("{state} ↻{}", duration(coarse(restart.left)).replace(' ', "")),
        (None, None) if let Some(RestartRule::AgentStopped { finding }) = stream.gave_up => {
            format!("stopped: {finding}")
        }
        (None, None) if stream.gave_up.is_some() => state.replacen(stream.handle.state.name(), "gave up", 1),
        (None, None) if stream.unregistered => format!("{state} removed"),
        (None, None) => state,
    }
}

/// The duration in seconds for display. A duration of more than one second is rounded up to whole seconds.
fn coarse(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    match (seconds, duration.subsec_nanos()) {
        (0, _) | (_, 0) => duration,
        _ => Duration::from_secs(seconds.saturating_add(1)),
    }
}

/// The recorded state, with the exit code or the signal that killed the process.
fn state(stream: &Stream) -> String {
    let state = &stream.handle.state;
    let name = state.name();
    match &stream.end {
        Some(RunEnd::SpawnFailed(_) | RunEnd::NeverConfirmed) => format!("{name} (not started)"),
        Some(RunEnd::Exit(exit)) => match exit.outcome {
            ExitOutcome::Code(code) => format!("{name} ({code})"),
            ExitOutcome::Signal { signal, .. } => format!("{name} ({signal})"),
            ExitOutcome::Unknown => format!("{name} (unknown)"),
        },
        None => name.to_owned(),
    }
}
