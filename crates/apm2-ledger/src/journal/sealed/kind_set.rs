//! A set of kinds of events, as a number of 64 bits in the table of blocks.

use apm2_model::event::kind::EventKind;

/// Defines the bit of each kind: the first has bit 0.
macro_rules! bits {
    ($($kind:ident => $name:literal,)+) => {
        const NAMES: [&str; EventKind::NAMES.len()] = [$($name),+];

        enum Bit { $($kind),+ }

        impl From<&EventKind> for KindSet {
            fn from(kind: &EventKind) -> Self {
                Self(1 << match kind { $(EventKind::$kind { .. } => Bit::$kind as u8),+ })
            }
        }
    };
}

// A new kind is added at the end: the order of [`EventKind::NAMES`] is not that of any format.
bits! {
    Registered => "registered",
    SpecChanged => "spec_changed",
    Unregistered => "unregistered",
    StartRequested => "start_requested",
    Starting => "starting",
    Running => "running",
    Unhealthy => "unhealthy",
    Stopping => "stopping",
    Stopped => "stopped",
    Crashed => "crashed",
    Terminated => "terminated",
    SignalSent => "signal_sent",
    SignalFailed => "signal_failed",
    GroupSurvived => "group_survived",
    RestartScheduled => "restart_scheduled",
    RestartRefused => "restart_refused",
    BudgetReset => "budget_reset",
    HealthChanged => "health_changed",
    Adopted => "adopted",
    OutputLeaked => "output_leaked",
    Sampled => "sampled",
    CredentialRotated => "credential_rotated",
    Observed => "observed",
    SupervisorStarted => "supervisor_started",
    SupervisorStopped => "supervisor_stopped",
    Checkpointed => "checkpointed",
    StoreRebuilt => "store_rebuilt",
    TailCut => "tail_cut",
    OutputTail => "output_tail",
    OutputDropped => "output_dropped",
    PreStopEnded => "pre_stop_ended",
    OrphansEnded => "orphans_ended",
    EndUnobserved => "end_unobserved",
    Agent => "agent",
}

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
    fn a_kind_has_the_bit_of_its_name() {
        for kind in [EventKind::Running, EventKind::Unregistered, EventKind::BudgetReset, EventKind::SupervisorStopped]
        {
            assert_eq!(KindSet::from(&kind), bit(kind.name()), "{}", kind.name());
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
