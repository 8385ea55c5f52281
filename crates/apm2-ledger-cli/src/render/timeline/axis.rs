//! The ticks of a time axis.

use apm2_lanes::grid::Grid;
use chrono::{TimeZone as _, Utc};

use crate::render::zone::Zone;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The distances of ticks, in nanoseconds.
const STEPS: [i64; 32] = [
    SECOND / 1000,
    SECOND / 500,
    SECOND / 200,
    SECOND / 100,
    SECOND / 50,
    SECOND / 20,
    SECOND / 10,
    SECOND / 5,
    SECOND / 2,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];

/// Most ticks of an axis.
const TICKS_MAX: usize = 200;

/// A labelled time on the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The time in nanoseconds since 1970.
    pub(crate) at_ns: i64,
    pub(crate) label: String,
}

/// The ticks of the period, at round times of the zone. `room` is the number of characters of the axis.
pub(crate) fn ticks(grid: &Grid, zone: Zone, room: usize) -> Vec<Tick> {
    let step = step(grid, room);
    let from_ns = grid.from_ns();
    let offset_ns = i64::from(zone.offset_secs(Utc.timestamp_nanos(from_ns))) * SECOND;
    let local_ns = from_ns.saturating_add(offset_ns);
    let first = local_ns.div_euclid(step).saturating_mul(step).saturating_sub(offset_ns);
    let times = (0..).map(|number| first.saturating_add(step.saturating_mul(number)));
    let times = times.skip_while(|time| *time < from_ns).take_while(|time| *time < grid.to_ns()).take(TICKS_MAX);
    times.map(|at_ns| Tick { at_ns, label: label(at_ns, step, zone) }).collect()
}

/// The shortest distance at which the labels have room.
fn step(grid: &Grid, room: usize) -> i64 {
    let length = i128::from(grid.length_ns());
    let fits = |step: &i64| {
        let columns = i128::from(*step) * i128::try_from(room).unwrap_or(i128::MAX) / length;
        columns >= label_width(*step) + 3
    };
    STEPS.into_iter().find(fits).unwrap_or(365 * DAY)
}

/// Characters of the longest label at this distance.
const fn label_width(step: i64) -> i128 {
    match step {
        _ if step < SECOND => 12,
        _ if step < MINUTE => 8,
        _ if step < DAY => 5,
        _ => 10,
    }
}

fn label(at_ns: i64, step: i64, zone: Zone) -> String {
    let time = Utc.timestamp_nanos(at_ns);
    let form = match step {
        _ if step < SECOND => "%H:%M:%S%.3f",
        _ if step < MINUTE => "%H:%M:%S",
        // At midnight, the day says more.
        _ if step < DAY && zone.formatted(time, "%H:%M") == "00:00" => "%m-%d",
        _ if step < DAY => "%H:%M",
        _ => "%Y-%m-%d",
    };
    zone.formatted(time, form)
}

#[cfg(test)]
mod tests {
    use apm2_model::event::timestamp::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn labels(from_s: i64, length_ns: i64, room: usize) -> Vec<String> {
        let at = |wall_ns| Timestamp { wall_ns, boot_ns: 0, boot_id: Uuid::nil() };
        let from_ns = from_s * SECOND;
        let grid = Grid::new(at(from_ns), at(from_ns + length_ns), 100);
        ticks(&grid, Zone::Utc, room).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_at_round_times() {
        let begin = 1_769_860_800 - 90; // 2026-01-31T11:58:30Z
        assert_eq!(labels(begin, HOUR, 60), ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]);
        assert_eq!(labels(begin, DAY, 40), ["12:00", "18:00", "02-01", "06:00"]);
        assert_eq!(labels(begin, 7 * SECOND, 60).first().map(String::as_str), Some("11:58:30"));
    }

    #[test]
    fn labels_have_room_in_each_period() {
        for room in [10, 30, 60, 200, 500] {
            // Over longer periods than that, years are too close.
            let longest = 365 * DAY * i64::try_from(room / 13).unwrap();
            let lengths = STEPS.into_iter().flat_map(|step| [step, step * 7 / 3, step * 40]);
            for length in lengths.filter(|length| *length <= longest) {
                let labels = labels(1_769_860_801, length, room);
                let width: usize = labels.iter().map(|label| label.len() + 3).sum();
                assert!(width <= room + 15, "{room} {length} {labels:?}");
            }
        }
    }
}
