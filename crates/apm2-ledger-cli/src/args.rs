//! The command line of `apm2-ledger`: the global options and the subcommand.

use clap::Parser;

use crate::{commands::Command, options::GlobalArgs};

const EXAMPLES: &str = "\
Examples:
  apm2-ledger run --name build -- make -j4       supervise a command and record it
  apm2-ledger list                               every process with its state now
  apm2-ledger show build                         the history of one of them
  apm2-ledger --format json list --at '2h ago'   as of two hours ago, in JSON
  apm2-ledger verify                             check the whole ledger

The ledger is the directory --ledger, else $APM2_LEDGER_DIR, else $XDG_STATE_HOME/apm2/ledger,
else ~/.local/state/apm2/ledger.

An <ID> is a process id, a unique prefix of one (4 characters or more), a name, or name-instance.
A <TIME> is RFC 3339 (2026-01-31T12:00:00Z), a date or a time of day or both ('2026-01-31 14:00',
yesterday, local time), `2h ago` or @unix; a <SEQ> is an event's number. Times are shown in local
time on a terminal, and in UTC in pipes and in JSON.

Exit codes: 0 done; 1 failed; 2 wrong usage, including an ambiguous <ID>; 3 no such process; 4 the
ledger's integrity is broken; 5 the ledger cannot be used (locked, poisoned, newer format, no
permission). `run` exits with the exit code of its command.";

/// A flight recorder for agent processes.
///
/// Every change of state of every supervised process is an event, durably appended to a ledger. Lists, histories and
/// restart counts are all read back from it.
#[derive(Debug, Parser)]
#[command(name = "apm2-ledger", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Args::command().get_subcommands() {
            let help = command.get_after_help().unwrap_or_default().to_string();
            assert!(help.contains("Examples:"), "{} has none", command.get_name());
        }
    }
}
