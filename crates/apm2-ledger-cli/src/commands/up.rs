//! The command `up`, which makes the supervised processes match an ecosystem file.

use std::path::PathBuf;

use apm2_daemon::{
    ledger_settings::LedgerSettings,
    protocol::{ClientRequest, SentLaunch},
};
use apm2_model::spec::launch::LaunchSpec;
use clap::ValueHint;

use crate::{
    context::Context,
    daemon::{ask, connect, order},
    ecosystem::{DEFAULT_FILE, Ecosystem},
    error::CliError,
    outcomes::print_outcomes,
};

const EXAMPLES: &str = "\
Examples:
  apm2-ledger up                         match ./ecosystem.toml
  apm2-ledger up agents.toml --dry-run   show what would be done
  apm2-ledger up --reason 'new model'

A file, of which docs/ecosystem.md has every setting:
  [[process]]
  name = 'agent'
  command = 'claude'
  args = ['--continue']
  cwd = 'work'                           # beside this file
  instances = 2
  env = { MODE = 'batch' }
  silence_limit = '5m'
  restart = { policy = 'always', max_restarts = 5, backoff = '1s..1m' }
  log = { timestamps = true, rotate_bytes = 1000000, compress = true }
  shutdown = { timeout = '30s', pre_stop = [['./drain.sh']] }

  [process.health]
  check = { http = { url = 'http://127.0.0.1:8080/' } }
  interval = '10s'

  [process.credentials]
  profile = 'api'
  variables = { API_KEY = 'key' }
  reload_signal = 'SIGHUP'

  [profile.api]
  file = 'api.env'                       # 0600, KEY=VALUE lines

  [ledger]
  retain = '90d'                         # older history moves into an archive
  max_bytes = '10GB'                     # the oldest archives and logs go";

/// Create, change and remove processes to match an ecosystem file
///
/// Processes of the file that are not supervised are created and started. Processes whose settings differ are stopped
/// and started with the new ones. Processes of this file that it no longer names are stopped and removed. Processes of
/// other files are not changed. A process that has finished is not started again until it is changed or started.
///
/// Fails if a process of the file is not running, or ended right after its start. For that, `up` observes each started
/// process until it has been idle for 50 ms, but not longer than 300 ms.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Ecosystem file. Default: ./ecosystem.toml
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also start processes that have finished: exit code 0 with restart policy on-failure or never
    #[arg(long)]
    rerun: bool,
    /// Reason to record with each change
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: UpArgs, context: &Context) -> Result<i32, CliError> {
    let file = args.file.unwrap_or_else(|| DEFAULT_FILE.into());
    let Ecosystem { group, launches, ledger } = Ecosystem::read(&file)?;
    let dir = context.ledger_dir()?;
    if args.dry_run {
        // A dry run does not start a daemon.
        let Some(client) = connect(&dir)? else {
            return print_outcomes(&apm2_daemon::dry_run(&dir, &group, launches, args.rerun)?, context);
        };
        let request = request(group, launches, (true, args.rerun), ledger);
        return print_outcomes(&ask(client, request, args.reason)?, context);
    }
    let answer = order(&dir, request(group, launches, (false, args.rerun), ledger), args.reason)?;
    print_outcomes(&answer, context)
}

fn request(
    group: String,
    launches: Vec<LaunchSpec>,
    (dry_run, rerun): (bool, bool),
    ledger: Option<LedgerSettings>,
) -> ClientRequest {
    ClientRequest::Apply { group, launches: launches.into_iter().map(SentLaunch).collect(), dry_run, rerun, ledger }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_one_and_fits_into_a_terminal() {
        let (_, example) = EXAMPLES.split_once("setting:\n").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(DEFAULT_FILE);
        std::fs::write(&file, example).unwrap();
        let Ok(ecosystem) = Ecosystem::read(&file) else { panic!("{example}") };
        assert_eq!(ecosystem.launches.len(), 1);
        assert!(EXAMPLES.lines().all(|line| line.chars().count() < 80));
    }
}
