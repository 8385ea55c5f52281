//! The types of events, by the names that programs see.

/// In the order in which they are documented: what happens to a process, then to the ledger.
pub(crate) const KINDS: [&str; 33] = [
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
    "output_tail",
    "output_dropped",
    "pre_stop_ended",
    "orphans_ended",
    "end_unobserved",
    "supervisor_started",
    "supervisor_stopped",
    "checkpointed",
    "store_rebuilt",
    "tail_cut",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_type_that_was_ever_recorded_is_known() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/golden");
        let read = |name| fs::read_to_string(golden.join(name)).unwrap();
        let records = read("v1-events.txt") + &read("records-v2.txt") + &read("records-v3.txt");
        let recorded: BTreeSet<&str> = records.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(recorded, BTreeSet::from(KINDS));
    }
}
