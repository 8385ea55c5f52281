//! The command `top`, a live screen of all processes.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use crate::{context::Context, error::CliError, options::Format, top};

/// Watch processes on a live screen, look into their past, and control them
///
/// Above is the list of processes: state, restarts, uptime, processor and memory as last measured, and of agents what they do,
/// their tokens and their cost. Below are the runs, events, logs or causes of the selected one. The screen follows the events of the
/// daemon; without a daemon it shows the record and waits for one. `?` lists all keys.
///
/// Keys: arrows or j k select, Tab or 1-4 choose runs, events, logs or why, s x r start, stop and restart after a question for the
/// reason, / filters, o sorts, f follows, `[` and `]` step through the events of the past, t jumps to a time, Esc goes back, q quits.
///
/// States differ by shape and word, not by colour alone. Needs a terminal of 80 columns and 24 rows.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger top
  apm2-ledger ui                         the same
  apm2-ledger top --ledger /srv/agents   another ledger
  apm2-ledger --color never top          without colours; NO_COLOR=1 does the same
  apm2-ledger top --no-mouse             the mouse selects text, as elsewhere in the terminal
  apm2-ledger --offline top              the record only, without a connection to the daemon")]
pub(crate) struct TopArgs {
    /// Leave the mouse to the terminal
    #[arg(long)]
    no_mouse: bool,
}

pub(crate) fn run(args: &TopArgs, context: &Context) -> Result<i32, CliError> {
    if context.format != Format::Table {
        return Err(CliError::usage("top is a screen and has no JSON")
            .with_hint("`apm2-ledger --format json list` has the same facts"));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let error = CliError::usage("top needs a terminal, and its input or output is none");
        return Err(error.with_hint("`apm2-ledger list` and `tail -f` print to pipes and files"));
    }
    if env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        let error = CliError::usage("top needs a terminal with cursor control, and TERM names none");
        return Err(error.with_hint("set TERM, for example to xterm-256color"));
    }
    top::run(context, !args.no_mouse)
}
