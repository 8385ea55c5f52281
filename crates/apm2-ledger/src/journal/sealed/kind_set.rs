//! A set of kinds of events, as a number of 64 bits in the table of blocks.

use apm2_model::event::kind::EventKind;

/// The kinds by their bits. A new kind is added at the end: the order of [`EventKind::NAMES`] is not that of any format.
const NAMES: [&str; EventKind::NAMES.len()] = [
    "registered",
    "spec_changed",
    "unregistered",
    "start_requested",
    "starting",
    "running",
    "unhealthy",
    "stopping",
    "stopped",
    "crashed",
    "terminated",
    "signal_sent",
    "signal_failed",
    "group_survived",
    "restart_scheduled",
    "restart_refused",
    "budget_reset",
    "health_changed",
    "adopted",
    "output_leaked",
    "sampled",
    "credential_rotated",
    "observed",
    "supervisor_started",
    "supervisor_stopped",
    "checkpointed",
    "store_rebuilt",
    "tail_cut",
    "output_tail",
    "output_dropped",
    "pre_stop_ended",
    "orphans_ended",
    "end_unobserved",
];

/// A set of kinds of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindSet(pub u64);

impl KindSet {
    /// Every kind, also those that this program does not know.
    pub const ALL: Self = Self(u64::MAX);

    /// The kinds with these names. A name of no kind adds nothing.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().map(bit).fold(Self::default(), Self::union)
    }

    /// The names of the kinds in the set that this program knows.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |name| self.meets(bit(name)))
    }

    /// The kinds that are in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a kind is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<&EventKind> for KindSet {
    fn from(kind: &EventKind) -> Self {
        bit(kind.name())
    }
}

fn bit(name: &str) -> KindSet {
    KindSet(NAMES.iter().position(|known| *known == name).map_or(0, |at| 1 << at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_bit() {
        assert!(NAMES.len() <= 64);
        let mut seen = 0;
        for name in EventKind::NAMES {
            let KindSet(bit) = bit(name);
            assert_eq!((bit.count_ones(), seen & bit), (1, 0), "{name}");
            seen |= bit;
        }
    }

    #[test]
    fn the_bits_are_those_of_the_format() {
        let expected = [("registered", 0), ("tail_cut", 27), ("pre_stop_ended", 30), ("end_unobserved", 32)];
        for (name, at) in expected {
            assert_eq!(KindSet::named([name]), KindSet(1 << at), "{name}");
        }
    }
}
