//! The states that a lane shows: those of a process, and whether it is registered and waits for a restart.

use apm2_model::state::{
    ProcessState,
    stream::{FollowUp, Stream},
};

/// The number of states.
pub const LANE_STATES: usize = 9;

/// What a lane shows at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneState {
    /// The instance is not registered yet, or was removed.
    Absent,
    /// The process succeeded, was stopped, or was never started.
    Stopped,
    /// The process is up.
    Running,
    /// The process is spawned, but not yet ready.
    Starting,
    /// A stop was requested, and the process has not ended yet.
    Stopping,
    /// The process is up, but its health check fails.
    Unhealthy,
    /// The process has ended, and a restart is scheduled.
    Waiting,
    /// SIGKILL of the supervisor ended the process, no restart is scheduled, and it was not given up.
    Terminated,
    /// No restart is scheduled, and the process failed or was given up, such as an agent whose budget is spent.
    Down,
}

impl LaneState {
    /// Every state, in the order of their declaration.
    pub const ALL: [Self; LANE_STATES] = [
        Self::Absent,
        Self::Stopped,
        Self::Running,
        Self::Starting,
        Self::Stopping,
        Self::Unhealthy,
        Self::Waiting,
        Self::Terminated,
        Self::Down,
    ];

    /// The lane state of an instance in this state. `is_waiting` is whether a restart is scheduled, and `is_given_up` whether the
    /// supervisor does not make a restart that the policy asks for.
    #[must_use]
    pub const fn new(state: &ProcessState, is_waiting: bool, is_given_up: bool) -> Self {
        match state {
            ProcessState::Starting => Self::Starting,
            ProcessState::Running => Self::Running,
            ProcessState::Unhealthy => Self::Unhealthy,
            ProcessState::Stopping => Self::Stopping,
            _ if is_waiting => Self::Waiting,
            _ if is_given_up => Self::Down,
            ProcessState::Stopped { .. } => Self::Stopped,
            ProcessState::Crashed { .. } => Self::Down,
            ProcessState::Terminated => Self::Terminated,
        }
    }

    /// The lane state of a stream; `None` is a stream without events.
    #[must_use]
    pub fn of(stream: Option<&Stream>) -> Self {
        match stream {
            Some(stream) if !stream.unregistered => {
                let is_waiting = matches!(stream.follow_up, FollowUp::Restart { .. });
                Self::new(&stream.handle.state, is_waiting, stream.gave_up.is_some())
            }
            _ => Self::Absent,
        }
    }

    /// The name of the state in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Unhealthy => "unhealthy",
            Self::Waiting => "waiting",
            Self::Terminated => "terminated",
            Self::Down => "down",
        }
    }

    /// Whether a process exists in this state.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Starting | Self::Stopping | Self::Unhealthy)
    }
}

/// Whether an instance is down: its process failed, or a health check or a policy stopped it, and it is not running again. It waits
/// for a restart, was given up, or is not restarted. An instance that succeeded, or that an operator stopped, is not down.
///
/// The state does not say so between the end of a run and the decision about a restart, and while a start is under way.
#[must_use]
pub fn is_down(stream: &Stream) -> bool {
    let is_waiting = matches!(stream.follow_up, FollowUp::Restart { .. });
    let has_failed = matches!(stream.handle.state, ProcessState::Crashed { .. }) && stream.wanted;
    stream.handle.state.has_exited() && !stream.unregistered && (is_waiting || has_failed || stream.gave_up.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_each_state_at_its_place() {
        for (place, state) in LaneState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, place);
        }
    }
}
