//! The command line from the outside: the binary, real processes, real ledgers.
//!
//! One file for each scenario, helpers in `support`. Every process that a test starts has ended when the test ends.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, in its helpers too"
)]

mod support;

mod agent_accounts;
mod agent_budgets;
mod agent_use;
mod agents;
mod backup;
mod bit_flip;
mod browser;
mod change_refused;
mod closed_output;
mod copied_ledger;
mod daemon_clients;
mod daemon_inheritance;
mod daemon_kills;
mod daemon_log;
mod daemon_socket;
mod daemon_start;
mod daemon_troubles;
mod descriptor_limit;
mod diff;
mod doctor;
mod durable_files;
mod ecosystem;
mod env_hidden;
mod exits;
mod export;
mod failing_three_times;
mod filters;
mod fixture;
mod follow;
mod follow_output;
mod full_disk;
mod grandchild;
mod help;
mod hidden_proc;
mod hostile_text;
mod idle;
mod irregular_files;
mod joined_requests;
mod known_values;
mod left_open;
mod live_reader;
mod messages;
mod migrate;
mod missing_ledger;
mod moments;
mod moved_ledger;
mod names;
mod no_thread;
mod not_dumpable;
mod orphans;
mod output;
mod ownership;
mod pid_namespace;
mod poisoned;
mod process_limit;
mod reboot;
mod rebuild;
mod report;
mod retain;
mod retention;
mod salvage;
mod same_name;
mod secrets;
mod settings;
mod signals;
mod silent_daemon;
mod slow_disk;
mod standard_input;
mod stats;
mod stops;
mod supervised;
mod terminal;
mod timeline;
mod top;
mod typed_text;
mod unobserved_end;
mod unsupervised;
mod up;
mod upgrade;
mod usage;
mod usage_of_runs;
mod views;
mod waiting;
mod ways_to_read;
mod web;
mod why;

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_file_of_tests_is_compiled() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let source = fs::read_to_string(dir.join("main.rs")).unwrap();
    let declared: BTreeSet<_> =
        source.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let present: BTreeSet<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs") || path.join("mod.rs").exists())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "main")
        .collect();
    assert_eq!(declared, present);
}
