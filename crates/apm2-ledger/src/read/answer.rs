//! The answers of a [`Reader`], from the open ledger or from the journal.

use std::ops::ControlFlow;

use apm2_model::{event::Event, state::stream::Stream};

use crate::{
    error::{FindError, ReadError},
    read::{
        current_states,
        events_back::EventsBack,
        query::Direction,
        read_ledger::{EventsQuestion, Found, LedgerHead, ReadLedger, StatesQuestion, StreamAt},
        reader::Reader,
        state::{Checked, State},
    },
    record::RecordError,
};

impl Reader {
    pub(crate) fn ledger_head(&self) -> LedgerHead {
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
        self.each_state(question, State::decoded, &mut |state| visit(*state))
    }
}

impl Reader {
    /// Like [`ReadLedger::states`], with the record of each state, see [`decode_stream`](crate::record::decode_stream). A state
    /// that is stored is not decoded for this.
    ///
    /// # Errors
    /// Those of [`ReadLedger::states`].
    pub fn encoded_states(
        &self,
        question: &StatesQuestion,
        visit: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadError> {
        self.each_state(question, State::encoded, visit)
    }

    /// Calls `visit` with the state of each retained stream that has events from event `since` on.
    fn each_active_retained<T>(
        &self,
        since: u64,
        check: &impl Fn(State) -> Result<Checked<T>, RecordError>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut failed = Ok(());
        self.each_retained_since(since, |stream| {
            let seq = stream.last_seq;
            match check(State::Decoded(Box::new(stream))) {
                Ok(checked) => visit(checked.state),
                Err(source) => {
                    failed = Err(ReadError::Record { seq, source });
                    ControlFlow::Break(())
                }
            }
        })?;
        failed
    }

    fn each_state<T>(
        &self,
        question: &StatesQuestion,
        check: impl Fn(State) -> Result<Checked<T>, RecordError>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadError> {
        let head = self.ledger_head();
        let mut is_whole = true;
        let mut take = |state| {
            let went_on = visit(state);
            is_whole &= went_on.is_continue();
            went_on
        };
        match question {
            StatesQuestion::All(upto) => current_states::each_at(self, head.end().min(*upto), &check, take)?,
            StatesQuestion::Active { since, upto } => {
                let is_active = |checked: &Checked<T>| checked.is_alive || checked.last_seq >= *since;
                let upto = head.end().min(*upto);
                let mut goes_on = true;
                current_states::each_where(self, upto, &check, is_active, |state| {
                    let went_on = take(state);
                    goes_on = went_on.is_continue();
                    went_on
                })?;
                if goes_on && self.base()?.is_some_and(|base| base.seq() <= upto) {
                    self.each_active_retained(*since, &check, &mut take)?;
                }
            }
            StatesQuestion::Of(streams) => {
                let end = head.end();
                let asked: Vec<StreamAt> = streams.iter().map(|at| StreamAt { seq: at.seq.min(end), ..*at }).collect();
                self.each_stream_at(&asked, |stream| {
                    let seq = stream.last_seq;
                    let unreadable = |source| ReadError::Record { seq, source };
                    Ok(take(check(State::Decoded(Box::new(stream))).map_err(unreadable)?.state))
                })?;
            }
        }
        Ok(is_whole.then_some(head.size))
    }
}
