//! The time zone in which times are displayed.

use std::io::{self, IsTerminal as _};

use chrono::{DateTime, Local, NaiveDate, SecondsFormat, Utc};

use crate::render::words::NOTHING;

/// The time zone in which times are displayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Zone {
    /// UTC, for output to files and pipes.
    #[default]
    Utc,
    /// Local time, for output to a terminal.
    Local,
}

impl Zone {
    /// The time zone for an output: local time on a terminal, otherwise UTC.
    pub(crate) const fn of(is_terminal: bool) -> Self {
        if is_terminal { Self::Local } else { Self::Utc }
    }

    /// The time zone for output on standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// Formats a time to the millisecond with its UTC offset; `--at` and `--since` accept this form.
    pub(crate) fn time(self, time: DateTime<Utc>) -> String {
        match self {
            Self::Utc => time.to_rfc3339_opts(SecondsFormat::Millis, true),
            Self::Local => time.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }

    /// Formats a time of day to the minute, for a time that is near.
    pub(crate) fn time_of_day(self, time: DateTime<Utc>) -> String {
        match self {
            Self::Utc => format!("{} UTC", time.format("%H:%M")),
            Self::Local => time.with_timezone(&Local).format("%H:%M").to_string(),
        }
    }

    /// Formats a time to the second without its offset: the time of day, after the date if that is not the day of `now`.
    pub(crate) fn short_time(self, time: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let form = if self.day(time) == self.day(now) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        self.formatted(time, form)
    }

    /// Formats a time with `form`, as in strftime(3).
    pub(crate) fn formatted(self, time: DateTime<Utc>, form: &str) -> String {
        match self {
            Self::Utc => time.format(form).to_string(),
            Self::Local => time.with_timezone(&Local).format(form).to_string(),
        }
    }

    /// The difference from UTC at a time, in seconds.
    pub(crate) fn offset_secs(self, time: DateTime<Utc>) -> i32 {
        match self {
            Self::Utc => 0,
            Self::Local => time.with_timezone(&Local).offset().local_minus_utc(),
        }
    }

    /// The name of the zone at a time: `UTC`, or the offset from it.
    pub(crate) fn name(self, time: DateTime<Utc>) -> String {
        match self {
            _ if self.offset_secs(time) == 0 => "UTC".to_owned(),
            Self::Utc => "UTC".to_owned(),
            Self::Local => self.formatted(time, "%:z"),
        }
    }

    /// The calendar day of a time.
    pub(crate) fn day(self, time: DateTime<Utc>) -> NaiveDate {
        match self {
            Self::Utc => time.date_naive(),
            Self::Local => time.with_timezone(&Local).date_naive(),
        }
    }

    /// Like `format`, but returns a dash for `None`.
    pub(crate) fn time_or_nothing(self, moment: Option<DateTime<Utc>>) -> String {
        moment.map_or_else(|| NOTHING.to_owned(), |moment| self.time(moment))
    }
}
