//! The options that every command has.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

/// The options before or after any command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The directory of the ledger. Default: $APM2_LEDGER_DIR
    // Not read by clap: an empty variable is as good as none.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) ledger: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: Format,
    /// When results are coloured; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: When,
    /// Say more on standard error: what was read, and from where
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Read the journal only, without a lock
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal
    #[default]
    Auto,
    /// Even in a pipe
    Always,
    /// Not at all
    Never,
}
