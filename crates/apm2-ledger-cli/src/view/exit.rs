//! JSON view of an exit.

use apm2_model::{
    event::exit::{Evidence, Exit, ExitOutcome, SpawnFailure, SpawnStage},
    signal::Signal,
};
use serde::Serialize;

/// An exit with its evidence.
#[derive(Debug, Serialize)]
pub(crate) struct ExitView {
    /// `code`, `signal` or `unknown`.
    outcome: &'static str,
    code: Option<i32>,
    signal: Option<Signal>,
    core_dumped: bool,
    /// `observed`, `recovered` or `unknown`.
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
    /// `working_directory`, `fork` or `exec`.
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
