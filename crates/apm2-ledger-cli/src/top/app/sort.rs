//! The orders in which the list can be sorted.

use std::cmp::Ordering;

use apm2_model::state::ProcessState;

use crate::status::InstanceStatus;

/// What the list is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SortKey {
    #[default]
    Name,
    /// What needs attention first.
    State,
    Restarts,
    /// The latest start first.
    Uptime,
    Cpu,
    Memory,
    Tokens,
    Cost,
}

impl SortKey {
    pub(crate) const ALL: [Self; 8] =
        [Self::Name, Self::State, Self::Restarts, Self::Uptime, Self::Cpu, Self::Memory, Self::Tokens, Self::Cost];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Restarts => "restarts",
            Self::Uptime => "uptime",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }

    pub(crate) fn next(self) -> Self {
        let next = Self::ALL.iter().position(|key| *key == self).map_or(0, |at| at + 1);
        Self::ALL.get(next).copied().unwrap_or_default()
    }

    /// The order of two instances: the greatest value first, but names in their order. Instances that are equal are in the
    /// order of their names.
    pub(crate) fn compare(self, left: &InstanceStatus<'_>, right: &InstanceStatus<'_>) -> Ordering {
        let by = |key: fn(&InstanceStatus<'_>) -> u64| key(right).cmp(&key(left));
        let first = match self {
            Self::Name => Ordering::Equal,
            Self::State => by(urgency),
            Self::Restarts => by(|status| u64::from(status.stream.handle.restart_count)),
            Self::Uptime => by(|status| {
                let started = status.stream.handle.started_at.filter(|_| status.uptime_secs().is_some());
                started.map_or(0, |started| u64::try_from(started.timestamp_micros()).unwrap_or(0))
            }),
            // Sound for what is measured: a share of the processor is not negative, and the bits of such numbers are ordered.
            Self::Cpu => by(|status| status.usage().0.map_or(0, |cpu| u64::from(cpu.max(0.0).to_bits()) + 1)),
            Self::Memory => by(|status| status.usage().1.unwrap_or(0)),
            Self::Tokens => by(tokens),
            Self::Cost => by(|status| status.stream.agent.as_ref().map_or(0, |agent| agent.all.cost_micros)),
        };
        first.then_with(|| place(left).cmp(&place(right)))
    }
}

/// The tokens that an agent has used.
pub(crate) fn tokens(status: &InstanceStatus<'_>) -> u64 {
    let usage = status.stream.agent.as_ref().map(|agent| agent.all.usage.plus(agent.in_turn));
    usage.map_or(0, |usage| usage.input.saturating_add(usage.output))
}

/// The place in the order of names, which is that of `list`.
fn place<'a>(status: &InstanceStatus<'a>) -> (&'a str, u32, apm2_model::spec::id::ProcessId) {
    let stream = status.stream;
    (&stream.handle.spec.name, stream.id.instance, stream.id.process_id)
}

/// How much a state needs attention.
fn urgency(status: &InstanceStatus<'_>) -> u64 {
    match status.state() {
        Ok(_) if status.stream.gave_up.is_some() => 8,
        Ok(ProcessState::Crashed { .. }) => 7,
        Err(_) => 6,
        Ok(ProcessState::Terminated) => 5,
        Ok(ProcessState::Unhealthy) => 4,
        Ok(ProcessState::Stopping) => 3,
        Ok(ProcessState::Starting) => 2,
        Ok(ProcessState::Running) => 1,
        Ok(ProcessState::Stopped { .. }) => 0,
    }
}
