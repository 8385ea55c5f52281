//! From what a person types to the streams that are meant.

use std::collections::BTreeSet;

use apm2_core::process::{ProcessId, Stream, StreamId};

use crate::{
    error::{FindError, ReadError},
    reader::Reader,
    replay::Origin,
};

/// Fewer digits of an id would be names of somebody else too soon.
const PREFIX_DIGITS_MIN: usize = 4;
/// Streams that are looked at before a prefix counts as ambiguous.
const CANDIDATES_MAX: usize = 4096;

impl Reader {
    /// The instances that `text` means: a process id, a unique prefix of one (4 digits or more), a name, or
    /// `name-instance`. A name goes before a prefix, and the latest holder of a name before earlier ones.
    ///
    /// # Errors
    /// When nothing fits, several processes do, or the ledger cannot be read.
    pub fn find(&self, text: &str) -> Result<Vec<StreamId>, FindError> {
        let candidates = self.candidates(text)?;
        let by_name = |stream: &&Stream| stream.handle.spec.name == text;
        if let Some(latest) = candidates.iter().filter(by_name).max_by_key(|stream| stream.last_seq) {
            return Ok(instances(&candidates, latest.id.process_id));
        }
        if let Some(stream) = candidates.iter().find(|stream| stream.handle.display_name() == text) {
            return Ok(vec![stream.id]);
        }
        if is_prefix(text) { by_prefix(text, &candidates) } else { Err(FindError::NoSuchProcess(text.to_owned())) }
    }

    /// The streams that `text` could mean.
    fn candidates(&self, text: &str) -> Result<Vec<Stream>, ReadError> {
        let Some(store) = self.store() else {
            return Ok(self.replay(u64::MAX, Origin::Genesis)?.streams.into_values().collect());
        };
        // What the store does not have yet is in memory: few, looked at whole, and before the store is.
        let mut ids = BTreeSet::new();
        for event in self.unfed_events() {
            ids.insert(event?.stream);
        }
        for name in [Some(text), text.rsplit_once('-').map(|(base, _)| base)].into_iter().flatten() {
            for process in store.named(name)? {
                ids.extend(store.streams(process.as_bytes(), CANDIDATES_MAX)?);
            }
        }
        if is_prefix(text) {
            ids.extend(store.streams(&whole_bytes(text), CANDIDATES_MAX)?);
        }
        ids.remove(&StreamId::SYSTEM);
        ids.into_iter().filter_map(|id| self.stream(id).transpose()).collect()
    }
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.chars().filter(|c| *c != '-').filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok())
}

/// Whether `text` could be the beginning of a process id.
fn is_prefix(text: &str) -> bool {
    text.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) && digits(text).count() >= PREFIX_DIGITS_MIN
}

/// The whole bytes that the digits of `text` begin with.
fn whole_bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits(text).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).take(16).collect()
}

fn instances(candidates: &[Stream], process: ProcessId) -> Vec<StreamId> {
    candidates.iter().map(|stream| stream.id).filter(|id| id.process_id == process).collect()
}

fn by_prefix(text: &str, candidates: &[Stream]) -> Result<Vec<StreamId>, FindError> {
    let typed = text.to_ascii_lowercase().replace('-', "");
    let fits = |stream: &&Stream| stream.id.process_id.to_string().replace('-', "").starts_with(&typed);
    let fitting: Vec<&Stream> = candidates.iter().filter(fits).collect();
    let processes: BTreeSet<ProcessId> = fitting.iter().map(|stream| stream.id.process_id).collect();
    match processes.len() {
        0 => Err(FindError::NoSuchProcess(text.to_owned())),
        1 => Ok(fitting.iter().map(|stream| stream.id).collect()),
        _ => {
            let names = fitting.iter().map(|stream| format!("{} ({})", stream.id.process_id, stream.handle.spec.name));
            let candidates = names.collect::<BTreeSet<_>>().into_iter().collect();
            Err(FindError::Ambiguous { text: text.to_owned(), candidates })
        }
    }
}
