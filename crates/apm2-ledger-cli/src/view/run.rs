//! JSON view of a run.

use apm2_model::event::{exit::RunEnd, kind::StartTrigger};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    history::Run,
    view::exit::{ExitView, SpawnFailureView},
};

/// One run, from start to exit.
#[derive(Debug, Serialize)]
pub(crate) struct RunView<'a> {
    run: u64,
    /// `start` (requested) or `restart` (by the restart policy).
    trigger: &'static str,
    /// Number of the restart since the last run that reached `min_uptime`; null for a start.
    attempt: Option<u32>,
    pid: Option<u32>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_at: Option<DateTime<Utc>>,
    /// Set when no supervisor observed the exit: earliest and latest time of the exit. `ended_at` is then when it was found.
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_before: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_after: Option<DateTime<Utc>>,
    /// Null while it runs, and when the machine rebooted between start and exit.
    duration_ms: Option<u64>,
    /// `exit`, `spawn_failed` or `never_confirmed`; null while it runs.
    end: Option<&'static str>,
    exit: Option<ExitView>,
    spawn_failure: Option<SpawnFailureView<'a>>,
    /// The last lines of its output, when it failed.
    last_output: Option<LastOutputView<'a>>,
}

/// The last lines of a run, with secrets masked.
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

/// Name of the trigger, and the attempt number of a restart.
pub(crate) const fn trigger(trigger: StartTrigger) -> (&'static str, Option<u32>) {
    match trigger {
        StartTrigger::Start => ("start", None),
        StartTrigger::Restart { attempt } => ("restart", Some(attempt)),
        StartTrigger::Boot => ("boot", None),
    }
}
