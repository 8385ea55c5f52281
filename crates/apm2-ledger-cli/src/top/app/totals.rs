//! Figures about all instances, for the header.

use apm2_lanes::lane_state::is_down;
use apm2_model::state::ProcessState;

use crate::{
    status::InstanceStatus,
    top::{app::sort::tokens, snapshot::Snapshot},
};

/// Figures about all instances that are supervised.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) instances: u64,
    pub(crate) running: u64,
    pub(crate) starting: u64,
    pub(crate) stopping: u64,
    pub(crate) unhealthy: u64,
    pub(crate) stopped: u64,
    /// Down: failed, or stopped by a health check or a policy, and not running again.
    pub(crate) down: u64,
    /// Those of them that are given up.
    pub(crate) gave_up: u64,
    /// Recorded as running, but ended or not visible.
    pub(crate) doubtful: u64,
    pub(crate) cpu_percent: f32,
    pub(crate) memory_bytes: u64,
    pub(crate) agents: u64,
    pub(crate) tokens: u64,
    pub(crate) cost_micros: u64,
}

impl Totals {
    /// The figures of a snapshot.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut totals = Self::default();
        for stream in snapshot.states.values().filter(|stream| snapshot.context.is_kept(stream)) {
            totals.add(&snapshot.status(stream));
        }
        totals
    }

    fn add(&mut self, status: &InstanceStatus<'_>) {
        let is_down = is_down(status.stream);
        self.gave_up += u64::from(is_down && status.stream.gave_up.is_some());
        let count = match status.state() {
            _ if is_down => &mut self.down,
            Ok(ProcessState::Running) => &mut self.running,
            Ok(ProcessState::Starting) => &mut self.starting,
            Ok(ProcessState::Stopping) => &mut self.stopping,
            Ok(ProcessState::Unhealthy) => &mut self.unhealthy,
            Ok(ProcessState::Stopped { .. } | ProcessState::Crashed { .. } | ProcessState::Terminated) => {
                &mut self.stopped
            }
            Err(_) => &mut self.doubtful,
        };
        *count += 1;
        self.instances += 1;
        let (cpu, memory) = status.usage();
        self.cpu_percent += cpu.unwrap_or(0.0);
        self.memory_bytes = self.memory_bytes.saturating_add(memory.unwrap_or(0));
        if let Some(agent) = &status.stream.agent {
            self.agents += 1;
            self.tokens = self.tokens.saturating_add(tokens(status));
            self.cost_micros = self.cost_micros.saturating_add(agent.all.cost_micros);
        }
    }
}
