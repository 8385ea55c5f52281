//! Colours, as few as there are meanings.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Effects};
use apm2_model::state::ProcessState;

use crate::{
    options::When,
    standing::{Observed, Standing},
};

/// What a piece of text means, where colour says it too. Never where colour alone says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// Nothing in particular.
    #[default]
    Plain,
    /// The head of a table.
    Heading,
    /// Up and well.
    Good,
    /// On its way.
    Busy,
    /// Broken.
    Bad,
    /// Over.
    Quiet,
}

impl Style {
    /// The style of a state, as far as it is known.
    pub(crate) const fn of(standing: &Standing<'_>) -> Self {
        match standing.state() {
            Ok(ProcessState::Running) => Self::Good,
            Ok(ProcessState::Starting | ProcessState::Stopping) | Err(Observed::Elsewhere | Observed::Unseen) => {
                Self::Busy
            }
            Ok(ProcessState::Unhealthy | ProcessState::Crashed { .. } | ProcessState::Terminated) | Err(_) => Self::Bad,
            Ok(ProcessState::Stopped { .. }) => Self::Quiet,
        }
    }

    /// `text` in this style.
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
