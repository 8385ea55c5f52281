//! Terminal colours: one for each meaning, few in all.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Effects};
use apm2_model::state::ProcessState;

use crate::{
    options::When,
    status::{InstanceStatus, KernelState},
};

/// The meaning of a piece of text. The text says the same without colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// No particular meaning.
    #[default]
    Plain,
    /// Table heading.
    Heading,
    /// Running and healthy.
    Good,
    /// In transition: starting or stopping.
    Busy,
    /// Failed.
    Bad,
    /// Ended or removed.
    Quiet,
}

impl Style {
    /// The style of a state.
    pub(crate) const fn of(status: &InstanceStatus<'_>) -> Self {
        match status.state() {
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

/// Whether standard output gets colours.
pub(crate) fn wanted(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            !anstyle_query::no_color() && anstyle_query::term_supports_color() && std::io::stdout().is_terminal()
        }
    }
}
