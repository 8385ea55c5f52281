//! JSON view of a run of a process.

use apm2_model::event::{exit::RunEnd, kind::StartTrigger};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    history::Run,
    view::exit::{ExitView, SpawnFailureView},
};

/// The JSON object for one run, from its start to its exit.
#[derive(Debug, Serialize)]
pub(crate) struct RunView<'a> {
    run: u64,
    /// The trigger of the run: `start` (requested) or `restart` (by the restart policy).
    trigger: &'static str,
    /// Number of the restart since the last run that lasted for `min_uptime`; null if the run was not a restart.
    attempt: Option<u32>,
    pid: Option<u32>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_at: Option<DateTime<Utc>>,
    /// The earliest and latest time of the exit, if no supervisor observed the exit. `ended_at` is then the time at
    /// which the exit was found.
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_before: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_after: Option<DateTime<Utc>>,
    /// The duration of the run; null while it runs, and when the machine rebooted between start and exit.
    duration_ms: Option<u64>,
    /// The kind of the end: `exit`, `spawn_failed` or `never_confirmed`; null while the run is in progress.
    end: Option<&'static str>,
    exit: Option<ExitView>,
    spawn_failure: Option<SpawnFailureView<'a>>,
    /// The last output lines of the run, if it failed.
    last_output: Option<LastOutputView<'a>>,
}

/// The last output lines of a failed run. Secrets are masked.
#[derive(Debug, Serialize)]
struct LastOutputView<'a> {
    stdout: &'a [String],
    stderr: &'a [String],
}

impl<'a> RunView<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        let (trigger, attempt) = trigger(run.trigger);
        let (end, exit, spawn_failure) = match &run.end {
            None => (None, None, None),
            Some(RunEnd::Exit(exit)) => (Some("exit"), Some(exit.into()), None),
            Some(RunEnd::SpawnFailed(failure)) => (Some("spawn_failed"), None, Some(failure.into())),
            Some(RunEnd::NeverConfirmed) => (Some("never_confirmed"), None, None),
        };
        Self {
            run: run.number,
            trigger,
            attempt,
            pid: run.pid,
            started_at: run.started.map(|stamp| stamp.wall()),
            ended_at: run.ended.map(|stamp| stamp.wall()),
            ended_not_before: run.unobserved.map(|(not_before, _)| not_before.wall()),
            ended_not_after: run.unobserved.map(|(_, not_after)| not_after.wall()),
            duration_ms: run.duration().map(apm2_model::duration::millis),
            end,
            exit,
            spawn_failure,
            last_output: run.last_output.as_ref().map(|(stdout, stderr)| LastOutputView { stdout, stderr }),
        }
    }
}

/// The name of the trigger, and the number of the restart, if the trigger is a restart.
pub(crate) const fn trigger(trigger: StartTrigger) -> (&'static str, Option<u32>) {
    match trigger {
        StartTrigger::Start => ("start", None),
        StartTrigger::Restart { attempt } => ("restart", Some(attempt)),
        StartTrigger::Boot => ("boot", None),
    }
}
