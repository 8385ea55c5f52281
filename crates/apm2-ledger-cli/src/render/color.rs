//! Terminal colours. Each colour has one meaning.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Effects};
use apm2_lanes::lane_state::is_down;
use apm2_model::state::ProcessState;

use crate::{
    options::When,
    status::{InstanceStatus, KernelState},
};

/// The meaning of a piece of text, which decides its colour. The text must be understandable without colour, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text without a particular meaning.
    #[default]
    Plain,
    /// The heading of a table.
    Heading,
    /// A process that is running and healthy.
    Good,
    /// A process that is starting or stopping.
    Busy,
    /// A process that has failed or is down.
    Bad,
    /// A process that has ended or was removed.
    Quiet,
}

impl Style {
    /// The style for the name of a state.
    pub(crate) fn of(status: &InstanceStatus<'_>) -> Self {
        match status.state() {
            Ok(_) if is_down(status.stream) => Self::Bad,
            Ok(ProcessState::Running) => Self::Good,
            Ok(ProcessState::Starting | ProcessState::Stopping) | Err(KernelState::Elsewhere | KernelState::Unseen) => {
                Self::Busy
            }
            Ok(ProcessState::Unhealthy | ProcessState::Crashed { .. } | ProcessState::Terminated) | Err(_) => Self::Bad,
            Ok(ProcessState::Stopped { .. }) => Self::Quiet,
        }
    }

    /// Wraps `text` in the escape sequences of this style.
    pub(crate) fn paint(self, text: &str) -> String {
        let plain = anstyle::Style::new();
        let style = match self {
            Self::Plain => plain,
            Self::Heading => plain.effects(Effects::BOLD),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Quiet => plain.effects(Effects::DIMMED),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Whether standard output is coloured.
pub(crate) fn wanted(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            !anstyle_query::no_color() && anstyle_query::term_supports_color() && std::io::stdout().is_terminal()
        }
    }
}
