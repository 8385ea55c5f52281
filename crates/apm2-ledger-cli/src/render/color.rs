//! Colours, as few as there are meanings.

use std::{env, io::IsTerminal as _};

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

    /// `text` in this style (ECMA-48, "select graphic rendition").
    pub(crate) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => 1,
            Self::Good => 32,
            Self::Busy => 33,
            Self::Bad => 31,
            Self::Quiet => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether standard output gets colours.
pub(crate) fn wanted(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
            !refused && !dumb && std::io::stdout().is_terminal()
        }
    }
}
