//! The command `run`, which runs one command under the supervision of the daemon until its restart policy makes no
//! further restart.
//!
//! ```text
//! signals ------------------> daemon --> the process
//! output  <-- log files <-------'
//! remarks <-- events <----------'
//! ```
//!
//! The output is read from the log files, so no output is lost when a daemon ends: `run` connects to the next daemon,
//! which continues the run. One thread writes to the outputs of `run` and may block. Stops and waits do not depend on
//! this thread.

pub(crate) mod call;
pub(crate) mod code;
pub(crate) mod env;
pub(crate) mod env_file;
pub(crate) mod hidden;
pub(crate) mod merge;
pub(crate) mod orders;
pub(crate) mod output;
pub(crate) mod reporter;
pub(crate) mod signals;
pub(crate) mod spec;
pub(crate) mod stdin;
pub(crate) mod watch;

use std::{path::PathBuf, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{
        agent_kind::AgentKind,
        config::{agent::AgentChoice, restart::RestartPolicy},
    },
};
use clap::{
    ValueHint,
    builder::{PossibleValuesParser, TypedValueParser as _},
};

use crate::{
    commands::{
        backoff::BackoffArg,
        run::{env::EnvArg, merge::MergeArg},
    },
    context::Context,
    error::CliError,
    terminal::say,
};

/// Supervise a command and record its history
///
/// The command's output is copied to that of `run` as it is written. SIGINT, SIGTERM and SIGHUP stop the command and all its
/// descendants: --stop-signal first, then SIGKILL after --stop-timeout or a second signal. If that fails, another signal at
/// least two seconds later ends `run` without the command.
///
/// SIGQUIT (Ctrl-\), SIGUSR1, SIGUSR2, SIGCONT, timer signals and real-time signals are passed on to the command's session
/// and recorded. Ctrl-Z suspends the command and `run`. If `run` itself gets SIGKILL, the command goes on under the daemon
/// until `apm2-ledger stop`.
///
/// The first run of the command reads the standard input of `run` if that is a pipe or a file. A terminal is not passed on,
/// and a restarted command reads /dev/null.
///
/// The environment of the command consists of an allow-list (PATH, HOME, USER, LOGNAME, SHELL, TERM, COLORTERM, LANG,
/// LANGUAGE, LC_*, TZ, TMPDIR, and the base directories XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_CACHE_HOME, XDG_STATE_HOME,
/// XDG_RUNTIME_DIR, XDG_CONFIG_DIRS, XDG_DATA_DIRS) and the variables of --env and --env-file. The ledger records the names of
/// variables, never their values, and masks arguments that look like secrets.
///
/// A command that is run again with the same --name continues the history of that name.
///
/// The exit code is that of the command: 128+N when signal N killed it, 127 when it was not found, 126 when it cannot be
/// executed; 1, 2 or 5 when it could not be supervised.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger run -- make -j4
  cat prompt.md | apm2-ledger run --agent auto -- claude -p --output-format stream-json --verbose
  apm2-ledger run --name tests --reason 'nightly' -- cargo test
  apm2-ledger run --name agent --restart on-failure --backoff 1s..1m -- agent --serve
  apm2-ledger run --name worker --env API_TOKEN --env MODE=batch --cwd /srv -- ./worker
  apm2-ledger run --env-file worker.env -- ./worker
  apm2-ledger run --stop-timeout 30s --stop-signal SIGINT -- ./server")]
pub(crate) struct RunArgs {
    /// Name of the process in the ledger. Default: the name of the program
    #[arg(long, value_parser = spec::parse_name)]
    name: Option<String>,
    /// Set a variable: KEY=VALUE, or KEY to pass on its current value
    #[arg(long, value_name = "KEY[=VALUE]")]
    env: Vec<EnvArg>,
    /// Set the variables of a file with NAME=VALUE lines, readable by its owner only (chmod 600); --env takes precedence
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_file: Vec<PathBuf>,
    /// Descriptor of the file with the values of --env, to keep them out of the command line
    #[arg(long, hide = true, conflicts_with = "env")]
    env_fd: Option<u32>,
    /// Working directory. Default: the current one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    cwd: Option<PathBuf>,
    /// When to restart the command
    #[arg(long, value_name = "POLICY", default_value = "never", value_parser = policy_parser())]
    restart: RestartPolicy,
    /// Maximum number of restarts within --restart-window
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_restarts: u32,
    /// Period over which restarts are counted
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    restart_window: Duration,
    /// A run of at least this length resets the back-off
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    min_uptime: Duration,
    /// Delay before a restart: fixed (1s), doubled up to a maximum (1s..1m), or linear (linear:1s+500ms..1m)
    #[arg(long, value_name = "SPEC", default_value = "1s..1m")]
    backoff: BackoffArg,
    /// Time from the stop signal to SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    stop_timeout: Duration,
    /// Signal that stops the command
    #[arg(long, value_name = "SIGNAL", default_value = "SIGTERM")]
    stop_signal: Signal,
    /// Whether stdout and stderr share one pipe, which keeps their order: auto (when those of `run` are the same terminal, pipe
    /// or file), always or never. With two pipes, only the order within each is known
    #[arg(long, value_name = "WHEN", default_value = "auto", value_enum, hide_possible_values = true)]
    merge: MergeArg,
    /// The command is an AI coding agent: record what it reports (sessions, turns, tools, tokens, cost, limits), and no contents.
    /// auto goes by the name of the program
    #[arg(long, value_name = "KIND", value_parser = agent_parser())]
    agent: Option<AgentChoice>,
    /// Reason to record with the start
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<String>,
}

fn agent_parser() -> impl clap::builder::TypedValueParser<Value = AgentChoice> {
    let names = std::iter::once("auto").chain(AgentKind::ALL.map(AgentKind::name));
    PossibleValuesParser::new(names).try_map(|text| text.parse::<AgentChoice>())
}

fn policy_parser() -> impl clap::builder::TypedValueParser<Value = RestartPolicy> {
    PossibleValuesParser::new(["never", "on-failure", "always"]).try_map(|text| text.parse::<RestartPolicy>())
}

pub(crate) fn run(mut args: RunArgs, context: &Context) -> Result<i32, CliError> {
    if let Err(error) = hidden::hide(&args.env) {
        say(&format!("the values of --env stay in the command line of this process, which others can read: {error}"));
    }
    if let Some(fd) = args.env_fd {
        args.env = hidden::handed_over(fd)?;
    }
    let reason = args.reason.clone();
    let spec = spec::from_args(args)?;
    watch::watch(spec, reason, context)
}
