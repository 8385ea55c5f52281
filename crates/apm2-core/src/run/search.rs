//! The searches for the processes of a run that are made before a step, while no thread waits. The searches of all runs that
//! stop at the same time are made together.

use apm2_model::state::ProcessState;

use crate::run::{
    command::RunCommand,
    look::Look,
    run_task::{RunInput, RunTask},
    stop_phase::StopPhase,
};

impl RunTask {
    /// Searches for what the step for `input` needs.
    pub(super) async fn look_before(&self, input: &RunInput) -> Look {
        let mut look = Look::default();
        let is_sweep = match input {
            RunInput::MainProcessEnded(exit) => !self.main_process.has_lost_group(exit),
            RunInput::Sweep | RunInput::Deadline if self.end.is_some() => true,
            RunInput::Command(RunCommand::Stop(_)) if self.end.is_none() => false,
            _ => return look,
        };
        let members = self.main_process.members_later().await;
        if is_sweep && members.as_ref().is_ok_and(Vec::is_empty) && self.searches_strays() {
            look.strays = Some(self.marker.carriers_of_any_run_later().await);
        }
        look.members = Some(members);
        look
    }

    /// Whether a process that left the group and the session delays the end of the run.
    pub(super) fn searches_strays(&self) -> bool {
        let facts = self.shared.facts();
        let is_wanted = facts.state() == ProcessState::Stopping || facts.spec.shutdown.end_orphans;
        is_wanted && !matches!(self.phase, StopPhase::Spent) && self.main_process.is_of_this_boot()
    }
}
