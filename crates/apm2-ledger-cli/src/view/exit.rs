//! JSON view of the exit of a process.

use apm2_model::{
    event::exit::{Evidence, Exit, ExitOutcome, SpawnFailure, SpawnStage},
    signal::Signal,
};
use serde::Serialize;

/// The exit of a process: its status, and how the supervisor learned of it.
#[derive(Debug, Serialize)]
pub(crate) struct ExitView {
    /// The kind of the exit status: `code`, `signal` or `unknown`.
    outcome: &'static str,
    code: Option<i32>,
    signal: Option<Signal>,
    core_dumped: bool,
    /// How the supervisor learned of the exit: `observed`, `recovered` or `unknown`.
    evidence: &'static str,
}

impl From<&Exit> for ExitView {
    fn from(exit: &Exit) -> Self {
        let (outcome, core_dumped) = match exit.outcome {
            ExitOutcome::Code(_) => ("code", false),
            ExitOutcome::Signal { core_dumped, .. } => ("signal", core_dumped),
            ExitOutcome::Unknown => ("unknown", false),
        };
        let evidence = match exit.evidence {
            Evidence::Observed => "observed",
            Evidence::Recovered => "recovered",
            Evidence::Unknown => "unknown",
        };
        Self { outcome, code: exit.code(), signal: exit.signal(), core_dumped, evidence }
    }
}

/// Why no process was created.
#[derive(Debug, Serialize)]
pub(crate) struct SpawnFailureView<'a> {
    /// The step that failed: `working_directory`, `fork` or `exec`.
    stage: &'static str,
    errno: Option<i32>,
    message: &'a str,
}

impl<'a> From<&'a SpawnFailure> for SpawnFailureView<'a> {
    fn from(failure: &'a SpawnFailure) -> Self {
        let stage = match failure.stage {
            SpawnStage::WorkingDirectory => "working_directory",
            SpawnStage::Fork => "fork",
            SpawnStage::Exec => "exec",
            SpawnStage::Credentials => "credentials",
            SpawnStage::Stdin => "stdin",
        };
        Self { stage, errno: failure.errno, message: &failure.message }
    }
}
