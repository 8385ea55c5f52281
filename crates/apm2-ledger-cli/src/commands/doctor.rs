//! The command `doctor`, which checks an installation.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use crate::{
    context::Context,
    doctor::{
        check::{Check, CheckStatus},
        checks,
        facts::Facts,
    },
    ecosystem::DEFAULT_FILE,
    error::CliError,
    options::Format,
    render,
    view::doctor::{CheckView, DoctorView},
};

/// The exit code when a check has found a problem.
const PROBLEM_CODE: i32 = 1;

/// Check everything that the ledger, its daemon and its processes need
///
/// Checks the directory of the ledger, its file system, the journal, the daemon and its file descriptor store, sockets,
/// limits, features of the kernel, the login session, clocks, permissions, and the ecosystem file. Each check is ok, a note or
/// a problem, with a command or a setting that mends it.
///
/// Writes nothing and starts nothing. Exits with 1 if there is a problem.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger doctor
  apm2-ledger doctor agents.toml         also check the processes of this file
  apm2-ledger --format jsonl doctor | jq 'select(.status == \"problem\")'")]
pub(crate) struct DoctorArgs {
    /// Ecosystem file. Default: ./ecosystem.toml, if it exists
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let default = Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists());
    let checks = checks(&Facts::look(&dir, args.file.as_deref().or(default), context.is_offline()));
    match context.format {
        Format::Json => context.print_json(&DoctorView::new(&dir, &checks))?,
        Format::Jsonl => context.print_jsonl(checks.iter().map(CheckView::new))?,
        Format::Table => context.print(|out| render::doctor::table(out, &checks, context.layout))?,
    }
    let has_problem = checks.iter().any(|check: &Check| check.status == CheckStatus::Problem);
    Ok(if has_problem { PROBLEM_CODE } else { 0 })
}
