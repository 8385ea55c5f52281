//! A run, as programs see it.

use apm2_model::event::{exit::RunEnd, kind::StartTrigger};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    history::Run,
    view::exit::{ExitView, SpawnFailureView},
};

/// One start to exit.
#[derive(Debug, Serialize)]
pub(crate) struct RunView<'a> {
    run: u64,
    /// `start` (somebody asked for it) or `restart` (the policy did).
    trigger: &'static str,
    /// Which restart since the last sustained run; null for a start.
    attempt: Option<u32>,
    pid: Option<u32>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_at: Option<DateTime<Utc>>,
    /// Where no supervisor watched: it ended after this time, and before the next. `ended_at` is when that was found.
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_before: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    ended_not_after: Option<DateTime<Utc>>,
    /// Null while it lives, and where a reboot lies between start and end.
    duration_ms: Option<u64>,
    /// `exit`, `spawn_failed` or `never_confirmed`; null while it lives.
    end: Option<&'static str>,
    exit: Option<ExitView>,
    spawn_failure: Option<SpawnFailureView<'a>>,
    /// The last lines that it wrote, where it failed.
    last_output: Option<LastOutputView<'a>>,
}

/// The last lines of a run, secrets masked.
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

/// The name of a trigger, and the attempt that belongs to a restart.
pub(crate) const fn trigger(trigger: StartTrigger) -> (&'static str, Option<u32>) {
    match trigger {
        StartTrigger::Start => ("start", None),
        StartTrigger::Restart { attempt } => ("restart", Some(attempt)),
        StartTrigger::Boot => ("boot", None),
    }
}
