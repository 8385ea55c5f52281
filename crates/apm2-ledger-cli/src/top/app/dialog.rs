//! The dialogues, which take the keys while they are open.

use apm2_model::event::stream_id::StreamId;

use crate::top::app::field::TextField;

/// What the user can have done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Start,
    Stop,
    Restart,
}

impl Change {
    /// The verb of the change.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// A change that is to be sent to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) change: Change,
    pub(crate) id: StreamId,
    /// The name of the instance, by which the daemon finds it.
    pub(crate) name: String,
    /// The reason to record; `None` if none was given.
    pub(crate) reason: Option<String>,
}

/// A dialogue that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// The keys; scrolled by this number of lines.
    Help(usize),
    /// What happened lately; scrolled by this number of lines.
    Overview(usize),
    /// The filter of the list. It is applied while it is typed; the text before is kept for Esc.
    Filter { field: TextField, before: String },
    /// A text to search for in the text of the detail pane.
    Search(TextField),
    /// A time to jump to, and why the last one was refused.
    Jump { field: TextField, error: Option<String> },
    /// Asks whether a change is to be made, and for its reason.
    Confirm { change: Change, id: StreamId, name: String, reason: TextField },
}

impl Dialog {
    /// The line that is typed into.
    pub(crate) const fn field(&mut self) -> Option<&mut TextField> {
        match self {
            Self::Help(_) | Self::Overview(_) => None,
            Self::Filter { field, .. } | Self::Jump { field, .. } | Self::Search(field) => Some(field),
            Self::Confirm { reason, .. } => Some(reason),
        }
    }
}
