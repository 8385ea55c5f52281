//! What is true of everything that was read, as programs see it.

use serde::Serialize;

/// Events from one to another, both included.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Seqs {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Something that a reader has to know of a whole result. There is none about a sound ledger.
#[derive(Debug, Serialize)]
pub(crate) struct Notice {
    kind: &'static str,
    seqs: Seqs,
    message: String,
}

impl Notice {
    /// That the record lacks these events.
    pub(crate) const fn events_missing(seqs: Seqs, message: String) -> Self {
        Self { kind: "events_missing", seqs, message }
    }
}

/// One object of a list or of JSON lines.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Item<'a, T> {
    /// About all the others; the first one.
    Notice { notice: &'a Notice },
    /// What is listed.
    Listed(T),
}

/// The notice, if there is one, and what is listed.
pub(crate) fn items<'a, T>(
    notice: Option<&'a Notice>,
    listed: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = Item<'a, T>> {
    notice.map(|notice| Item::Notice { notice }).into_iter().chain(listed.into_iter().map(Item::Listed))
}
