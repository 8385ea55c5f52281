//! The past that is displayed in the place of the present.

use apm2_model::event::{Event, stream_id::StreamId};

use crate::{
    moment::Moment,
    status::{StatusContext, Supervision},
    top::{
        message::{PastAnswer, PastStates, Question, Step, StepDirection},
        snapshot::Snapshot,
    },
};

/// Largest number of steps that are taken once the step under way is answered.
const STEPS_WAITING_MAX: u32 = 100;

/// A moment of the past.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) snapshot: Snapshot,
    /// The event after which the moment is, if it was read.
    pub(crate) event: Option<Event>,
    /// The step under way, and how many more of its kind were asked for since.
    stepping: Option<(Step, u32)>,
}

impl Past {
    /// The moment of the last event of the present.
    pub(crate) fn at_the_end_of(live: &Snapshot) -> Self {
        let is_unwatched = live.context.supervision == Some(Supervision::Absent);
        let moment = Moment { is_unwatched, ..Moment::past(live.seq, live.context.moment.now) };
        let snapshot = Snapshot { context: StatusContext::past(moment), observed: Default::default(), ..live.clone() };
        Self { snapshot, event: None, stepping: None }
    }

    /// A moment that was read as a whole; `None` for an answer that is not.
    pub(crate) fn read(answer: PastAnswer) -> Option<Self> {
        match answer.states {
            PastStates::All(snapshot) => Some(Self { snapshot: *snapshot, event: answer.event, stepping: None }),
            PastStates::Changed { .. } => None,
        }
    }

    /// Whether no daemon ran then.
    pub(crate) const fn is_unwatched(&self) -> bool {
        self.snapshot.context.moment.is_unwatched
    }

    /// Whether a step was not answered yet.
    pub(crate) const fn is_stepping(&self) -> bool {
        self.stepping.is_some()
    }

    /// Steps to another event, of one instance or of all. Returns the question, if none is under way.
    pub(crate) fn step(&mut self, direction: StepDirection, of: Option<StreamId>) -> Option<Question> {
        if let Some((step, waiting)) = &mut self.stepping {
            if (step.direction, step.of) == (direction, of) {
                *waiting = (*waiting + 1).min(STEPS_WAITING_MAX);
            }
            return None;
        }
        // From the present, the first step is to its last event.
        let is_first = self.event.is_none() && direction == StepDirection::Earlier;
        let from = if is_first { self.snapshot.seq.saturating_add(1) } else { self.snapshot.seq };
        let step = Step { from, direction, of };
        self.stepping = Some((step, 0));
        Some(Question::Step(step))
    }

    /// Takes the answer to a step. Returns the question of the next step, if more were asked for.
    pub(crate) fn take(&mut self, answer: PastAnswer) -> Option<Question> {
        let (step, waiting) = self.stepping.take()?;
        match answer.states {
            PastStates::All(snapshot) => self.snapshot = *snapshot,
            PastStates::Changed { from, states, absent } => {
                if from != step.from {
                    return None;
                }
                self.snapshot.states.extend(states);
                absent.iter().for_each(|id| drop(self.snapshot.states.remove(id)));
                self.snapshot.context = StatusContext::past(answer.moment);
                self.snapshot.seq = answer.moment.seq;
            }
        }
        self.event = answer.event;
        let more = waiting.checked_sub(1)?;
        let question = self.step(step.direction, step.of);
        if let Some((_, waiting)) = &mut self.stepping {
            *waiting = more;
        }
        question
    }

    /// Notes that the step under way has failed, or led nowhere.
    pub(crate) fn stop_stepping(&mut self) {
        self.stepping = None;
    }
}
