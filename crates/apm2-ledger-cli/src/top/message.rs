//! What the threads of the screen tell each other: messages to the screen, and its questions.

use std::collections::{HashMap, HashSet};

use apm2_model::{
    event::{Event, identity::ProcessIdentity, stream_id::StreamId},
    spec::id::ProcessId,
};
use ratatui::crossterm::event::Event as TerminalEvent;

use crate::{
    history::InstanceHistory,
    moment::Moment,
    period_lanes::Timeline,
    status::{KernelState, Supervision},
    steps::States,
    time::At,
    top::{
        feed::{log_update::LogUpdate, samples::Sample},
        snapshot::Snapshot,
    },
    why::evidence::Evidence,
};

/// What happened outside of the screen.
#[derive(Debug)]
pub(crate) enum Message {
    /// A key, the mouse, pasted text, or another size.
    Terminal(TerminalEvent),
    /// All instances as they are now. The events that follow are sent one by one.
    Snapshot(Box<Snapshot>),
    /// The next event.
    Event(Box<Event>),
    /// No daemon sends events any more.
    DaemonLost(Supervision),
    /// The answer to a question.
    Answer(Box<Answer>),
    /// Output of the process that is displayed.
    Logs(LogUpdate),
    /// A text for the user: the result of an order, or a failure.
    Note(Note),
    /// The terminal is gone, for this reason.
    InputLost(String),
    /// A thread cannot go on.
    Broken(String),
    /// Something outside of the queue has changed, such as a signal.
    Wake,
}

/// A text for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) is_error: bool,
}

impl Note {
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: false }
    }

    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true }
    }
}

/// A question about the ledger. They are answered one after the other, and of each kind only the latest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Question {
    /// The runs and events of an instance.
    History(DetailKey),
    /// Why an instance is in its state.
    Why(DetailKey),
    /// All instances at a moment of the past.
    Jump(At),
    /// All instances directly after another event.
    Step(Step),
    /// What changes without events: which processes exist and which are supervised.
    Facts(Vec<(StreamId, Option<ProcessIdentity>)>),
    /// What happened lately, until a time or an event, or until now. The instances are down.
    Overview { until: Option<At>, down: Vec<StreamId> },
    /// The latest samples of all instances up to this event.
    Samples(u64),
    /// All instances as they are now, after an event was missed.
    Snapshot,
}

/// What the detail pane shows: an instance after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DetailKey {
    pub(crate) id: StreamId,
    /// The last event that is included; `u64::MAX` for the present.
    pub(crate) upto: u64,
}

/// A step from one event to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// The event after which the displayed moment is.
    pub(crate) from: u64,
    pub(crate) direction: StepDirection,
    /// The instance whose events count; all when `None`.
    pub(crate) of: Option<StreamId>,
}

/// The direction of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepDirection {
    /// To the last event before.
    Earlier,
    /// To the next event.
    Later,
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub(crate) enum Answer {
    History(DetailKey, Option<InstanceHistory>),
    Why(DetailKey, Option<Evidence>),
    Past(PastAnswer),
    /// There is no event in this direction.
    NoStep(StepDirection),
    Facts {
        observed: HashMap<StreamId, KernelState>,
        launched: Option<HashSet<ProcessId>>,
    },
    Samples(Vec<(StreamId, Sample)>),
    Overview(Box<Timeline>),
    /// The question failed.
    Failed(Question, String),
}

/// The instances at a moment of the past.
#[derive(Debug)]
pub(crate) struct PastAnswer {
    pub(crate) moment: Moment,
    /// The event after which the moment is, if it was read.
    pub(crate) event: Option<Event>,
    pub(crate) states: PastStates,
}

/// The states at a moment of the past.
#[derive(Debug)]
pub(crate) enum PastStates {
    /// All of them.
    All(Box<Snapshot>),
    /// Those that differ from the moment `from`: `None` for an instance that did not exist.
    Changed { from: u64, states: States, absent: Vec<StreamId> },
}
