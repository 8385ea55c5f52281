//! The ways in which a command reads the ledger: through the daemon, or from the journal.

use std::ops::ControlFlow;

use apm2_daemon::{client::ClientError, reader::DaemonReader};
use apm2_ledger::{
    Direction, EventQuery, EventsQuestion, FindError, Found, LedgerHead, MissingArchive, ReadError, ReadLedger, Reader,
    StatesQuestion, StreamAt,
};
use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};
use chrono::{DateTime, Utc};

use crate::error::CliError;

/// What a command reads. Both give the same answers.
pub(crate) enum LedgerSource {
    Daemon(DaemonReader),
    Journal(Reader),
}

/// Why a command has no answer.
pub(crate) enum ReadFailure {
    /// The daemon did not answer. The journal can be read instead.
    Daemon(ClientError),
    /// The command fails, whatever it reads.
    Command(CliError),
}

impl From<ClientError> for ReadFailure {
    fn from(error: ClientError) -> Self {
        Self::Daemon(error)
    }
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        Self::Command(error.into())
    }
}

impl From<CliError> for ReadFailure {
    fn from(error: CliError) -> Self {
        Self::Command(error)
    }
}

impl From<ReadFailure> for CliError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Daemon(error) => error.into(),
            ReadFailure::Command(error) => error,
        }
    }
}

impl ReadLedger for LedgerSource {
    type Error = ReadFailure;

    fn head(&self) -> Result<LedgerHead, ReadFailure> {
        Ok(match self {
            Self::Daemon(daemon) => daemon.head()?,
            Self::Journal(reader) => ReadLedger::head(reader)?,
        })
    }

    fn find(&self, text: &str) -> Result<Found, ReadFailure> {
        Ok(match self {
            Self::Daemon(daemon) => daemon.find(text)?,
            Self::Journal(reader) => ReadLedger::find(reader, text)?,
        })
    }

