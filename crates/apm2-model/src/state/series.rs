//! A series of runs: all runs that follow from one start. A client that waits for a process waits for the end of a
//! series.

use crate::event::{
    Event,
    kind::{EventKind, StartTrigger},
};

/// The runs that follow from one start: the first, and each restart by the policy or by an operator.
///
/// A start that is requested after the end of the last run begins another series.
#[derive(Debug, Clone)]
pub struct Series {
    first: u64,
    /// The seq of the event that ended the latest run of this series.
    end_seq: Option<u64>,
    is_over: bool,
}

impl Series {
    /// The series whose first run has this number.
    #[must_use]
    pub const fn from(run: u64) -> Self {
        Self { first: run, end_seq: None, is_over: false }
    }

    /// Takes the next event of the stream. Returns whether the event belongs to the series.
    pub fn takes(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::StartRequested { trigger } if event.run > self.first => {
                self.is_over |= !self.is_continued_by(*trigger, event.cause);
            }
            EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => {
                self.end_seq = Some(event.seq);
            }
            _ => {}
        }
        event.run >= self.first && !self.is_over
    }

    /// Whether a taken event began another series.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the start continues the series. It does if it is a restart by the policy, or if it waited for the end of
    /// the run before it: the recorded cause of the start is then the end event of this run.
    fn is_continued_by(&self, trigger: StartTrigger, cause: Option<u64>) -> bool {
        matches!(trigger, StartTrigger::Restart { .. }) || (cause.is_some() && cause == self.end_seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::exit::RunEnd,
        spec::config::restart::RestartConfig,
        testing::{History, STOPPING, exit, identity, killed},
    };

    /// Events of one stream, each given by its run and its cause. The nth event has seq n.
    fn taken(series: &mut Series, events: &[(EventKind, u64, Option<u64>)]) -> Vec<bool> {
        let history = History::under(RestartConfig::default());
        let numbered = events.iter().zip(1..);
        numbered
            .map(|((kind, run, cause), seq)| {
                let event = Event { seq, run: *run, cause: *cause, ..history.next(kind) };
                series.takes(&event)
            })
            .collect()
    }

    const fn start(trigger: StartTrigger) -> EventKind {
        EventKind::StartRequested { trigger }
    }

    fn ends() -> [EventKind; 3] {
        [
            EventKind::Stopped { exit: exit(0) },
            EventKind::Crashed { cause: RunEnd::Exit(exit(1)) },
            EventKind::Terminated { exit: killed() },
        ]
    }

    #[test]
    fn earlier_runs_are_no_part_of_a_series() {
        let mut series = Series::from(2);
        let by_hand = || start(StartTrigger::Start);
        let events = [(by_hand(), 1, None), (ends()[0].clone(), 1, None), (by_hand(), 2, None), (STOPPING, 2, None)];
        assert_eq!(taken(&mut series, &events), [false, false, true, true]);
        assert!(!series.is_over());
    }

    #[test]
    fn a_restart_continues_a_series() {
        let restart = start(StartTrigger::Restart { attempt: 1 });
        for end in ends() {
            let mut series = Series::from(1);
            let adopted = EventKind::Adopted { identity: identity(7) };
            let events =
                [(start(StartTrigger::Start), 1, None), (end, 1, None), (restart.clone(), 2, None), (adopted, 2, None)];
            assert_eq!(taken(&mut series, &events), [true; 4]);
            assert!(!series.is_over());
        }
    }

    #[test]
    fn a_start_that_waited_for_the_end_of_the_run_continues_a_series() {
        for end in ends() {
            for (cause, continues) in [(Some(2), true), (Some(1), false), (None, false)] {
                let mut series = Series::from(1);
                let events = [
                    (start(StartTrigger::Start), 1, None),
                    (end.clone(), 1, None),
                    (start(StartTrigger::Start), 2, cause),
                ];
                assert_eq!(taken(&mut series, &events), [true, true, continues], "{cause:?}");
                assert_eq!(series.is_over(), !continues);
            }
        }
    }

    #[test]
    fn a_series_that_is_over_stays_over() {
        let mut series = Series::from(1);
        let events = [
            (start(StartTrigger::Start), 2, None),
            (start(StartTrigger::Restart { attempt: 1 }), 3, None),
            (STOPPING, 3, None),
        ];
        assert_eq!(taken(&mut series, &events), [false; 3]);
        assert!(series.is_over());
    }
}
