//! `down`: the processes of an ecosystem file, stopped and taken out of supervision.

use std::path::PathBuf;

use apm2_daemon::protocol::{Answer, Request, Targets};
use clap::ValueHint;

use crate::{
    context::Context,
    daemon::order,
    ecosystem::{DEFAULT_FILE, group},
    error::CliError,
    outcomes::print_outcomes,
    terminal::say,
};

/// Stop what an ecosystem file runs, and take it out of supervision
///
/// Its history stays, and so do its logs, until they are older or more than the daemon keeps (`daemon --help`), or until
/// --purge. The file need not be there any more, only its path counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger down                       what ./ecosystem.toml runs
  apm2-ledger down agents.toml
  apm2-ledger down --name worker         one process
  apm2-ledger down --all                 everything
  apm2-ledger down --name worker --purge and its logs; also later, when it is gone")]
pub(crate) struct DownArgs {
    /// The file. Default: ./ecosystem.toml
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// These processes only, whatever file they are of
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    name: Vec<String>,
    /// Everything that is supervised
    #[arg(long, conflicts_with_all = ["file", "name"])]
    all: bool,
    /// Remove their logs, too, and with --name or --all those of what was taken out before
    #[arg(long)]
    purge: bool,
    /// Why: recorded with everything that is done
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
    let nothing = if matches!(targets, Targets::All) { "nothing is supervised" } else { "nothing of it is supervised" };
    let answer = order(&dir, Request::Remove { targets, purge: args.purge }, args.reason)?;
    if matches!(&answer, Answer::Outcomes(outcomes) if outcomes.is_empty()) {
        say(nothing);
    }
    print_outcomes(&answer, context)
}
