//! Moments as a person writes them: a sequence number, RFC 3339, `2h ago` or `@unix`.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

/// A moment in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Just after the event with this sequence number.
    Seq(u64),
    /// At this time.
    Time(DateTime<Utc>),
    /// So long before now.
    Ago(TimeDelta),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return unix_time(seconds).map(Self::Time);
        }
        if let Some(duration) = text.strip_suffix("ago") {
            return time_ago(duration.trim()).map(Self::Ago);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
            "write a sequence number (1200), a time (2026-01-31T12:00:00Z), `2h ago` or `@1769860800`".to_owned()
        })?;
        Ok(Self::Time(time.to_utc()))
    }
}

fn unix_time(seconds: &str) -> Result<DateTime<Utc>, String> {
    let seconds: i64 = seconds.parse().map_err(|_| "after `@` come whole seconds since 1970".to_owned())?;
    DateTime::from_timestamp(seconds, 0).ok_or_else(|| "no such time: too many seconds after `@`".to_owned())
}

fn time_ago(duration: &str) -> Result<TimeDelta, String> {
    let duration = humantime::parse_duration(duration)
        .map_err(|error| format!("{error}; before `ago` comes a duration such as 90s or 2h"))?;
    TimeDelta::from_std(duration).map_err(|_| "no such time: too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<At, String> {
        text.parse()
    }

    #[test]
    fn each_form_is_understood() {
        let noon = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        assert_eq!(at("1200"), Ok(At::Seq(1200)));
        assert_eq!(at("2026-01-31T12:00:00Z"), Ok(At::Time(noon)));
        assert_eq!(at("2026-01-31T13:00:00+01:00"), Ok(At::Time(noon)));
        assert_eq!(at("@1769860800"), Ok(At::Time(noon)));
        assert_eq!(at("2h ago"), Ok(At::Ago(TimeDelta::hours(2))));
        assert_eq!(at(" 1h 30m ago "), Ok(At::Ago(TimeDelta::minutes(90))));
    }

    #[test]
    fn anything_else_is_refused_and_never_panics() {
        let too_large = ["99999999999999999999", "@99999999999999999", "584942417355y ago"];
        let malformed = ["", "ago", "yesterday", "@", "@1.5", "-1", "2026-01-31", "2h"];
        for text in too_large.into_iter().chain(malformed) {
            assert!(at(text).is_err(), "{text:?} was accepted");
        }
    }
}
