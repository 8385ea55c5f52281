//! Marks: the moments of a lane that a person looks for, such as the end of a run.

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        exit::RunEnd,
        kind::{EventKind, RestartRule, StartTrigger},
    },
    state::{statistics::EndCause, stream::Stream},
};

/// The number of classes of marks.
pub const MARK_CLASSES: usize = 10;

/// What happened at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The process succeeded: it ended by itself with exit code 0.
    Success,
    /// A process was spawned because a person or a program asked for it, or at a boot.
    Start,
    /// A process was spawned by the restart policy.
    Restart,
    /// A stop was requested.
    StopRequest(StopBy),
    /// The process ended after a requested stop.
    Stop(EndCause, StopBy),
    /// The health check failed too often.
    Unhealthy {
        /// The number of consecutive failed health checks.
        failures: u32,
    },
    /// SIGKILL of the supervisor ended the process after a requested stop.
    Kill(EndCause, StopBy),
    /// No process could be started, or the start was never confirmed.
    FailedStart(EndCause),
    /// The process failed.
    Crash(EndCause),
    /// The policy asks for a restart that is not made, so that the process stays down.
    Refusal(RestartRule),
}

/// Who requested a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopBy {
    /// A person, or a program on behalf of one.
    Operator,
    /// The health check of the process.
    Health,
    /// A policy, such as the budget of an agent.
    Policy,
    /// The supervisor, because it ended itself or began to supervise.
    Supervisor,
}

impl StopBy {
    /// Who requested a stop that this actor recorded.
    #[must_use]
    pub const fn of(actor: &Actor) -> Self {
        match actor {
            Actor::Operator { .. } => Self::Operator,
            Actor::Health => Self::Health,
            Actor::Policy => Self::Policy,
            Actor::Recovery | Actor::System => Self::Supervisor,
        }
    }

    /// Who requested the stop that is in progress in this state; `None` if none is.
    #[must_use]
    pub fn in_progress(stream: &Stream) -> Option<Self> {
        let stop = stream.stopping.as_ref()?;
        Some(match (stop.by_health, stop.by_policy) {
            (true, _) => Self::Health,
            (_, true) => Self::Policy,
            // Only an operator ends the wish that the process runs.
            _ if stream.wanted => Self::Supervisor,
            _ => Self::Operator,
        })
    }

    /// Whether the restart policy decides what follows the stop.
    #[must_use]
    pub const fn is_left_to_policy(self) -> bool {
        matches!(self, Self::Health | Self::Policy)
    }

    /// The name in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Health => "health",
            Self::Policy => "policy",
            Self::Supervisor => "supervisor",
        }
    }
}

/// A kind of mark without its details. A later class is the more important one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkClass {
    /// See [`MarkKind::Success`].
    Success,
    /// See [`MarkKind::Start`].
    Start,
    /// See [`MarkKind::Restart`].
    Restart,
    /// See [`MarkKind::StopRequest`].
    StopRequest,
    /// See [`MarkKind::Stop`].
    Stop,
    /// See [`MarkKind::Unhealthy`].
    Unhealthy,
    /// See [`MarkKind::Kill`].
    Kill,
    /// See [`MarkKind::FailedStart`].
    FailedStart,
    /// See [`MarkKind::Crash`].
    Crash,
    /// See [`MarkKind::Refusal`].
    Refusal,
}

/// A moment of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The wall-clock time in nanoseconds since 1970, within the period and not before that of earlier marks.
    pub at_ns: i64,
    /// The sequence number of the event.
    pub seq: u64,
    /// The number of the run.
    pub run: u64,
    /// What happened.
    pub kind: MarkKind,
}

/// The number of marks of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MarkCounts([u32; MARK_CLASSES]);

impl MarkClass {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; MARK_CLASSES] = [
        Self::Success,
        Self::Start,
        Self::Restart,
        Self::StopRequest,
        Self::Stop,
        Self::Unhealthy,
        Self::Kill,
        Self::FailedStart,
        Self::Crash,
        Self::Refusal,
    ];

    /// The name of the class in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::StopRequest => "stop_request",
            Self::Stop => "stop",
            Self::Unhealthy => "unhealthy",
            Self::Kill => "kill",
            Self::FailedStart => "failed_start",
            Self::Crash => "crash",
            Self::Refusal => "refusal",
        }
    }
}

