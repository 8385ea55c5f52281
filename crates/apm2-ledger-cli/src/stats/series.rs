//! How the runs and the use of an instance developed over a period: values for equal parts of the period.

use apm2_model::{
    event::{Event, kind::EventKind},
    state::statistics::Measured,
};

use crate::stats::period::Period;

/// The number of equal parts of the period.
pub(crate) const PARTS: usize = 24;

/// The values of the parts of a period, the first part first.
#[derive(Debug)]
pub(crate) struct Series {
    from_ns: i64,
    to_ns: i64,
    /// The number of requested starts in each part.
    pub(crate) starts: [u64; PARTS],
    /// The number of crashes in each part.
    pub(crate) crashes: [u64; PARTS],
    /// Processor use in hundredths of a percent of one core.
    pub(crate) cpu_centipercent: [Measured; PARTS],
    /// Resident memory in bytes.
    pub(crate) memory_bytes: [Measured; PARTS],
}

impl Series {
    pub(crate) fn new(period: &Period) -> Self {
        Self {
            from_ns: period.from.wall_ns,
            to_ns: period.to.wall_ns,
            starts: [0; PARTS],
            crashes: [0; PARTS],
            cpu_centipercent: [Measured::default(); PARTS],
            memory_bytes: [Measured::default(); PARTS],
        }
    }

    /// The length of a part in nanoseconds.
    pub(crate) fn part_ns(&self) -> u64 {
        u64::try_from(self.to_ns.saturating_sub(self.from_ns)).unwrap_or(0) / PARTS as u64
    }

    /// The part that contains the time. A time before or after the period, by a clock that was set, is in the first or last.
    fn part(&self, wall_ns: i64) -> usize {
        let offset = u64::try_from(wall_ns.saturating_sub(self.from_ns)).unwrap_or(0);
        let part = offset.checked_div(self.part_ns()).unwrap_or(0);
        usize::try_from(part).unwrap_or(usize::MAX).min(PARTS - 1)
    }

    /// Adds an event of the period.
    pub(crate) fn add(&mut self, event: &Event) {
        let part = self.part(event.stamp.wall_ns);
        let count = |values: &mut [u64; PARTS]| values.get_mut(part).into_iter().for_each(|value| *value += 1);
        match &event.kind {
            EventKind::StartRequested { .. } => count(&mut self.starts),
            EventKind::Crashed { .. } => count(&mut self.crashes),
            EventKind::Sampled { cpu_centipercent, memory_bytes, .. } => {
                let add = |values: &mut [Measured; PARTS], value| {
                    values.get_mut(part).into_iter().for_each(|measured| measured.add(value));
                };
                add(&mut self.cpu_centipercent, u64::from(*cpu_centipercent));
                add(&mut self.memory_bytes, *memory_bytes);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::event::timestamp::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_time_is_in_one_part() {
        let stamp = |wall_ns| Timestamp { wall_ns, boot_ns: 0, boot_id: Uuid::nil() };
        let series = |from, to| Series::new(&Period { from: stamp(from), to: stamp(to), seqs: (1, 1) });
        let day = series(0, 24_000);
        for (time, part) in
            [(i64::MIN, 0), (-1, 0), (0, 0), (999, 0), (1000, 1), (23_999, 23), (24_000, 23), (i64::MAX, 23)]
        {
            assert_eq!(day.part(time), part, "{time}");
        }
        assert_eq!((series(5, 5).part(5), series(9, 5).part(7), series(i64::MIN, i64::MAX).part(0)), (0, 0, 23));
    }
}
