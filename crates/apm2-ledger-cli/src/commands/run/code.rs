//! The exit code of `run`: how the last run ended, by the rules of sh(1).

use apm2_model::{
    event::exit::{ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
    signal::Signal,
};

/// The exit code for a signal is this number plus the signal number (sh(1)).
const SIGNAL_CODE_BASE: i32 = 128;

/// Exit codes for a program that is not found, and for one that cannot be executed (sh(1)).
const NOT_FOUND_CODE: i32 = 127;

const NOT_EXECUTABLE_CODE: i32 = 126;

/// The exit code for the end of the last run.
pub(crate) fn of_end(end: Option<&RunEnd>) -> i32 {
    match end {
        Some(RunEnd::Exit(exit)) => match exit.outcome {
            ExitOutcome::Code(code) => code,
            ExitOutcome::Signal { signal, .. } => of_signal(signal),
            ExitOutcome::Unknown => 1,
        },
        Some(RunEnd::SpawnFailed(failure)) => of_spawn_failure(failure),
        Some(RunEnd::NeverConfirmed) | None => 1,
    }
}

/// The exit code for a process that this signal killed.
pub(crate) fn of_signal(signal: Signal) -> i32 {
    SIGNAL_CODE_BASE + i32::from(signal.number())
}

const fn of_spawn_failure(failure: &SpawnFailure) -> i32 {
    match (failure.stage, failure.errno) {
        (SpawnStage::Exec, Some(nix::libc::ENOENT)) => NOT_FOUND_CODE,
        (SpawnStage::Exec, _) => NOT_EXECUTABLE_CODE,
        (SpawnStage::WorkingDirectory | SpawnStage::Fork | SpawnStage::Credentials | SpawnStage::Stdin, _) => 1,
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::event::exit::{Evidence, Exit};

    use super::*;

    fn exited(outcome: ExitOutcome) -> i32 {
        of_end(Some(&RunEnd::Exit(Exit { outcome, evidence: Evidence::Observed })))
    }

    fn unspawned(stage: SpawnStage, errno: i32) -> i32 {
        of_end(Some(&RunEnd::SpawnFailed(SpawnFailure { stage, errno: Some(errno), message: String::new() })))
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exited(ExitOutcome::Code(7)), 7);
        assert_eq!(exited(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false }), 137);
        assert_eq!(unspawned(SpawnStage::Exec, nix::libc::ENOENT), 127);
        assert_eq!(unspawned(SpawnStage::Exec, nix::libc::EACCES), 126);
    }

    #[test]
    fn an_unknown_end_is_a_failure() {
        assert_eq!(exited(ExitOutcome::Unknown), 1);
        assert_eq!(unspawned(SpawnStage::WorkingDirectory, nix::libc::ENOENT), 1);
        assert_eq!((of_end(None), of_end(Some(&RunEnd::NeverConfirmed))), (1, 1));
    }
}
