//! The options that every command has.

use std::{env, path::PathBuf};

use clap::{ValueEnum, ValueHint};

/// The options before or after any command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Directory of the ledger. Default: $APM2_LEDGER_DIR
    // The environment variable is not read by clap, because an empty variable must count as unset.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) ledger: Option<PathBuf>,
    /// Output format
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: FormatArg,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: When,
    /// Print details on standard error, such as the source of what was read
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Read only the journal, without a daemon or a lock
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}

/// The value of `--format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// Human-readable tables
    #[default]
    #[value(alias = "text")]
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
    /// A picture, of `timeline` only
    #[value(hide = true)]
    Svg,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Human-readable tables.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Jsonl,
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Table | FormatArg::Svg => Self::Table,
            FormatArg::Json => Self::Json,
            FormatArg::Jsonl => Self::Jsonl,
        }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// If standard output is a terminal
    #[default]
    Auto,
    /// Also in a file or pipe
    Always,
    /// No colour
    Never,
}

/// The spelling of an option in the command line: `option`, or its alias if only that was typed. For errors.
pub(crate) fn typed(option: &'static str, alias: &'static str) -> &'static str {
    let is_typed = |name: &str| {
        let mut words = env::args_os().skip(1).take_while(|word| word != "--");
        words.any(|word| word.to_str().and_then(|word| word.strip_prefix(name)).is_some_and(is_end_of_option))
    };
    if !is_typed(option) && is_typed(alias) { alias } else { option }
}

/// Whether the name of an option ends before `rest`, which is empty or begins with its value.
fn is_end_of_option(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('=')
}
