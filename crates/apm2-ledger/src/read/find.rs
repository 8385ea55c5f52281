//! [`Reader::find`]: finds the process instances that a user names on the command line.

use std::collections::BTreeSet;

use apm2_model::{
    event::stream_id::StreamId,
    id_query::{Candidate, prefix_digits, resolve, split_instance},
    state::stream::Stream,
};

use crate::{
    error::{FindError, ReadError},
    read::reader::Reader,
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
        let streams = self.candidates(text)?;
        let candidates: Vec<Candidate<'_>> = streams.iter().map(Candidate::from).collect();
        let meant = resolve(text, &candidates)?;
        Ok(candidates.iter().map(|candidate| candidate.id).filter(|id| meant.includes(*id)).collect())
    }

    /// The states of all streams that `text` may name, to be resolved by the rules of
    /// [`id_query`](apm2_model::id_query).
    fn candidates(&self, text: &str) -> Result<Vec<Stream>, ReadError> {
        let names: Vec<&str> = [Some(text), split_instance(text).map(|(name, _)| name)].into_iter().flatten().collect();
        let id_prefix = prefix_digits(text).map(|digits| whole_bytes(&digits));
        let Some(store) = self.store() else {
            let ids = self.streams_in_journal(&names, id_prefix.as_deref(), CANDIDATES_MAX)?;
            return ids.into_iter().filter_map(|id| self.stream(id).transpose()).collect();
        };
        // The events in memory, which may be missing from the store, are few, so all their streams are candidates. The
        // memory is read before the store, so that an event that is added to the store meanwhile is not missed.
        let mut ids = BTreeSet::new();
        for event in self.unindexed_events() {
            ids.insert(event?.stream);
        }
        for name in names {
            for process in store.named(name)? {
                ids.extend(store.streams(process.as_bytes(), CANDIDATES_MAX)?);
            }
        }
        if let Some(prefix) = id_prefix {
            ids.extend(store.streams(&prefix, CANDIDATES_MAX)?);
        }
        ids.remove(&StreamId::SYSTEM);
        ids.into_iter().filter_map(|id| self.stream(id).transpose()).collect()
    }
}

/// Converts hexadecimal digits to bytes. Leaves out a last single digit, and digits after 16 bytes.
fn whole_bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).take(16).collect()
}
