//! Judges the clocks of this machine.

use chrono::{DateTime, TimeDelta, Utc};

use crate::doctor::{check::Check, facts::clock::ClockFacts};

/// The difference between the last event and the clock that is no finding: clocks are adjusted.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// 2025-01-01T00:00:00Z: a clock before this time was never set.
const EPOCH_SECS: i64 = 1_735_689_600;

pub(crate) fn judge(facts: &ClockFacts) -> Vec<Check> {
    vec![boot_time(facts), wall(facts), zone(facts)]
}

fn boot_time(facts: &ClockFacts) -> Check {
    const NAME: &str = "clock_boot_time";
    if facts.has_boot_time && facts.has_boot_id {
        return Check::ok(NAME, "CLOCK_BOOTTIME and the boot id can be read");
    }
    Check::problem(
        NAME,
        "CLOCK_BOOTTIME or /proc/sys/kernel/random/boot_id cannot be read: no process can be identified after a restart of \
         the daemon",
        "mount /proc with its sys directory",
    )
}

fn wall(facts: &ClockFacts) -> Check {
    const NAME: &str = "clock_wall";
    const REMEDY: &str = "timedatectl set-ntp true";
    let shown = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ");
    if facts.now.timestamp() < EPOCH_SECS {
        return Check::problem(NAME, format!("the clock says {}: it was never set", shown(facts.now)), REMEDY);
    }
    match facts.last_event.filter(|last| *last > facts.now + SLACK) {
        Some(last) => Check::problem(
            NAME,
            format!("the last event is of {}, which is later than now: the clock was set back", shown(last)),
            REMEDY,
        ),
        None => Check::ok(NAME, format!("the clock says {}", shown(facts.now))),
    }
}

fn zone(facts: &ClockFacts) -> Check {
    let zone = facts.zone.as_deref().unwrap_or("UTC");
    Check::ok("time_zone", format!("times are displayed with the offset {}, by {zone}", facts.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    #[test]
    fn an_event_in_the_future_and_an_unset_clock_are_problems() {
        use CheckStatus::{Ok, Problem};
        let at = |secs| DateTime::from_timestamp(secs, 0).unwrap();
        let sound = ClockFacts {
            now: at(EPOCH_SECS + 100),
            last_event: Some(at(EPOCH_SECS + 100)),
            has_boot_time: true,
            has_boot_id: true,
            zone: None,
            offset: "+00:00".to_owned(),
        };
        let statuses = |facts: &ClockFacts| judge(facts).into_iter().map(|check| check.status).collect::<Vec<_>>();
        assert_eq!(statuses(&sound), [Ok, Ok, Ok]);
        assert_eq!(
            statuses(&ClockFacts { last_event: Some(at(EPOCH_SECS + 200)), ..sound.clone() }),
            [Ok, Problem, Ok]
        );
        assert_eq!(statuses(&ClockFacts { now: at(7), last_event: None, ..sound.clone() }), [Ok, Problem, Ok]);
        assert_eq!(statuses(&ClockFacts { has_boot_time: false, ..sound }), [Problem, Ok, Ok]);
    }
}
