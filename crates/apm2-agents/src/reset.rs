//! The time at which a limit is reset, from the words of an agent.

use apm2_model::event::timestamp::Timestamp;

const NANOS_PER_SEC: i64 = 1_000_000_000;
const SECS_PER_MINUTE: i64 = 60;
const SECS_PER_HOUR: i64 = 3600;
const SECS_PER_DAY: i64 = 86_400;

/// A time of day that passed less than this long ago is meant as today: the agent cuts seconds off.
const PASSED_SLACK_SECS: i64 = 120;

/// Codex CLI cuts the seconds off the time of a reset. This is the end of the minute: a request before the reset is refused again.
const CUT_SECS_MAX: i64 = SECS_PER_MINUTE;

/// Longest time to a reset that is believed.
const RESET_SECS_MAX: i64 = 60 * SECS_PER_DAY;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The whole second of `now`, since the epoch.
pub(crate) const fn seconds(now: &Timestamp) -> i64 {
    now.wall_ns.div_euclid(NANOS_PER_SEC)
}

/// The time in `… try again at 5:01 PM`, `… try again at Nov 26th, 2026 5:01 PM` or `… try again in 1m30s`, in seconds since the epoch.
///
/// A time of day has neither a date nor a time zone: it is the next such time in the zone that is `utc_offset_secs` east of UTC. The
/// result is the end of that minute.
pub(crate) fn from_text(text: &str, now: &Timestamp, utc_offset_secs: i32) -> Option<i64> {
    let text = text.to_ascii_lowercase();
    if let Some((_, rest)) = text.split_once("try again at ") {
        return at(rest, seconds(now), i64::from(utc_offset_secs));
    }
    let (_, rest) = text.split_once("try again in ").or_else(|| text.split_once("retry after "))?;
    let wait = duration(rest)?;
    (wait <= RESET_SECS_MAX).then(|| seconds(now).saturating_add(wait))
}

/// An RFC 3339 time in seconds since the epoch; fractions of a second are cut off.
pub(crate) fn from_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, offset) = time.split_at_checked(at)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let secs = number(hours)? * SECS_PER_HOUR + number(minutes)? * SECS_PER_MINUTE;
            (time, if offset.starts_with('-') { -secs } else { secs })
        }
    };
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let mut time = time.split(':');
    let of_day =
        number(time.next()?)? * SECS_PER_HOUR + number(time.next()?)? * SECS_PER_MINUTE + number(time.next()?)?;
    Some(days_from_civil(year, month, day)? * SECS_PER_DAY + of_day - offset)
}

fn at(text: &str, now: i64, offset: i64) -> Option<i64> {
    let local = now + offset;
    let mut words = text.split_whitespace();
    let first = words.next()?;
    if let Some(month) = MONTHS.iter().position(|month| first.starts_with(month)) {
        let day = number(words.next()?.trim_matches(|character: char| !character.is_ascii_digit()))?;
        let year = number(words.next()?.trim_end_matches(','))?;
        let of_day = time_of_day(words.next()?, words.next().unwrap_or_default())?;
        let days = days_from_civil(year, i64::try_from(month).ok()? + 1, day)?;
        return Some(days * SECS_PER_DAY + of_day + CUT_SECS_MAX - offset);
    }
    let of_day = time_of_day(first, words.next().unwrap_or_default())?;
    let today = local.div_euclid(SECS_PER_DAY) * SECS_PER_DAY + of_day;
    let next = if today + PASSED_SLACK_SECS < local { today + SECS_PER_DAY } else { today };
    Some(next + CUT_SECS_MAX - offset)
}