    fn events(
        &self,
        question: &EventsQuestion,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadFailure> {
        Ok(match self {
            Self::Daemon(daemon) => daemon.events(question, visit)?,
            Self::Journal(reader) => ReadLedger::events(reader, question, visit)?,
        })
    }

    fn states(
        &self,
        question: &StatesQuestion,
        visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadFailure> {
        Ok(match self {
            Self::Daemon(daemon) => daemon.states(question, visit)?,
            Self::Journal(reader) => reader.states(question, visit)?,
        })
    }
}

/// A part of the range of a question.
enum SeqRange {
    Present(u64, u64),
    /// The events of an archive that does not exist.
    Missing(MissingArchive),
}

impl SeqRange {
    const fn seqs(&self) -> (u64, u64) {
        match self {
            Self::Present(first, last) => (*first, *last),
            Self::Missing(archive) => (archive.first_seq, archive.last_seq),
        }
    }
}

/// The range of the question, divided at the archives that do not exist, in the direction of the question.
fn ranges(question: &EventsQuestion, missing: Vec<MissingArchive>) -> Vec<SeqRange> {
    let (mut next, last) = (question.first.max(1), question.last);
    let mut found = Vec::new();
    for archive in missing {
        let (first_missing, last_missing) = (archive.first_seq.max(next), archive.last_seq.min(last));
        if first_missing > last_missing {
            continue;
        }
        if next < first_missing {
            found.push(SeqRange::Present(next, first_missing - 1));
        }
        next = last_missing.saturating_add(1);
        found.push(SeqRange::Missing(MissingArchive { first_seq: first_missing, last_seq: last_missing, ..archive }));
    }
    if next <= last {
        found.push(SeqRange::Present(next, last));
    }
    if question.direction == Direction::Backwards {
        found.reverse();
    }
    found
}

impl LedgerSource {
    /// The instances that `text` names.
    ///
    /// # Errors
    /// The text names no process, or several.
    pub(crate) fn named(&self, text: &str) -> Result<Vec<StreamId>, ReadFailure> {
        self.find(text)?.streams.map_err(|unclear| CliError::from(FindError::from(unclear)).into())
    }

    /// The instances that these texts name, each once.
    ///
    /// # Errors
    /// A text names no process, or several.
    pub(crate) fn all_named(&self, texts: &[String]) -> Result<Vec<StreamId>, ReadFailure> {
        let mut ids = texts.iter().map(|id| self.named(id)).collect::<Result<Vec<_>, _>>()?.concat();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The events that answer `question`, in the order of the ledger.
    pub(crate) fn events_in_order(&self, question: &EventsQuestion) -> Result<Vec<Event>, ReadFailure> {
        let mut found = Vec::new();
        self.events(question, &mut |event| {
            found.push(event);
            ControlFlow::Continue(())
        })?;
        if question.direction == Direction::Backwards {
            found.reverse();
        }
        Ok(found)
    }

    /// Like [`events_in_order`](Self::events_in_order), without the events of archives that do not exist, see
    /// [`present_events`](Self::present_events).
    pub(crate) fn present_in_order(
        &self,
        question: &EventsQuestion,
    ) -> Result<(Vec<Event>, Vec<MissingArchive>), ReadFailure> {
        let mut found = Vec::new();
        let missing = self.present_events(question, &mut |event| {
            found.push(event);
            ControlFlow::Continue(())
        })?;
        if question.direction == Direction::Backwards {
            found.reverse();
        }
        Ok((found, missing))
    }

    /// Like [`ReadLedger::events`], but leaves out the events of archives that do not exist. Returns those of these archives that
    /// may have had events for the answer.
    pub(crate) fn present_events(
        &self,
        question: &EventsQuestion,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Vec<MissingArchive>, ReadFailure> {
        let Self::Journal(reader) = self else {
            // The daemon refuses a question for whose answer an archive is missing. It is then asked here again.
            return self.events(question, visit).map(|_| Vec::new());
        };
        let mut needed = Vec::new();
        let mut left = question.max;
        for range in ranges(question, reader.missing_archives()?) {
            if left == 0 {
                break;
            }
            let (first, last) = range.seqs();
            let part = EventsQuestion { first, last, max: left, ..question.clone() };
            let mut is_broken = false;
            let read = ReadLedger::events(reader, &part, &mut |event| {
                left -= 1;
                let went_on = visit(event);
                is_broken |= went_on.is_break();
                went_on
            });
            match (read, range) {
                (Err(ReadError::ArchiveMissing { .. }), SeqRange::Missing(archive)) => needed.push(archive),
                (read, _) => drop(read?),
            }
            if is_broken {
                break;
            }
        }
        Ok(needed)
    }

    /// The first event of these streams, or of all, up to event `last`.
    pub(crate) fn first_event(&self, streams: &[StreamId], last: u64) -> Result<Option<Event>, ReadFailure> {
        let query = EventQuery { streams: streams.to_vec(), ..EventQuery::default() };
        let question = EventsQuestion { max: 1, ..EventsQuestion::all(query, (1, last)) };
        Ok(self.events_in_order(&question)?.pop())
    }

    /// The states that answer `question`.
    pub(crate) fn states_of(&self, question: &StatesQuestion) -> Result<Vec<Stream>, ReadFailure> {
        let mut found = Vec::new();
        self.states(question, &mut |state| {
            found.push(state);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// The state of stream `id` after event `seq`; `None` if it has no events by then.
    pub(crate) fn state_at(&self, id: StreamId, seq: u64) -> Result<Option<Stream>, ReadFailure> {
        Ok(self.states_of(&StatesQuestion::Of(vec![StreamAt { id, seq }]))?.pop())
    }

    /// The time of the last event, or of the last one before the first damaged event. `None` when the daemon answers, which
    /// records what happens now.
    pub(crate) fn recorded_until(&self) -> Result<Option<DateTime<Utc>>, ReadFailure> {
        match self {
            Self::Daemon(_) => Ok(None),
            Self::Journal(reader) => last_time(reader),
        }
    }
}

/// The time of the last event, or of the last one before the first damaged event.
pub(crate) fn last_time(reader: &Reader) -> Result<Option<DateTime<Utc>>, ReadFailure> {
    let Some(head) = reader.head() else { return Ok(None) };
    Ok(reader.events(head.size, head.size).next().transpose()?.map(|event| event.stamp.wall()))
}
