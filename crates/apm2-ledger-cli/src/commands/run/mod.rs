//! `run`: one command under the daemon's supervision, from its start to the end that its policy sees.
//!
//! ```text
//! signals ------------------> daemon --> the process
//! output  <-- log files <-------'
//! remarks <-- events <----------'
//! ```
//!
//! The output comes from the files that the daemon keeps, so it is whole whatever happens to the daemon: when that ends,
//! this finds the next one, which goes on where the last one was. One thread writes to our outputs, and it may get stuck:
//! nothing that stops or waits depends on it.

pub(crate) mod announcer;
pub(crate) mod call;
pub(crate) mod code;
pub(crate) mod env;
pub(crate) mod env_file;
pub(crate) mod hidden;
pub(crate) mod merge;
pub(crate) mod orders;
pub(crate) mod output;
pub(crate) mod signals;
pub(crate) mod spec;
pub(crate) mod stdin;
pub(crate) mod watch;

use std::{path::PathBuf, time::Duration};

use apm2_model::{signal::Signal, spec::config::restart::RestartPolicy};
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

/// Supervise a command and record what happens to it
///
/// The command's output passes through as it comes. SIGINT, SIGTERM and SIGHUP stop it, with everything that it
/// started: first --stop-signal, and SIGKILL after --stop-timeout or upon a second signal. Should that not work, either,
/// a further signal two seconds later leaves without the command.
///
/// SIGQUIT (Ctrl-\), SIGUSR1, SIGUSR2, SIGCONT, the timers' and the real-time signals are passed on to the command and
/// everything in its session, and recorded; what they mean is up to the command. Ctrl-Z suspends the command and `run`
/// together. A `run` that gets SIGKILL itself can stop nothing: the command goes on under the daemon, until
/// `apm2-ledger stop`.
///
/// The command's first run reads our standard input, if that is a pipe or a file; a terminal is not passed on, and a restart
/// reads nothing (/dev/null): what was read cannot be read again.
///
/// The environment of the command begins with an allow-list of ours (PATH, HOME, USER, LOGNAME, SHELL, TERM, COLORTERM,
/// LANG, LANGUAGE, LC_*, TZ, TMPDIR, and the base directories XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_CACHE_HOME,
/// XDG_STATE_HOME, XDG_RUNTIME_DIR, XDG_CONFIG_DIRS, XDG_DATA_DIRS); everything else is given with --env or --env-file. The
/// ledger keeps the names of variables and never a value, and masks what looks like a secret in arguments.
///
/// A command that runs again under the same --name continues the history of that name.
///
/// Leaves with the exit code of the command: 128+N when signal N killed it, 127 when it was not found, 126 when it
/// cannot be executed, 1, 2 or 5 when it could not be supervised.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger run -- make -j4
  cat prompt.md | apm2-ledger run --name agent -- claude -p
  apm2-ledger run --name tests --reason 'nightly' -- cargo test
  apm2-ledger run --name agent --restart on-failure --backoff 1s..1m -- agent --serve
  apm2-ledger run --name worker --env API_TOKEN --env MODE=batch --cwd /srv -- ./worker
  apm2-ledger run --env-file worker.env -- ./worker
  apm2-ledger run --stop-timeout 30s --stop-signal SIGINT -- ./server")]
pub(crate) struct RunArgs {
    /// The name that its history is kept under. Default: that of the program
    #[arg(long, value_parser = spec::parse_name)]
    name: Option<String>,
    /// Give it a variable: KEY=VALUE, or KEY with the value that it has here
    #[arg(long, value_name = "KEY[=VALUE]")]
    env: Vec<EnvArg>,
    /// Give it the variables in a file of NAME=VALUE lines that only you can read (chmod 600); --env goes before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_file: Vec<PathBuf>,
    /// The descriptor of a file with what --env said, so that it does not stand in the command line
    #[arg(long, hide = true, conflicts_with = "env")]
    env_fd: Option<u32>,
    /// The directory that it starts in. Default: this one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    cwd: Option<PathBuf>,
    /// When it is started again: never, on-failure or always
    #[arg(long, value_name = "POLICY", default_value = "never", value_parser = policy_parser())]
    restart: RestartPolicy,
    /// Restarts allowed within --restart-window
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_restarts: u32,
    /// The time in which restarts are counted
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    restart_window: Duration,
    /// A run at least this long ends a series of failures: the back-off begins anew
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    min_uptime: Duration,
    /// How long a restart waits: 1s (always so), 1s..1m (doubled up to a minute), linear:1s+500ms..1m
    #[arg(long, value_name = "SPEC", default_value = "1s..1m")]
    backoff: BackoffArg,
    /// The time from the stop signal to SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    stop_timeout: Duration,
    /// The signal that asks it to stop
    #[arg(long, value_name = "SIGNAL", default_value = "SIGTERM")]
    stop_signal: Signal,
    /// Whether both outputs are one, in the order in which they are written: auto (where ours are the same terminal, pipe or
    /// file), always or never. Of two, each is in order for itself alone
    #[arg(long, value_name = "WHEN", default_value = "auto", value_enum, hide_possible_values = true)]
    merge: MergeArg,
    /// Why it is run: recorded with the start
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<String>,
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
