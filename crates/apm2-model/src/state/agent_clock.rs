//! The time for which an agent has run, and the day to which its use counts.

use std::time::Duration;

use crate::event::timestamp::Timestamp;

const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// The time for which an agent has run. It is counted on the boot clock, up to the latest event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentClock {
    /// In the latest run, in nanoseconds.
    pub run_ns: u64,
    /// In the latest session, in nanoseconds.
    pub session_ns: u64,
    /// On the day [`day`](Self::day), in nanoseconds.
    pub day_ns: u64,
    /// The day of UTC of the latest event, in days since the epoch.
    pub day: i64,
    /// The latest event of the run in progress; `None` while no process runs.
    pub counted_to: Option<Timestamp>,
}

/// The day of UTC, in days since the epoch.
#[must_use]
pub const fn day_of(now: &Timestamp) -> i64 {
    now.wall_ns.div_euclid(NANOS_PER_DAY)
}

impl AgentClock {
    /// The clock at `now`: the time since the latest event counts, if a process runs. Of an event of an earlier boot it is not known how
    /// long the process ran after it. A clock that is set back by a day at most does not begin a day again; one that is set back further
    /// was wrong before.
    #[must_use]
    pub fn at(mut self, now: &Timestamp) -> Self {
        let passed_ns = self.counted_to.and_then(|before| now.nanos_since(&before)).unwrap_or(0);
        let today = day_of(now);
        if today > self.day || today < self.day.saturating_sub(1) {
            self.day = today;
            self.day_ns = 0;
        }
        let of_today_ns = u64::try_from(now.wall_ns.rem_euclid(NANOS_PER_DAY)).unwrap_or(0);
        self.run_ns = self.run_ns.saturating_add(passed_ns);
        self.session_ns = self.session_ns.saturating_add(passed_ns);
        self.day_ns = self.day_ns.saturating_add(passed_ns).min(of_today_ns.max(self.day_ns));
        self.counted_to = self.counted_to.map(|_| *now);
        self
    }

    /// The time until the day of UTC ends.
    #[must_use]
    pub fn left_of_day(now: &Timestamp) -> Duration {
        let of_today_ns = now.wall_ns.rem_euclid(NANOS_PER_DAY);
        Duration::from_nanos(u64::try_from(NANOS_PER_DAY - of_today_ns).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn at(wall_ns: i64, boot_ns: u64) -> Timestamp {
        Timestamp { wall_ns, boot_ns, boot_id: Uuid::nil() }
    }

    proptest! {
        /// However many events there are, the time is that from the first to the last, and a day has what of it lies in the day.
        #[test]
        fn the_time_is_that_between_the_first_and_the_last_event(
            began in 0..10 * NANOS_PER_DAY,
            steps in proptest::collection::vec(0..NANOS_PER_DAY / 2, 0..20),
        ) {
            let mut now = at(began, 5);
            let mut clock = AgentClock { day: day_of(&now), counted_to: Some(now), ..AgentClock::default() };
            for step in &steps {
                now = at(now.wall_ns + step, now.boot_ns + u64::try_from(*step).unwrap());
                clock = clock.at(&now);
            }
            let total = now.wall_ns - began;
            prop_assert_eq!(i64::try_from(clock.run_ns).unwrap(), total);
            prop_assert_eq!(clock.session_ns, clock.run_ns);
            prop_assert_eq!(clock.day, day_of(&now));
            prop_assert_eq!(i64::try_from(clock.day_ns).unwrap(), total.min(now.wall_ns.rem_euclid(NANOS_PER_DAY)));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_over_midnight_begins_no_day_again() {
        let clock = AgentClock { day: 7, day_ns: 5, ..AgentClock::default() };
        let on_day = |day: i64| clock.at(&at(day * NANOS_PER_DAY + NANOS_PER_DAY / 2, 0));
        assert_eq!((on_day(6).day, on_day(6).day_ns), (7, 5), "set back over midnight");
        for day in [8, 5, -7] {
            assert_eq!((on_day(day).day, on_day(day).day_ns), (day, 0));
        }
    }

    #[test]
    fn nothing_counts_while_no_process_runs_or_across_a_boot() {
        let clock = AgentClock { run_ns: 3, ..AgentClock::default() };
        assert_eq!(clock.at(&at(50, 50)), clock);
        let running = AgentClock { counted_to: Some(at(0, 0)), ..clock };
        let other_boot = Timestamp { boot_id: Uuid::max(), ..at(90, 90) };
        assert_eq!(running.at(&other_boot).run_ns, 3);
        assert_eq!(running.at(&at(90, 90)).run_ns, 93);
    }
}
