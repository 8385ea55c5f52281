//! The states of one instance over a period, one after the other.

use apm2_model::{
    event::{
        Event,
        kind::{EventKind, RestartRule},
    },
    state::{handle::ProcessHandle, stream::Stream, transition::IllegalTransition},
};

use crate::{lane_state::LaneState, mark::StopBy};

/// The kinds of events that a lane is computed from. Other events change nothing.
pub const LANE_KINDS: [&str; 14] = [
    "registered",
    "spec_changed",
    "unregistered",
    "start_requested",
    "starting",
    "running",
    "unhealthy",
    "stopping",
    "stopped",
    "crashed",
    "terminated",
    "restart_scheduled",
    "restart_refused",
    "end_unobserved",
];

/// A part of a lane in which its state did not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The state.
    pub state: LaneState,
    /// The wall-clock time of its beginning, in nanoseconds since 1970.
    pub from_ns: i64,
    /// The wall-clock time of its end, which is not part of it.
    pub to_ns: i64,
}

/// The state of one instance, as far as a lane shows it. [`ProcessHandle::apply`] computes it.
#[derive(Debug)]
pub struct SegmentFold {
    /// The instance; `None` before it was registered.
    handle: Option<ProcessHandle>,
    is_waiting: bool,
    /// Why the supervisor does not make a restart that the policy asks for.
    gave_up: Option<RestartRule>,
    is_removed: bool,
    /// Who requested the stop in progress; `None` if none is.
    stop: Option<StopBy>,
    shown: LaneState,
    since_ns: i64,
}

impl SegmentFold {
    /// The fold at the beginning of the period, with the state of the stream at this time; `None` if it had no events.
    #[must_use]
    pub fn new(before: Option<&Stream>, from_ns: i64) -> Self {
        let shown = LaneState::of(before);
        Self {
            handle: before.map(|stream| stream.handle.clone()),
            is_waiting: shown == LaneState::Waiting,
            gave_up: before.and_then(|stream| stream.gave_up),
            is_removed: before.is_some_and(|stream| stream.unregistered),
            stop: before.and_then(StopBy::in_progress),
            shown,
            since_ns: from_ns,
        }
    }

    /// Applies the next event of the stream.
    ///
    /// # Errors
    /// The state does not allow the event, because events before it are missing.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        match (&mut self.handle, &event.kind) {
            (None, EventKind::Registered { spec }) if event.stream.instance < spec.instances => {
                self.handle = Some(ProcessHandle::new((**spec).clone(), event.stream.instance));
            }
            (None, kind) => return Err(IllegalTransition { from: LaneState::Absent.name(), event: kind.name() }),
            (Some(handle), _) => handle.apply(event)?,
        }
        match &event.kind {
            EventKind::SpecChanged { .. } => (self.is_removed, self.gave_up) = (false, None),
            EventKind::Unregistered => (self.is_removed, self.is_waiting, self.gave_up) = (true, false, None),
            EventKind::RestartScheduled { .. } => self.is_waiting = true,
            EventKind::RestartRefused { rule } => {
                (self.is_waiting, self.gave_up) = (false, rule.is_giving_up().then_some(*rule));
                // What follows the stop in progress is decided now, and not left to the policy any more.
                let by = StopBy::of(&event.actor);
                let decided = if by.is_left_to_policy() { StopBy::Supervisor } else { by };
                self.stop = self.stop.map(|stop| if stop.is_left_to_policy() { decided } else { stop });
            }
            EventKind::StartRequested { .. } => (self.is_waiting, self.gave_up, self.stop) = (false, None, None),
            EventKind::Stopping { .. } => self.stop = Some(StopBy::of(&event.actor)),
            EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => self.stop = None,
            _ => {}
        }
        self.shown = match &self.handle {
            Some(handle) if !self.is_removed => LaneState::new(&handle.state, self.is_waiting, self.gave_up.is_some()),
            _ => LaneState::Absent,
        };
        Ok(())
    }

    /// The state since the end of the last segment.
    #[must_use]
    pub const fn state(&self) -> LaneState {
        self.shown
    }

    /// Why the supervisor does not make a restart that the policy asks for; `None` if there is no such restart.
    #[must_use]
    pub const fn gave_up(&self) -> Option<RestartRule> {
        self.gave_up
    }

    /// Who requested the stop in progress; `None` if none is.
    #[must_use]
    pub const fn stop(&self) -> Option<StopBy> {
        self.stop
    }

    /// The instance; `None` before it was registered.
    #[must_use]
    pub const fn handle(&self) -> Option<&ProcessHandle> {
        self.handle.as_ref()
    }

    /// Ends the segment at this time, before the next event is applied. `None` if no time has passed.
    pub fn cut(&mut self, at_ns: i64) -> Option<Segment> {
        if at_ns <= self.since_ns {
            return None;
        }
        let segment = Segment { state: self.shown, from_ns: self.since_ns, to_ns: at_ns };
        self.since_ns = at_ns;
        Some(segment)
    }
}
