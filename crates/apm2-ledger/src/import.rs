//! Writes a ledger from the records of another one: the same events, the same ledger id and so the same hash chain.

use std::{path::Path, sync::Arc};

use apm2_model::{event::Event, state::stream::IllegalEvent};
use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{self, LedgerDir},
    error::OpenError,
    frame::{Frame, FrameBuilder, FrameError},
    head::Head,
    journal::{JOURNAL_DIR, writer::JournalWriter},
    limits::COMMIT_BYTES_MAX,
    new_ledger::{self, NewLedgerError},
    options::Options,
    read::replay::StreamStates,
    record::{RecordError, decode_event},
    staged_dir::{StagedDir, StagedDirError},
};

/// Why records cannot be imported. Nothing exists at the destination then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory cannot be created.
    #[error(transparent)]
    Directory(#[from] StagedDirError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event is missing, or comes twice.
    #[error("event {found} follows where event {expected} is expected")]
    Order {
        /// The event that should come next.
        expected: u64,
        /// The event that was given.
        found: u64,
    },
    /// The bytes are no record of an event.
    #[error("event {seq} cannot be decoded")]
    Record {
        /// The event.
        seq: u64,
        /// What is wrong with the bytes.
        source: RecordError,
    },
    /// The event is not allowed in the state of its stream.
    #[error("event {seq} is not allowed after the events before it")]
    Illegal {
        /// The event.
        seq: u64,
        /// Why it is not allowed.
        source: IllegalEvent,
    },
    /// The events are not those whose number and hash are stated.
    #[error("the events have the hash {} after event {}, and the stated hash is {} after event {}", found.chain, found.size, expected.chain, expected.size)]
    Chain {
        /// What is stated.
        expected: Head,
        /// What the events have.
        found: Head,
    },
    /// A new commit cannot be parsed.
    #[error("a new commit cannot be parsed")]
    Commit(#[from] FrameError),
    /// The store cannot be built.
    #[error("the store cannot be built: {0}")]
    Store(String),
}

impl From<NewLedgerError> for ImportError {
    fn from(error: NewLedgerError) -> Self {
        match error {
            NewLedgerError::Store(why) => Self::Store(why),
            NewLedgerError::Journal(error) => Self::Open(error),
        }
    }
}

/// A new ledger that is filled with the records of another one. It appears at its destination when it is complete;
/// otherwise nothing is left there.
pub struct Importer {
    dir: Arc<LedgerDir>,
    journal: JournalWriter,
    commit: FrameBuilder,
    states: StreamStates,
    /// The last field, so that it is dropped after the journal, which creates its next segment in another thread.
    staged: StagedDir,
}

impl Importer {
    /// Begins a ledger with the id `ledger`. `destination` must not exist, or be an empty directory.
    ///
    /// # Errors
    /// When the directory cannot be created or written, or another process imports to the same destination.
    pub fn create(destination: &Path, ledger: Uuid, options: &Options) -> Result<Self, ImportError> {
        let staged = StagedDir::create(destination)?;
        let dir = Arc::clone(staged.lock().dir());
        let journal_dir = dir.at().join(JOURNAL_DIR);
        dir::make_private(&journal_dir).map_err(OpenError::io(&journal_dir))?;
        let journal = JournalWriter::create(&dir, ledger, options.segment_bytes, options.backend.clone());
        let journal = journal.map_err(OpenError::io(&journal_dir))?;
        let commit = FrameBuilder::new(1, Chain::genesis(ledger));
        Ok(Self { dir, journal, commit, states: StreamStates::default(), staged })
    }

    /// Adds the next event, by its record.
    ///
    /// # Errors
    /// When the record is not that of an event that can come next, or the journal cannot be written.
    pub fn push(&mut self, seq: u64, record: &[u8]) -> Result<(), ImportError> {
        let expected = self.commit.next_seq();
        if seq != expected {
            return Err(ImportError::Order { expected, found: seq });
        }
        let event = decode_event(seq, record).map_err(|source| ImportError::Record { seq, source })?;
        self.apply(&event).map_err(|source| ImportError::Illegal { seq, source })?;
        self.commit.push(record);
        if self.commit.body_len() >= COMMIT_BYTES_MAX && self.is_end_of_append(&event) {
            self.write_commit()
        } else {
            Ok(())
        }
    }

    /// Whether a commit may end after the event: the invariants of its stream hold. Between the events of one append they may
    /// not hold, and an append has at most [`APPEND_BYTES_MAX`](crate::limits::APPEND_BYTES_MAX) bytes.
    fn is_end_of_append(&self, event: &Event) -> bool {
        self.states.get(event.stream).is_none_or(|stream| stream.broken_invariant().is_none())
    }

    /// The directory that is being built.
    pub(crate) fn dir(&self) -> &LedgerDir {
        &self.dir
    }

    /// The number and the hash of the events so far.
    pub(crate) fn head(&mut self) -> Result<Head, ImportError> {
        self.write_commit()?;
        Ok(Head { size: self.journal.next_seq() - 1, chain: self.journal.chain() })
    }

    fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        // The states check the versions of process streams only.
        if event.stream.is_system() && event.version != self.states.system_version() + 1 {
            return Err(IllegalEvent::Stream);
        }
        self.states.apply(event)
    }

    fn write_commit(&mut self) -> Result<(), ImportError> {
        let (next_seq, chain) = (self.commit.next_seq(), self.commit.chain());
        if self.commit.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.commit, FrameBuilder::new(next_seq, chain)).finish();
        Frame::parse(&bytes)?;
        let appended = self.journal.append(&bytes, next_seq - 1, chain);
        Ok(appended.map_err(OpenError::io(self.dir.named()))?)
    }

    /// Checks that the ledger has the events whose number and hash are `expected`.
    ///
    /// # Errors
    /// When it has other events, or cannot be written.
    pub fn check(&mut self, expected: Head) -> Result<(), ImportError> {
        let found = self.head()?;
        if found == expected { Ok(()) } else { Err(ImportError::Chain { expected, found }) }
    }

    /// Completes the ledger, if it has the events whose number and hash are `expected`. All is durable when this returns.
    ///
    /// # Errors
    /// When the ledger has other events, or cannot be written.
    pub fn finish(mut self, expected: Head) -> Result<(), ImportError> {
        self.check(expected)?;
        self.complete()
    }

    /// Completes the ledger with the events that it has.
    pub(crate) fn complete(mut self) -> Result<(), ImportError> {
        self.write_commit()?;
        new_ledger::complete(self.staged.lock(), self.journal)?;
        Ok(self.staged.complete()?)
    }
}
