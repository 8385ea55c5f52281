//! The command `doctor`, which checks an installation.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use crate::{
    context::Context,
    doctor::{
        agent_checks,
        check::{Check, CheckStatus},
        checks,
        facts::{Facts, agent::AgentFacts},
    },
    ecosystem::{DEFAULT_FILE, Ecosystem},
    error::{CliError, ErrorKind},
    options::Format,
    render,
    view::doctor::{CheckView, DoctorView},
};

/// Whether the argument is a file: it exists, or it has a form that no name has.
fn looks_like_a_file(target: &Path) -> bool {
    target.exists() || target.extension().is_some() || target.components().count() != 1
}

/// The checks of the agent with this name in the file.
fn of_agent(name: &Path, file: &Path) -> Result<Vec<Check>, CliError> {
    let Ecosystem { launches, .. } = Ecosystem::read(file)?;
    let name = name.to_string_lossy();
    let launch = launches.iter().find(|launch| launch.spec.name == name);
    let facts = launch.and_then(AgentFacts::look).ok_or_else(|| {
        let message = format!("{} has no agent named {name}: a process with a table [process.agent]", file.display());
        CliError::new(ErrorKind::NoSuchProcess, message)
    })?;
    Ok(agent_checks(&facts))
}

/// The exit code when a check has found a problem.
const PROBLEM_CODE: i32 = 1;

/// Check everything that the ledger, its daemon and its processes need
///
/// Checks the directory of the ledger, its file system, the journal, the daemon and its file descriptor store, sockets,
/// limits, features of the kernel, the login session, clocks, permissions, and the ecosystem file. Each check is ok, a note or
/// a problem, with a command or a setting that mends it.
///
/// With the name of an agent, checks its set-up for unattended work in place of all that: its program, its arguments, permissions,
/// prompt, credentials, session, restarts and limits.
///
/// Writes nothing and starts nothing. Exits with 1 if there is a problem.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger doctor
  apm2-ledger doctor agents.toml         also check the processes of this file
  apm2-ledger doctor claude              check an agent of ./ecosystem.toml before it is left alone
  apm2-ledger --format jsonl doctor | jq 'select(.status == \"problem\")'")]
pub(crate) struct DoctorArgs {
    /// Ecosystem file, or the name of an agent in it. Default: ./ecosystem.toml, if it exists
    #[arg(value_hint = ValueHint::FilePath, value_name = "FILE|AGENT")]
    target: Option<PathBuf>,
    /// The file that has the agent. Default: ./ecosystem.toml
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "target")]
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let default = Path::new(DEFAULT_FILE);
    let checks = match args.target.as_deref() {
        Some(name) if args.file.is_some() || !looks_like_a_file(name) => {
            of_agent(name, args.file.as_deref().unwrap_or(default))?
        }
        target => {
            checks(&Facts::look(&dir, target.or(Some(default).filter(|file| file.exists())), context.is_offline()))
        }
    };
    match context.format {
        Format::Json => context.print_json(&DoctorView::new(&dir, &checks))?,
        Format::Jsonl => context.print_jsonl(checks.iter().map(CheckView::new))?,
        Format::Table => context.print(|out| render::doctor::table(out, &checks, context.layout))?,
    }
    let has_problem = checks.iter().any(|check: &Check| check.status == CheckStatus::Problem);
    Ok(if has_problem { PROBLEM_CODE } else { 0 })
}
