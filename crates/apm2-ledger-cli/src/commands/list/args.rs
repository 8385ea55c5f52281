//! The options of `list`, and which instances they choose.

use std::time::Duration;

use apm2_model::{
    event::end_filter::EndFilter,
    state::{ProcessState, stream::Stream},
};

use crate::{
    commands::show::parse_count,
    status::{InstanceStatus, KernelState},
    time::At,
};

/// Names of the states in the JSON contract.
const STATES: [&str; 9] =
    ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated", "gone", "unknown"];

/// List supervised processes with their states, now or at an earlier time
///
/// The daemon reports the states. When no daemon answers, processes that are recorded as alive are looked up in the kernel:
/// `running (not supervised)`, `gone (not recorded)`, or `unknown (another host or boot)`. With --at, states are shown as
/// recorded, as the last known ones if no daemon is known to have run then, and each `run` counts as supervised.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger list
  apm2-ledger list --all                       also removed processes and ended `run` commands
  apm2-ledger list --retained                  those that `retain` moved into an archive
  apm2-ledger list --state crashed --state gone
  apm2-ledger list --all --exit SIGKILL        whose last run was killed
  apm2-ledger list --watch                     each second, until interrupted
  apm2-ledger list --at '2h ago'               or 14:00, yesterday, '2026-01-31 14:00'
  apm2-ledger list --at 2026-01-31T12:00:00Z
  apm2-ledger list --at 1200                   directly after event 1200
  apm2-ledger --format json list | jq '.[] | select(.restart_count > 3) | .display_name'")]
pub(crate) struct ListArgs {
    /// List the processes at that time: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    pub(super) at: Option<At>,
    /// Only instances with this name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Only this process: a process id, a unique prefix of one, a name, or NAME-INSTANCE. Can be repeated
    #[arg(long, value_name = "ID")]
    pub(super) process: Vec<String>,
    /// Also list removed processes and `run` commands that have ended
    #[arg(long, short)]
    pub(super) all: bool,
    /// List the retained processes instead: those that `retain` has moved into an archive. They are not in other lists
    #[arg(long, conflicts_with_all = ["at", "process", "watch"])]
    pub(super) retained: bool,
    /// Only instances in this state. `gone` and `unknown` occur without a daemon, when the recorded state is outdated or cannot
    /// be checked
    #[arg(long, value_parser = STATES)]
    pub(super) state: Vec<String>,
    /// Only instances whose last run ended like this: an exit code (7), a signal (SIGKILL), `ok`, `failed`, `unknown` or
    /// `not-started`
    #[arg(long, value_name = "END")]
    pub(super) exit: Vec<EndFilter>,
    /// First N instances of the list, or `all`
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_count, default_value = "all", hide_default_value = true)]
    pub(super) limit: u64,
    /// List the last instance first
    #[arg(long)]
    pub(super) reverse: bool,
    /// Repeat the list each second, or at the given interval
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1s", conflicts_with = "at")]
    #[arg(value_parser = humantime::parse_duration, require_equals = true)]
    pub(super) watch: Option<Duration>,
}

impl ListArgs {
    /// Whether the list may have this instance, by all but its displayed state.
    pub(super) fn accepts(&self, stream: &Stream) -> bool {
        let is_crash = matches!(stream.handle.state, ProcessState::Crashed { .. });
        let ended = |filter: &EndFilter| stream.end.as_ref().is_some_and(|end| filter.accepts_end(end, is_crash));
        self.name.as_ref().is_none_or(|name| *name == stream.handle.spec.name)
            && (self.exit.is_empty() || self.exit.iter().any(ended))
    }

    /// Whether the list may have an instance with this displayed state.
    pub(super) fn is_in_wanted_state(&self, status: &InstanceStatus<'_>) -> bool {
        let state = status.state().map_or_else(KernelState::name, ProcessState::name);
        self.state.is_empty() || self.state.iter().any(|wanted| wanted == state)
    }
}
