//! Moments of the past: how they are entered and left.

use apm2_model::event::stream_id::StreamId;

use crate::{
    time::At,
    top::{
        app::{App, past::Past},
        message::{Note, PastAnswer, PastStates, Question, StepDirection},
    },
};

impl App {
    /// Steps to another event, from the moment that is shown.
    pub(super) fn step(&mut self, direction: StepDirection, of: Option<StreamId>) {
        if self.past.is_none() {
            if direction == StepDirection::Later {
                self.say(Note::done("this is the present; [ goes to the event before"));
                return;
            }
            let Some(live) = &self.live else { return };
            self.past = Some(Past::at_the_end_of(live));
            self.is_list_stale = true;
        }
        let question = self.past.as_mut().and_then(|past| past.step(direction, of));
        self.outbox.questions.extend(question);
    }

    /// Goes to a time, or to the moment after an event.
    pub(super) fn jump(&mut self, at: At) {
        self.is_jumping = true;
        self.outbox.questions.push(Question::Jump(at));
    }

    /// Shows a moment that was read.
    pub(super) fn on_past(&mut self, answer: PastAnswer) {
        self.is_list_stale = true;
        match (&answer.states, &mut self.past) {
            (PastStates::All(_), past) if self.is_jumping => {
                self.is_jumping = false;
                *past = Past::read(answer);
                self.outbox.questions.extend(self.past.as_ref().map(|past| Question::Samples(past.snapshot.seq)));
            }
            (_, Some(past)) => self.outbox.questions.extend(past.take(answer)),
            // The past was left meanwhile.
            (_, None) => {}
        }
    }

    /// Says that there is no event in a direction.
    pub(super) fn on_no_step(&mut self, direction: StepDirection) {
        let Some(past) = &mut self.past else { return };
        past.stop_stepping();
        self.say(Note::done(match direction {
            StepDirection::Earlier => "there is no event before",
            StepDirection::Later => "there is no event after this one; Esc goes back to the present",
        }));
    }

    /// Shows the present again.
    pub(super) fn leave_past(&mut self) {
        self.past = None;
        self.is_jumping = false;
        self.is_list_stale = true;
        self.outbox.questions.push(Question::Samples(u64::MAX));
    }
}
