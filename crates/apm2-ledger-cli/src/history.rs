//! The history of one stream: the states before and after each event, and the runs.
//!
//! A [`Stream`] contains only the current state of an instance. An [`InstanceHistory`] also contains the steps that led
//! to this state. [`Stream::apply`] computes the states, as in all other parts of the program.

use std::time::Duration;

use apm2_model::{
    event::{
        Event,
        exit::{Evidence, RunEnd},
        kind::{EventKind, StartTrigger},
        timestamp::Timestamp,
    },
    state::stream::{IllegalEvent, Stream},
};

/// One event with the transition that it caused.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) event: Event,
    /// The states before and after the event; `None` when the event is not a transition.
    pub(crate) transition: Option<(&'static str, &'static str)>,
}

/// One run of the process, from start to exit.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) trigger: StartTrigger,
    /// The pid; `None` when no process was created.
    pub(crate) pid: Option<u32>,
    /// When the process was spawned; `None` when no process was created.
    pub(crate) started: Option<Timestamp>,
    /// When the supervisor observed the exit; `None` while the process runs.
    pub(crate) ended: Option<Timestamp>,
    /// The earliest and latest time of the exit, if no supervisor observed the exit. `ended` is then the time at which
    /// the exit was found.
    pub(crate) unobserved: Option<(Timestamp, Timestamp)>,
    /// How the run ended; `None` while it runs.
    pub(crate) end: Option<RunEnd>,
    /// The last lines of stdout and stderr, if the run failed.
    pub(crate) last_output: Option<(Vec<String>, Vec<String>)>,
}

impl Run {
    /// Time from spawn to exit on the boot clock; `None` when one of the two times is missing, when the exit was not
    /// observed as it happened, or when the machine rebooted in between.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match &self.end {
            Some(RunEnd::Exit(exit)) if exit.evidence == Evidence::Observed => {}
            _ => return None,
        }
        // The exit was found later than it happened, so the duration is unknown.
        if self.unobserved.is_some() {
            return None;
        }
        self.ended?.nanos_since(&self.started?).map(Duration::from_nanos)
    }
}

/// How many of the last events and of the last runs are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) runs: usize,
    pub(crate) events: usize,
}

/// All events and runs of one instance.
#[derive(Debug)]
pub(crate) struct InstanceHistory {
    /// The state of the instance after the last event.
    pub(crate) stream: Stream,
    pub(crate) steps: Vec<Step>,
    pub(crate) runs: Vec<Run>,
}

impl InstanceHistory {
    /// Creates the history from the first event of a stream.
    ///
    /// # Errors
    /// The event cannot be the first event of a stream.
    pub(crate) fn begin(event: Event) -> Result<Self, IllegalEvent> {
        let stream = Stream::begin(&event)?;
        Ok(Self { stream, steps: vec![Step { event, transition: None }], runs: Vec::new() })
    }

    /// Applies the next event.
    ///
    /// # Errors
    /// The current state does not allow the event.
    pub(crate) fn push(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let transition = self.stream.apply_with_transition(&event)?;
        self.note_run(&event);
        self.steps.push(Step { event, transition });
        Ok(())
    }

    /// The last `max` events with their transitions.
    pub(crate) fn last_steps(&self, max: usize) -> &[Step] {
        last(&self.steps, max)
    }

    /// The last `max` runs.
    pub(crate) fn last_runs(&self, max: usize) -> &[Run] {
        last(&self.runs, max)
    }

    fn note_run(&mut self, event: &Event) {
        if let EventKind::StartRequested { trigger } = event.kind {
            let number = event.run;
            self.runs.push(Run {
                number,
                trigger,
                pid: None,
                started: None,
                ended: None,
                unobserved: None,
                end: None,
                last_output: None,
            });
        }
        let Some(run) = self.runs.last_mut() else { return };
        match &event.kind {
            EventKind::Starting { identity: Some(identity), .. } => {
                run.pid = Some(identity.pid);
                run.started = Some(event.stamp);
            }
            EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => {
                run.ended = Some(event.stamp);
                run.end.clone_from(&self.stream.end);
            }
            EventKind::EndUnobserved { not_before, not_after } => run.unobserved = Some((*not_before, *not_after)),
            EventKind::OutputTail { stdout, stderr } => run.last_output = Some((stdout.clone(), stderr.clone())),
            _ => {}
        }
    }
}

fn last<T>(all: &[T], max: usize) -> &[T] {
    all.get(all.len().saturating_sub(max)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use apm2_model::{
        clock::boot_id,
        event::{
            NewEvent,
            actor::Actor,
            exit::{Evidence, Exit, ExitOutcome},
            identity::ProcessIdentity,
            stream_id::StreamId,
        },
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    use super::*;

    const TRIGGER: StartTrigger = StartTrigger::Start;

    fn event(id: StreamId, number: u64, kind: EventKind) -> Event {
        let run = u64::from(!matches!(kind, EventKind::Registered { .. }));
        let stamp = Timestamp { wall_ns: 0, boot_ns: number * 1_000_000, boot_id: boot_id() };
        NewEvent { stream: id, run, actor: Actor::System, reason: None, cause: None, stamp, kind }
            .numbered(number, number)
    }

    fn history(kinds: impl IntoIterator<Item = EventKind>) -> InstanceHistory {
        let spec = RedactedSpec::new(&ProcessSpec::builder().name("n").command("c").build());
        let id = StreamId { process_id: spec.id, instance: 0 };
        let mut history = InstanceHistory::begin(event(id, 1, EventKind::Registered { spec })).unwrap();
        for (number, kind) in (2..).zip(kinds) {
            history.push(event(id, number, kind)).unwrap();
        }
        history
    }

    fn started() -> [EventKind; 3] {
        let identity = ProcessIdentity { boot_id: boot_id(), pid: 7, start_ticks: 1, pid_namespace: None };
        [
            EventKind::StartRequested { trigger: TRIGGER },
            EventKind::Starting { identity: Some(identity), trigger: TRIGGER },
            EventKind::Running,
        ]
    }

    #[test]
    fn a_transition_knows_the_states_on_both_sides() {
        let history = history(started());
        let transitions: Vec<_> = history.steps.iter().map(|step| step.transition).collect();
        assert_eq!(transitions, [None, None, Some(("stopped", "starting")), Some(("starting", "running"))]);
    }

    #[test]
    fn a_run_lasts_from_the_spawn_to_the_exit() {
        let exit = Exit { outcome: ExitOutcome::Code(7), evidence: Evidence::Observed };
        let history = history(started().into_iter().chain([EventKind::Crashed { cause: RunEnd::Exit(exit) }]));
        let [run] = history.runs.as_slice() else { panic!("{:?}", history.runs) };
        assert_eq!((run.number, run.pid, run.end.clone()), (1, Some(7), Some(RunEnd::Exit(exit))));
        assert_eq!(run.duration(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn a_run_that_lives_has_no_end() {
        let history = history(started());
        assert!(history.runs.iter().all(|run| run.end.is_none() && run.duration().is_none()));
    }

    #[test]
    fn the_last_steps_are_the_last_ones() {
        let history = history(started());
        let seqs = |max| history.last_steps(max).iter().map(|step| step.event.seq).collect::<Vec<_>>();
        assert_eq!((seqs(2), seqs(0), seqs(99)), (vec![3, 4], vec![], vec![1, 2, 3, 4]));
    }
}
