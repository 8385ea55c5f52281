//! The journal of version 2: plain and sealed segments, with one hash chain over all events.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    bytes::{genesis, leaf, link},
    plain::read_plain,
    sealed::{Slot, read_sealed},
};

/// The contents of a journal. The event at index `n` of the list has the sequence number `n + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// ID of the ledger.
    pub ledger: [u8; 16],
    /// The events in order.
    pub events: Vec<Slot>,
    /// Hash chain value after each event, before the first event at index 0.
    pub chains: Vec<[u8; 32]>,
    /// Numbers of the sealed segments.
    pub sealed: Vec<u64>,
}

impl Journal {
    /// Hash chain value after the last event.
    #[must_use]
    pub fn chain(&self) -> [u8; 32] {
        self.chains.last().copied().unwrap_or_default()
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.events.len() as u64 + 1
    }

    pub(super) fn push(&mut self, slot: Slot) {
        let leaf = match &slot {
            Slot::Event(bytes) => leaf(self.next_seq(), bytes),
            Slot::Erased(leaf) => *leaf,
        };
        self.chains.push(link(self.chain(), leaf));
        self.events.push(slot);
    }

    /// Takes over the header of the next segment, or refuses it.
    pub(super) fn begin<'a>(
        journal: &'a mut Option<Self>,
        number: u64,
        header: &Header,
    ) -> Result<&'a mut Self, Broken> {
        let journal = journal.get_or_insert_with(|| Self {
            ledger: header.ledger,
            events: Vec::new(),
            chains: vec![genesis(header.ledger)],
            sealed: Vec::new(),
        });
        let follows = journal.ledger == header.ledger && journal.chain() == header.chain_before;
        if !follows || header.number != number || header.first_seq != journal.next_seq() {
            return Err(Broken(0, "it does not follow on the segment before it".to_owned()));
        }
        Ok(journal)
    }
}

/// What the headers of plain and of sealed segments have in common.
pub(super) struct Header {
    pub(super) ledger: [u8; 16],
    pub(super) number: u64,
    pub(super) first_seq: u64,
    pub(super) chain_before: [u8; 32],
}

/// Byte offset and description of an error in a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {0}: {1}")]
pub struct Broken(pub usize, pub String);

/// Error from reading a journal.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The journal contains bytes that version 2 does not write.
    #[error("{}", path.display())]
    Broken {
        /// The segment file.
        path: PathBuf,
        /// The place and the description.
        source: Broken,
    },
}

/// Reads the journal in the directory `dir`. Checks every checksum, every sequence number and the hash chain. Of a segment
/// with both files, the sealed one is read.
///
/// A torn last commit is also an error, because opening a ledger removes it.
///
/// # Errors
/// When a file cannot be read, or contains bytes that version 2 does not write.
pub fn read_journal(dir: &Path) -> Result<Journal, ReadError> {
    let io_error = |source| ReadError::Io { path: dir.to_owned(), source };
    let mut files: BTreeMap<PathBuf, bool> = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        let extension = path.extension().unwrap_or_default().to_owned();
        if extension == "seg" || extension == "sealed" {
            *files.entry(path.with_extension("")).or_default() |= extension == "sealed";
        }
    }
    let mut journal = None;
    for ((stem, is_sealed), number) in files.iter().zip(1..) {
        let path = stem.with_extension(if *is_sealed { "sealed" } else { "seg" });
        let bytes = fs::read(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let read = if *is_sealed {
            add_sealed(&bytes, number, &mut journal)
        } else {
            read_plain(&bytes, number, &mut journal)
        };
        read.map_err(|source| ReadError::Broken { path, source })?;
    }
    let nothing = || ReadError::Broken { path: dir.to_owned(), source: Broken(0, "no segments".to_owned()) };
    journal.ok_or_else(nothing)
}

fn add_sealed(bytes: &[u8], number: u64, journal: &mut Option<Journal>) -> Result<(), Broken> {
    let sealed = read_sealed(bytes)?;
    let journal = Journal::begin(journal, number, &sealed.header())?;
    journal.sealed.push(number);
    sealed.events.into_iter().for_each(|slot| journal.push(slot));
    if journal.chain() == sealed.chain_after {
        Ok(())
    } else {
        Err(Broken(bytes.len(), "the events are not those that the chain was made of".to_owned()))
    }
}