/// The seconds from midnight to `5:01` and `pm`, `5:01pm` or `17:01`.
fn time_of_day(time: &str, half: &str) -> Option<i64> {
    let time = time.trim_end_matches(['.', ',']);
    let (clock, half) = match time.find(|character: char| character.is_ascii_alphabetic()) {
        Some(letters) => time.split_at_checked(letters)?,
        None => (time, half),
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let hour = match half.get(..2) {
        Some("am") if hour <= 12 => hour % 12,
        Some("pm") if hour <= 12 => hour % 12 + 12,
        _ => hour,
    };
    (hour < 24 && minute < 60).then_some(hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE)
}

/// The whole seconds, rounded up, of `1s`, `1.5s`, `6m0s`, `850ms`, `3 days 2 hours 5 minutes`.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text.trim_start();
    let mut millis: i64 = 0;
    let mut parts = 0;
    while let Some(end) =
        rest.find(|character: char| !character.is_ascii_digit() && character != '.').filter(|end| *end > 0)
    {
        let (value, after) = rest.split_at_checked(end)?;
        let after = after.trim_start();
        let unit_end = after.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let scale = match unit {
            "ms" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1000,
            "m" | "min" | "mins" | "minute" | "minutes" => SECS_PER_MINUTE * 1000,
            "h" | "hour" | "hours" => SECS_PER_HOUR * 1000,
            "d" | "day" | "days" => SECS_PER_DAY * 1000,
            _ => break,
        };
        millis = millis.checked_add(scaled(value, scale)?)?;
        parts += 1;
        rest = after.trim_start_matches([' ', ',']);
    }
    (parts > 0).then_some(millis.div_euclid(1000) + i64::from(millis % 1000 != 0))
}

/// `value` times `scale`, for a value such as `1.5`.
fn scaled(value: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = value.trim_end_matches('.').split_once('.').unwrap_or((value.trim_end_matches('.'), ""));
    let mut result = number(whole)?.checked_mul(scale)?;
    let mut part = scale;
    for digit in fraction.bytes() {
        part /= 10;
        result += i64::from(digit.checked_sub(b'0')?) * part;
    }
    Some(result)
}

/// A number of at most nine digits.
fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        None
    } else {
        text.parse().ok()
    }
}

/// Days from the epoch to a date of the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    // 2026-11-25T15:44:48Z
    const NOW: i64 = 1_795_621_488;

    fn now() -> Timestamp {
        Timestamp { wall_ns: NOW * NANOS_PER_SEC, boot_ns: 0, boot_id: Uuid::nil() }
    }

    fn text(text: &str, offset: i32) -> Option<i64> {
        from_text(text, &now(), offset)
    }

    fn utc(text: &str) -> Option<i64> {
        let seconds = from_rfc3339(text);
        assert!(seconds.is_some(), "{text}");
        seconds
    }

    #[test]
    fn a_time_of_day_is_the_next_one_in_the_zone() {
        assert_eq!(utc("2026-11-25T15:44:48Z"), Some(NOW));
        assert_eq!(utc("2026-11-25T16:44:48.25+01:00"), Some(NOW));
        assert_eq!(text("or try again at 5:01 PM.", 0), utc("2026-11-25T17:02:00Z"));
        assert_eq!(text("Try again at 5:01 PM.", 3600), utc("2026-11-25T16:02:00Z"));
        assert_eq!(text("try again at 5:01 AM", 0), utc("2026-11-26T05:02:00Z"));
        assert_eq!(text("try again at 12:30 AM", -5 * 3600), utc("2026-11-26T05:31:00Z"));
        assert_eq!(
            text("try again at 3:44 PM", 0),
            utc("2026-11-25T15:45:00Z"),
            "seconds are cut off: it is between 15:44:00 and 15:44:59"
        );
        assert_eq!(text("try again at 3:42pm", 0), utc("2026-11-26T15:43:00Z"));
        assert_eq!(text("try again at 17:01.", 0), utc("2026-11-25T17:02:00Z"));
        assert_eq!(text("try again at Nov 26th, 2026 5:01 PM.", 7200), utc("2026-11-26T15:02:00Z"));
        assert_eq!(text("try again at noon", 0), None);
        assert_eq!(text("try again at 5:99 PM", 0), None);
    }

    #[test]
    fn a_wait_is_added_to_the_time() {
        assert_eq!(text("Please try again in 1s.", 0), Some(NOW + 1));
        assert_eq!(text("Please try again in 1.5s.", 0), Some(NOW + 2));
        assert_eq!(text("Please try again in 850ms. Visit", 0), Some(NOW + 1));
        assert_eq!(text("Please try again in 6m0s. Visit", 0), Some(NOW + 360));
        assert_eq!(text("Try again in 2 days 3 hours 5 minutes.", 0), Some(NOW + 183_900));
        assert_eq!(text("try again in a while", 0), None);
        assert_eq!(text("try again in 900000 days", 0), None);
    }
}
