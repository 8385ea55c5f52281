//! The command `down`, which stops the processes of an ecosystem file and removes them from supervision.

use std::path::PathBuf;

use apm2_daemon::protocol::{CallAnswer, ClientRequest, Targets};
use clap::ValueHint;

use crate::{
    context::Context,
    daemon::order,
    ecosystem::{DEFAULT_FILE, group},
    error::CliError,
    outcomes::print_outcomes,
    terminal::say,
};

/// Stop the processes of an ecosystem file and remove them from supervision
///
/// The history is kept. Logs are kept until the limits of the daemon (see `daemon --help`) or --purge remove them. The file
/// itself need not exist: its path identifies the processes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger down                       the processes of ./ecosystem.toml
  apm2-ledger down agents.toml
  apm2-ledger down --name worker         one process
  apm2-ledger down --all                 all processes
  apm2-ledger down --name worker --purge also delete its logs")]
pub(crate) struct DownArgs {
    /// Ecosystem file. Default: ./ecosystem.toml
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Only these processes, whichever ecosystem file they come from
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    name: Vec<String>,
    /// All supervised processes
    #[arg(long, conflicts_with_all = ["file", "name"])]
    all: bool,
    /// Also delete their logs; with --name or --all, also logs of processes that were removed before
    #[arg(long)]
    purge: bool,
    /// Reason to record with each change
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: DownArgs, context: &Context) -> Result<i32, CliError> {
    let targets = match (args.all, args.name.is_empty()) {
        (true, _) => Targets::All,
        (false, false) => Targets::Named(args.name),
        (false, true) => Targets::Group(group(&args.file.unwrap_or_else(|| DEFAULT_FILE.into()))?),
    };
    let dir = context.ledger_dir()?;
    if !dir.exists() {
        say("nothing is supervised");
        return Ok(0);
    }
    let nothing = match &targets {
        Targets::Group(file) => format!("no process of {file} is supervised"),
        Targets::All | Targets::Named(_) => "nothing is supervised".to_owned(),
    };
    let is_of_file = matches!(targets, Targets::Group(_));
    let answer = order(&dir, ClientRequest::Remove { targets, purge: args.purge }, args.reason)?;
    if matches!(&answer, CallAnswer::Outcomes(outcomes) if outcomes.is_empty()) {
        say(&nothing);
        if is_of_file {
            say("hint: `apm2-ledger down FILE` names another file, `apm2-ledger down --all` means all processes");
        }
    }
    print_outcomes(&answer, context)
}
