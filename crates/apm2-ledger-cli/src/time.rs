//! Parses points in the history of a ledger: a sequence number, RFC 3339, a date, `14:00`, `yesterday`, `2h ago` or
//! `@unix`.
//!
//! A time without a UTC offset is local time, as tables on a terminal show it.

use std::str::FromStr;

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

/// The error message for a text in an unknown form.
const FORMS: &str = "write an event's number (1200), a time (2026-01-31T12:00:00Z, '2026-01-31 14:00', 2026-01-31, 14:00, \
                     yesterday), `2h ago` or @1769860800";

/// A moment in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The moment directly after the event with this sequence number.
    Seq(u64),
    /// The moment at this time.
    Time(DateTime<Utc>),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        match text.parse() {
            Ok(seq) => Ok(Self::Seq(seq)),
            Err(_) => time_in(text, &SystemClock.now().wall().with_timezone(&Local))
                .map(Self::Time)
                .map_err(|error| error.unwrap_or_else(|| FORMS.to_owned())),
        }
    }
}

/// Parses a time. Does not accept a sequence number. For logs, which have no events.
///
/// # Errors
/// A message: `text` is not a time.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    match text.parse()? {
        At::Time(time) => Ok(time),
        At::Seq(_) => Err("write a time: 2026-01-31T12:00:00Z, 14:00, yesterday, `2h ago` or @1769860800".to_owned()),
    }
}

/// Parses a time relative to `now` and its time zone. Returns `Err(None)` when `text` has no known form.
fn time_in<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<DateTime<Utc>, Option<String>> {
    if let Some(seconds) = text.strip_prefix('@') {
        return unix_time(seconds).map_err(Some);
    }
    if let Some(duration) = text.strip_suffix("ago") {
        return time_ago(duration.trim(), now).map_err(Some);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let local = local_time(text, now.date_naive()).ok_or(None)?;
    // A local time occurs twice when the clock is set back. The first one is used.
    let time = now.timezone().from_local_datetime(&local).earliest();
    let time = time.ok_or_else(|| Some(format!("{local} is skipped here: the clock is put forward then")))?;
    Ok(time.to_utc())
}

/// Parses a date, a time of day, or both. `today` and `yesterday` are dates. Without a time of day, the result is
/// midnight.
fn local_time(text: &str, today: NaiveDate) -> Option<NaiveDateTime> {
    let date = |text: &str| match text {
        "today" => Some(today),
        "yesterday" => today.checked_sub_days(Days::new(1)),
        _ => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
    };
    let time_of_day =
        |text: &str| ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
    match text.split_once([' ', 'T']) {
        Some((day, time)) => Some(date(day)?.and_time(time_of_day(time.trim_start())?)),
        None => match time_of_day(text) {
            Some(time) => Some(today.and_time(time)),
            None => Some(date(text)?.and_time(NaiveTime::MIN)),
        },
    }
}

fn unix_time(seconds: &str) -> Result<DateTime<Utc>, String> {
    let seconds: i64 = seconds.parse().map_err(|_| "after `@` come whole seconds since 1970".to_owned())?;
    DateTime::from_timestamp(seconds, 0).ok_or_else(|| "no such time: too many seconds after `@`".to_owned())
}

fn time_ago<Z: TimeZone>(duration: &str, now: &DateTime<Z>) -> Result<DateTime<Utc>, String> {
    let duration = humantime::parse_duration(duration)
        .map_err(|error| format!("{error}; before `ago` comes a duration such as 90s or 2h"))?;
    let ago = TimeDelta::from_std(duration).ok().and_then(|ago| now.to_utc().checked_sub_signed(ago));
    ago.ok_or_else(|| "no such time: too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// 14:30 on 31 January 2026, with the UTC offset +02:00.
    fn here() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-01-31T14:30:00+02:00").unwrap()
    }

    fn utc(text: &str) -> Result<DateTime<Utc>, Option<String>> {
        Ok(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    #[test]
    fn each_form_is_understood() {
        let means = |text: &str, time: &str| assert_eq!(time_in(text, &here()), utc(time), "{text:?}");
        means("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z");
        means("2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00Z");
        means("@1769860800", "2026-01-31T12:00:00Z");
        means("2h ago", "2026-01-31T10:30:00Z");
        means("1h 30m ago", "2026-01-31T11:00:00Z");
        means("2026-01-30", "2026-01-29T22:00:00Z");
        means("2026-01-30 14:00", "2026-01-30T12:00:00Z");
        means("2026-01-30T14:00:05.5", "2026-01-30T12:00:05.5Z");
        means("14:00", "2026-01-31T12:00:00Z");
        means("00:15:30", "2026-01-30T22:15:30Z");
        means("today", "2026-01-30T22:00:00Z");
        means("yesterday", "2026-01-29T22:00:00Z");
        means("yesterday 23:59", "2026-01-30T21:59:00Z");
        assert_eq!(" 1200 ".parse(), Ok(At::Seq(1200)));
    }

    #[test]
    fn anything_else_is_refused_and_never_panics() {
        let too_large = ["99999999999999999999", "@99999999999999999", "584942417355y ago", "99999999d ago"];
        let malformed = ["", "ago", "tomorrow", "@", "@1.5", "-1", "2026-02-30", "2h", "24:00", "yesterday 25:00", "T"];
        for text in too_large.into_iter().chain(malformed) {
            assert!(text.parse::<At>().is_err(), "{text:?} was accepted");
        }
        assert!(time("1200").is_err(), "a number is no time");
    }
}
