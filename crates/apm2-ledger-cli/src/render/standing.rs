//! The state of an instance in words.

use std::time::Duration;

use apm2_model::{
    event::exit::{ExitOutcome, RunEnd},
    state::stream::Stream,
};

use crate::{
    render::words::duration,
    standing::{Observed, Standing, Supervision},
};

/// The state of a process as far as it is known, with what follows from it.
pub(crate) fn standing(standing: &Standing<'_>) -> String {
    let stream = standing.stream;
    let is_absent = standing.supervision == Some(Supervision::Absent);
    let state = state(stream);
    match (standing.observed, standing.restart) {
        (Some(Observed::Gone), _) => "gone (not recorded)".to_owned(),
        (Some(Observed::Elsewhere), _) => "unknown (another host or boot)".to_owned(),
        (Some(Observed::Unseen), _) => "unknown (not visible from here)".to_owned(),
        (Some(Observed::Alive), _) if is_absent => format!("{state} (not supervised)"),
        (Some(Observed::Alive), _) => format!("{state} (last known)"),
        (None, Some(_)) if is_absent => format!("{state}, restart waits for a daemon"),
        (None, Some(restart)) if restart.left.is_zero() => format!("{state}, restart is due"),
        (None, Some(restart)) => format!("{state}, restarts in {}", duration(coarse(restart.left))),
        (None, None) if stream.intent.is_some() && standing.supervised == Some(true) => {
            format!("{state}, is being started")
        }
        (None, None) if stream.intent.is_some() => format!("{state}, start not confirmed"),
        (None, None) if stream.unregistered => format!("{state}, removed"),
        (None, None) if stream.gave_up.is_some() => format!("{state}, gave up"),
        (None, None) => state,
    }
}

/// Whole seconds, rounded up, of what lasts longer than one.
fn coarse(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    match (seconds, duration.subsec_nanos()) {
        (0, _) | (_, 0) => duration,
        _ => Duration::from_secs(seconds.saturating_add(1)),
    }
}

/// The state on record, with the code or the signal that it ended with.
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