impl MarkKind {
    /// The kind of mark that an event makes; `None` if it makes none. `stop` is who requested the stop that was in progress before the
    /// event, if one was.
    #[must_use]
    pub fn of(event: &Event, stop: Option<StopBy>) -> Option<Self> {
        Some(match &event.kind {
            EventKind::Starting { identity: Some(_), trigger: StartTrigger::Restart { .. } } => Self::Restart,
            EventKind::Starting { identity: Some(_), .. } => Self::Start,
            EventKind::Stopping { .. } => Self::StopRequest(StopBy::of(&event.actor)),
            EventKind::Unhealthy { failures } => Self::Unhealthy { failures: *failures },
            EventKind::Stopped { exit } => match stop {
                Some(by) => Self::Stop(EndCause::from(&RunEnd::Exit(*exit)), by),
                None => Self::Success,
            },
            EventKind::Terminated { exit } => {
                Self::Kill(EndCause::from(&RunEnd::Exit(*exit)), stop.unwrap_or(StopBy::Supervisor))
            }
            EventKind::Crashed { cause: cause @ RunEnd::Exit(_) } => Self::Crash(EndCause::from(cause)),
            EventKind::Crashed { cause } => Self::FailedStart(EndCause::from(cause)),
            EventKind::RestartRefused { rule } if rule.is_giving_up() => Self::Refusal(*rule),
            _ => return None,
        })
    }

    /// The class of the kind.
    #[must_use]
    pub const fn class(&self) -> MarkClass {
        match self {
            Self::Success => MarkClass::Success,
            Self::Start => MarkClass::Start,
            Self::Restart => MarkClass::Restart,
            Self::StopRequest(_) => MarkClass::StopRequest,
            Self::Stop(..) => MarkClass::Stop,
            Self::Unhealthy { .. } => MarkClass::Unhealthy,
            Self::Kill(..) => MarkClass::Kill,
            Self::FailedStart(_) => MarkClass::FailedStart,
            Self::Crash(_) => MarkClass::Crash,
            Self::Refusal(_) => MarkClass::Refusal,
        }
    }

    /// How the run ended, if the mark is the end of a run.
    #[must_use]
    pub const fn end(&self) -> Option<EndCause> {
        match self {
            Self::Success => Some(EndCause::Code(0)),
            Self::Stop(cause, _) | Self::Kill(cause, _) | Self::FailedStart(cause) | Self::Crash(cause) => Some(*cause),
            _ => None,
        }
    }

    /// Who requested the stop, if the mark is a stop.
    #[must_use]
    pub const fn stopped_by(&self) -> Option<StopBy> {
        match self {
            Self::StopRequest(by) | Self::Stop(_, by) | Self::Kill(_, by) => Some(*by),
            _ => None,
        }
    }
}

impl Mark {
    /// The mark that an event makes at this time; `None` if it makes none. `stop` is as in [`MarkKind::of`].
    #[must_use]
    pub fn of(event: &Event, at_ns: i64, stop: Option<StopBy>) -> Option<Self> {
        let kind = MarkKind::of(event, stop)?;
        Some(Self { at_ns, seq: event.seq, run: event.run, kind })
    }
}

impl MarkCounts {
    /// No marks.
    pub const NONE: Self = Self([0; MARK_CLASSES]);

    /// Counts a mark of this class.
    pub fn add(&mut self, class: MarkClass) {
        if let Some(count) = self.0.get_mut(class as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// The number of marks of this class.
    #[must_use]
    pub fn of(&self, class: MarkClass) -> u32 {
        self.0.get(class as usize).copied().unwrap_or(0)
    }

    /// Whether there are no marks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The classes that have marks, with their numbers, in the order of their declaration.
    pub fn present(&self) -> impl Iterator<Item = (MarkClass, u32)> {
        MarkClass::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_each_class_at_its_place() {
        for (place, class) in MarkClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }
}
