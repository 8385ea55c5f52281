//! The time zone that times are shown in.

use std::io::{self, IsTerminal as _};

use chrono::{DateTime, Local, SecondsFormat, Utc};

use crate::render::words::NOTHING;

/// In whose time a time is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Zone {
    /// UTC, for files and programs.
    #[default]
    Utc,
    /// Local time, for a person at a terminal.
    Local,
}

impl Zone {
    /// That of an output, which is a terminal or not.
    pub(crate) const fn of(is_terminal: bool) -> Self {
        if is_terminal { Self::Local } else { Self::Utc }
    }

    /// That of standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// A time to the millisecond, with its offset: given back to the program it means the same.
    pub(crate) fn time(self, time: DateTime<Utc>) -> String {
        match self {
            Self::Utc => time.to_rfc3339_opts(SecondsFormat::Millis, true),
            Self::Local => time.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false),
        }
    }

    /// The same, or a dash.
    pub(crate) fn time_or_nothing(self, moment: Option<DateTime<Utc>>) -> String {
        moment.map_or_else(|| NOTHING.to_owned(), |moment| self.time(moment))
    }
}
