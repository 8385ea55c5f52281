//! [`Reader::find`]: finds the process instances that a user names on the command line.

use std::{collections::BTreeSet, ops::ControlFlow};

use apm2_model::{
    event::{kind::EventKind, stream_id::StreamId},
    id_query::{Candidate, UnclearId, prefix_digits, resolve, split_instance},
    state::stream::Stream,
};

use crate::{
    error::{FindError, ReadError},
    journal::segments::base_error,
    read::{read_ledger::StreamAt, reader::Reader},
};

/// Limit of streams that are read from the store for one name or prefix. A prefix with more streams is ambiguous in any
/// case.
const CANDIDATES_MAX: usize = 4096;

impl Reader {
    /// Finds the process instances that `text` names: `text` is a process name, `name-instance`, a process id or a
    /// unique prefix of a process id. [`id_query`](apm2_model::id_query) specifies the rules.
    ///
    /// # Errors
    /// When no process matches, several processes match, or the ledger cannot be read.
    pub fn find(&self, text: &str) -> Result<Vec<StreamId>, FindError> {
        match meant_of(text, &self.candidates(text)?) {
            // A retained process is found where no other one is meant.
            Err(unclear @ UnclearId::Unknown(_)) => match self.base()? {
                Some(base) => {
                    let (names, prefix) = names_and_prefix(text);
                    let archived = self.archived_candidates(&base, &names, prefix.as_deref(), CANDIDATES_MAX)?;
                    Ok(meant_of(text, &archived)?)
                }
                None => Err(unclear.into()),
            },
            found => Ok(found?),
        }
    }

    /// The states of all streams that `text` may name, to be resolved by the rules of
    /// [`id_query`](apm2_model::id_query).
    fn candidates(&self, text: &str) -> Result<Vec<Stream>, ReadError> {
        let (names, id_prefix) = names_and_prefix(text);
        let in_base = self.streams_in_base(&names, id_prefix.as_deref())?;
        let Some(store) = self.store() else {
            let mut ids = self.streams_in_journal(&names, id_prefix.as_deref(), CANDIDATES_MAX)?;
            ids.extend(in_base);
            return self.streams_at_head(ids);
        };
        // The events in memory, which may be missing from the store, are few, so all their streams are candidates. The
        // memory is read before the store, so that an event that is added to the store meanwhile is not missed.
        let mut ids: BTreeSet<StreamId> = in_base.into_iter().collect();
        let mut processes = BTreeSet::new();
        for event in self.unindexed_events() {
            let event = event?;
            ids.insert(event.stream);
            // The other instances of a process that got the name may have no event in memory.
            if let EventKind::Registered { spec } | EventKind::SpecChanged { spec } = &event.kind
                && names.contains(&spec.name.as_str())
            {
                processes.insert(event.stream.process_id);
            }
        }
        for name in names {
            processes.extend(store.named(name)?);
        }
        for process in processes {
            ids.extend(store.streams(process.as_bytes(), CANDIDATES_MAX)?);
        }
        if let Some(prefix) = id_prefix {
            ids.extend(store.streams(&prefix, CANDIDATES_MAX)?);
        }
        ids.remove(&StreamId::SYSTEM);
        ids.into_iter().filter_map(|id| self.stream(id).transpose()).collect()
    }

    /// The states of these streams at the head. What was written after this reader was opened can have later events of them.
    pub(crate) fn streams_at_head(&self, ids: impl IntoIterator<Item = StreamId>) -> Result<Vec<Stream>, ReadError> {
        let end = self.ledger_head().end();
        let asked: Vec<StreamAt> = ids.into_iter().map(|id| StreamAt { id, seq: end }).collect();
        let mut found = Vec::new();
        self.each_stream_at(&asked, |stream| {
            found.push(stream);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The streams in the base of the journal that may be meant.
    fn streams_in_base(&self, names: &[&str], id_prefix: Option<&[u8]>) -> Result<Vec<StreamId>, ReadError> {
        let Some(base) = self.base()? else { return Ok(Vec::new()) };
        let find = || {
            let mut found = Vec::new();
            for name in names {
                for process in base.named(name)? {
                    found.extend(base.streams(process.as_bytes(), CANDIDATES_MAX)?);
                }
            }
            if let Some(prefix) = id_prefix {
                found.extend(base.streams(prefix, CANDIDATES_MAX)?);
            }
            Ok(found)
        };
        find().map_err(|error| base_error(self.dir(), error))
    }
}

/// The names, and the beginning of a process id, that `text` may be.
fn names_and_prefix(text: &str) -> (Vec<&str>, Option<Vec<u8>>) {
    let names = [Some(text), split_instance(text).map(|(name, _)| name)].into_iter().flatten().collect();
    (names, prefix_digits(text).map(|digits| whole_bytes(&digits)))
}

/// The instances of `streams` that are meant by `text`.
fn meant_of(text: &str, streams: &[Stream]) -> Result<Vec<StreamId>, UnclearId> {
    let candidates: Vec<Candidate<'_>> = streams.iter().map(Candidate::from).collect();
    let meant = resolve(text, &candidates)?;
    Ok(candidates.iter().map(|candidate| candidate.id).filter(|id| meant.includes(*id)).collect())
}

/// Converts hexadecimal digits to bytes. Leaves out a last single digit, and digits after 16 bytes.
fn whole_bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).take(16).collect()
}
