//! The ways in which a command reads the ledger: through the daemon, or from the journal.

use std::ops::ControlFlow;

use apm2_daemon::{client::ClientError, reader::DaemonReader};
use apm2_ledger::{
    EventsQuestion, FindError, Found, LedgerHead, ReadError, ReadLedger, Reader, StatesQuestion, StreamAt,
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
        if question.direction == apm2_ledger::Direction::Backwards {
            found.reverse();
        }
        Ok(found)
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
