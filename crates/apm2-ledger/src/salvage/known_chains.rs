//! Hash chain values that the files of the journal state.

use std::collections::HashMap;

use crate::chain::Chain;

/// Hash chain values by the number of the event after which they are.
///
/// A hash chain value depends on all events before it. Where the events of another source have a value that the journal
/// states, these events and all before them in that source are those of the journal.
#[derive(Debug, Default)]
pub(crate) struct KnownChains(HashMap<u64, Vec<Chain>>);

impl KnownChains {
    /// Adds the value after event `seq`.
    pub(crate) fn add(&mut self, seq: u64, chain: Chain) {
        let values = self.0.entry(seq).or_default();
        if !values.contains(&chain) {
            values.push(chain);
        }
    }

    /// Whether the journal states this value after event `seq`.
    pub(crate) fn contains(&self, seq: u64, chain: &Chain) -> bool {
        self.0.get(&seq).is_some_and(|values| values.contains(chain))
    }

    /// The last event after which a value is known; 0 if there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.0.keys().copied().max().unwrap_or(0)
    }
}
