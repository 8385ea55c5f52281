//! The latest measurements of each instance, for the small charts of the list.

use std::collections::{HashMap, VecDeque};

use apm2_model::event::stream_id::StreamId;

use crate::top::feed::samples::Sample;

/// Number of measurements that are kept of each instance.
pub(crate) const SAMPLES_KEPT: usize = 16;

/// The latest measurements of each instance.
#[derive(Debug, Default)]
pub(crate) struct Samples(HashMap<StreamId, VecDeque<Sample>>);

impl Samples {
    /// Adds a measurement that was recorded after those before it.
    pub(crate) fn push(&mut self, id: StreamId, sample: Sample) {
        let kept = self.0.entry(id).or_default();
        if kept.back().is_some_and(|last| last.seq >= sample.seq) {
            return;
        }
        kept.push_back(sample);
        if kept.len() > SAMPLES_KEPT {
            kept.pop_front();
        }
    }

    /// Replaces all measurements by those that were read, the oldest first, and adds those that came meanwhile.
    pub(crate) fn replace(&mut self, read: impl IntoIterator<Item = (StreamId, Sample)>) {
        let later = std::mem::take(&mut self.0);
        read.into_iter().for_each(|(id, sample)| self.push(id, sample));
        for (id, samples) in later {
            samples.into_iter().for_each(|sample| self.push(id, sample));
        }
    }

    /// The last `max` measurements of an instance up to an event, the oldest first.
    pub(crate) fn of(&self, id: StreamId, upto: u64, max: usize) -> impl Iterator<Item = &Sample> + Clone {
        let kept = self.0.get(&id);
        let count = kept.map_or(0, |kept| kept.iter().filter(|sample| sample.seq <= upto).count());
        kept.into_iter().flatten().take(count).skip(count.saturating_sub(max))
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::id::ProcessId;

    use super::*;

    #[test]
    fn the_last_measurements_up_to_an_event_are_kept() {
        let id = StreamId { process_id: ProcessId::from_bytes([7; 16]), instance: 0 };
        let sample = |seq| Sample { seq, run: 1, cpu_centipercent: 1, memory_bytes: seq };
        let mut samples = Samples::default();
        for seq in 20..40 {
            samples.push(id, sample(seq));
        }
        let of = |samples: &Samples, upto, max| samples.of(id, upto, max).map(|sample| sample.seq).collect::<Vec<_>>();
        assert_eq!(of(&samples, u64::MAX, 3), [37, 38, 39]);
        assert_eq!(of(&samples, 25, 9), [24, 25]);
        samples.replace((1..30).map(|seq| (id, sample(seq))));
        assert_eq!(of(&samples, u64::MAX, 99), (24..40).collect::<Vec<_>>());
    }
}
