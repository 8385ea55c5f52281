//! [`ReadLedger`]: the questions that every way of reading a ledger answers.

use std::ops::ControlFlow;

use apm2_model::{
    event::{Event, stream_id::StreamId},
    id_query::UnclearId,
    state::stream::Stream,
};
use chrono::{DateTime, Utc};

use crate::read::{
    query::{Direction, EventQuery},
    reader::wall_ns,
};

/// A way to read a ledger: the store and the memory of the process that has it open, the journal in another process, or the
/// socket of a daemon. All give the same answers.
///
/// Every answer is about the ledger as it was after one event, its head, and names it. Events that are recorded during the
/// reading are not part of it. To have several questions answered at the same head, ask for the head first, and ask the
/// questions up to [`LedgerHead::end`].
pub trait ReadLedger {
    /// Why a question is not answered.
    type Error;

    /// The last event.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn head(&self) -> Result<LedgerHead, Self::Error>;

    /// The instances that `text` names: a process name, `name-instance`, a process id or a unique prefix of one.
    /// [`id_query`](apm2_model::id_query) specifies the rules.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn find(&self, text: &str) -> Result<Found, Self::Error>;

    /// Calls `visit` with the events that were asked for, until it returns `Break`. Returns the last event of the ledger;
    /// `None` after `Break`.
    ///
    /// # Errors
    /// When an event cannot be read. `visit` may have been called for some events before.
    fn events(
        &self,
        question: &EventsQuestion,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Self::Error>;

    /// Calls `visit` with the states that were asked for, until it returns `Break`. Returns the last event of the ledger;
    /// `None` after `Break`.
    ///
    /// # Errors
    /// When an event cannot be read, or is not allowed in the state of its stream. `visit` may have been called for some
    /// streams before.
    fn states(
        &self,
        question: &StatesQuestion,
        visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Self::Error>;

    /// The sequence number of the last event, up to event `last`, whose wall-clock time is not later than `time`; 0 if there
    /// is none.
    ///
    /// # Errors
    /// When events cannot be read.
    fn seq_at(&self, time: DateTime<Utc>, last: u64) -> Result<u64, Self::Error> {
        let query = EventQuery { wall_ns: Some((i64::MIN, wall_ns(time))), ..EventQuery::default() };
        let mut seq = 0;
        self.events(&EventsQuestion::last(query, (1, last), 1), &mut |event| {
            seq = event.seq;
            ControlFlow::Continue(())
        })?;
        Ok(seq)
    }
}

/// The last event of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerHead {
    /// The sequence number of the last event; in a damaged journal, of the last one before the damage.
    pub size: u64,
    /// Whether no damage follows the last event.
    pub is_whole: bool,
}

impl LedgerHead {
    /// The event up to which further questions are asked: the last one, or `u64::MAX` where damage follows it, so that the
    /// answers report the damage.
    #[must_use]
    pub const fn end(self) -> u64 {
        if self.is_whole { self.size } else { u64::MAX }
    }
}

/// The answer of [`ReadLedger::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The instances, or why the text names none.
    pub streams: Result<Vec<StreamId>, UnclearId>,
    /// The last event of the ledger.
    pub size: u64,
}

/// Which events are asked for.
#[derive(Debug, Clone)]
pub struct EventsQuestion {
    /// The filter.
    pub query: EventQuery,
    /// The sequence number of the first event of the range.
    pub first: u64,
    /// The sequence number of the last event of the range, which is included.
    pub last: u64,
    /// The direction in which the events of the range are read.
    pub direction: Direction,
    /// The greatest number of events, of those that are read first.
    pub max: u64,
}

impl EventsQuestion {
    /// All events from `seqs.0` to `seqs.1` that `query` accepts, in the order of the ledger.
    #[must_use]
    pub const fn all(query: EventQuery, seqs: (u64, u64)) -> Self {
        Self { query, first: seqs.0, last: seqs.1, direction: Direction::Forwards, max: u64::MAX }
    }

    /// The last `max` events from `seqs.0` to `seqs.1` that `query` accepts, the last one first.
    #[must_use]
    pub const fn last(query: EventQuery, seqs: (u64, u64), max: u64) -> Self {
        Self { query, first: seqs.0, last: seqs.1, direction: Direction::Backwards, max }
    }
}

/// A stream, and the event after which its state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAt {
    /// The stream.
    pub id: StreamId,
    /// The sequence number of the event, which need not be of the stream.
    pub seq: u64,
}

/// Which states are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatesQuestion {
    /// The states of all streams after this event, in the order of the stream ids. Those of retained streams, which can have no
    /// later event, are left out after the last event in an archive.
    All(u64),
    /// Of the states of all streams after event `upto`, in the order of the stream ids, those of the streams that have events from
    /// event `since` on, and of those whose process is alive. Then those of the retained streams that have events from event `since`
    /// on.
    Active {
        /// The first event that makes a stream active.
        since: u64,
        /// The event after which the states are.
        upto: u64,
    },
    /// The states of these streams, in this order. A stream without events by then has none.
    Of(Vec<StreamAt>),
}
