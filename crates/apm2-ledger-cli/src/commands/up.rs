//! `up`: what an ecosystem file says is to run, and nothing else of it.

use std::path::PathBuf;

use apm2_daemon::protocol::Request;
use clap::ValueHint;

use crate::{
    context::Context,
    daemon::{ask, connect_or_start, print_outcomes},
    ecosystem::{DEFAULT_FILE, Ecosystem},
    error::CliError,
};

/// Run what an ecosystem file says: create, change and remove what differs
///
/// What the file names and is not supervised is created and started, what differs is stopped and started as the file
/// says, what the file does not name any more is stopped and removed. Processes of other files are left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger up                         what ./ecosystem.toml says
  apm2-ledger up agents.toml --dry-run   only say what would be done
  apm2-ledger up --reason 'new model'

A file:
  [[process]]
  name = 'agent'
  command = 'claude'
  args = ['--continue']
  cwd = 'work'                           # beside this file
  instances = 2
  env = { MODE = 'batch' }
  restart = { policy = 'always', max_restarts = 5, restart_window = '10m', backoff = '1s..1m' }
  health = { check = { http = { url = 'http://127.0.0.1:8080/', expected_status = 200 } }, interval = '10s' }
  log = { timestamps = true, rotate_bytes = 1000000, compress = true }
  shutdown = { signal = 'SIGINT', timeout = '30s', pre_stop = [['./drain.sh']] }
  credentials = { profile = 'api', variables = { API_KEY = 'key' }, reload_signal = 'SIGHUP' }
  silence_limit = '5m'

  [profile.api]
  file = 'api.env'                       # 0600; or command = ['pass', 'show', 'api']; or environment = true")]
pub(crate) struct UpArgs {
    /// The file. Default: ./ecosystem.toml
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Why: recorded with everything that is done
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(args: UpArgs, context: &Context) -> Result<i32, CliError> {
    let file = args.file.unwrap_or_else(|| DEFAULT_FILE.into());
    let Ecosystem { group, launches } = Ecosystem::read(&file)?;
    let request = Request::Apply { group, launches, dry_run: args.dry_run };
    let answer = ask(connect_or_start(&context.ledger_dir()?)?, request, args.reason)?;
    print_outcomes(&answer, context)
}
