//! The answers of a [`Reader`], from the open ledger or from the journal.

use std::ops::ControlFlow;

use apm2_model::{event::Event, state::stream::Stream};

use crate::{
    error::{FindError, ReadError},
    read::{
        current_states,
        events_back::EventsBack,
        query::Direction,
        read_ledger::{EventsQuestion, Found, LedgerHead, ReadLedger, StatesQuestion},
        reader::Reader,
    },
};

impl Reader {
    fn ledger_head(&self) -> LedgerHead {
        LedgerHead { size: Self::head(self).map_or(0, |head| head.size), is_whole: self.is_whole() }
    }
}

impl ReadLedger for Reader {
    type Error = ReadError;

    fn head(&self) -> Result<LedgerHead, ReadError> {
        Ok(self.ledger_head())
    }

    fn find(&self, text: &str) -> Result<Found, ReadError> {
        let size = self.ledger_head().size;
        match Self::find(self, text) {
            Ok(streams) => Ok(Found { streams: Ok(streams), size }),
            Err(FindError::Unclear(unclear)) => Ok(Found { streams: Err(unclear), size }),
            Err(FindError::Read(error)) => Err(error),
        }
    }

    fn events(
        &self,
        question: &EventsQuestion,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadError> {
        let head = self.ledger_head();
        let (first, last) = (question.first, question.last.min(head.end()));
        let query = question.query.clone();
        let mut back;
        let mut forwards;
        let next: &mut dyn FnMut() -> Result<Option<Event>, ReadError> = match question.direction {
            Direction::Forwards => {
                let mut events = self.query(query, first, last);
                forwards = move || events.next().transpose();
                &mut forwards
            }
            Direction::Backwards => {
                let mut events = EventsBack::new(self, query, first, last)?;
                back = move || events.next_event();
                &mut back
            }
        };
        for _ in 0..question.max {
            let Some(event) = next()? else { break };
            if visit(event).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(head.size))
    }

    fn states(
        &self,
        question: &StatesQuestion,
        visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadError> {
        let head = self.ledger_head();
        let mut is_whole = true;
        let mut take = |state| {
            let went_on = visit(state);
            is_whole &= went_on.is_continue();
            went_on
        };
        match question {
            StatesQuestion::All(upto) => current_states::each_at(self, head.end().min(*upto), take)?,
            StatesQuestion::Of(streams) => {
                for at in streams {
                    self.check_cancelled()?;
                    let state = self.stream_at(at.id, head.end().min(at.seq))?;
                    if state.is_some_and(|state| take(state).is_break()) {
                        break;
                    }
                }
            }
        }
        Ok(is_whole.then_some(head.size))
    }
}
