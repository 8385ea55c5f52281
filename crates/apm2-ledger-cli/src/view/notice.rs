//! JSON view of a notice about the whole result, such as missing events.

use serde::Serialize;

/// A range of sequence numbers, both ends included.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Seqs {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// A notice about the whole result. An intact ledger has no notice.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Notice {
    kind: &'static str,
    seqs: Seqs,
    message: String,
}

impl Notice {
    /// The range of events that are missing from the ledger.
    pub(crate) const fn events_missing(seqs: Seqs, message: String) -> Self {
        Self { kind: "events_missing", seqs, message }
    }

    /// The notice in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// One element of a JSON array, or one JSON line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Item<'a, T> {
    /// A notice about the whole result. It is always the first element.
    Notice { notice: &'a Notice },
    /// An element of the result, for example a process or an event.
    Listed(T),
}

/// The notice, if there is one, followed by the elements.
pub(crate) fn items<'a, T>(
    notice: Option<&'a Notice>,
    listed: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = Item<'a, T>> {
    notice.map(|notice| Item::Notice { notice }).into_iter().chain(listed.into_iter().map(Item::Listed))
}
