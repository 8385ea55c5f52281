//! The questions that were not answered yet. Of each kind, only the latest is kept, so their number is bounded, and the
//! sender never waits.

use std::{
    mem::discriminant,
    sync::{Condvar, Mutex, PoisonError},
};

use crate::top::message::Question;

/// The questions that were not answered yet, in the order in which their kinds were asked first.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Vec<Question>>,
    is_filled: Condvar,
}

impl Mailbox {
    /// Puts a question in the place of the one of its kind.
    pub(crate) fn put(&self, question: Question) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.iter_mut().find(|other| discriminant(*other) == discriminant(&question)) {
            Some(other) => *other = question,
            None => waiting.push(question),
        }
        self.is_filled.notify_one();
    }

    /// Waits for a question.
    pub(crate) fn take(&self) -> Question {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if !waiting.is_empty() {
                return waiting.remove(0);
            }
            waiting = self.is_filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_the_latest_question_is_kept() {
        let mailbox = Mailbox::default();
        for question in [Question::Samples(1), Question::Snapshot, Question::Samples(2)] {
            mailbox.put(question);
        }
        assert_eq!((mailbox.take(), mailbox.take()), (Question::Samples(2), Question::Snapshot));
    }
}
