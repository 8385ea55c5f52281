//! `apm2-ledger`: supervises a process, and reads its history back from the ledger.
//!
//! One file per command in [`commands`]. Programs read [`view`], people read [`render`]. The ledger itself (bytes, recovery,
//! replay) is the `apm2-ledger` crate; process control is `apm2-core`.

mod args;
mod commands;
mod context;
mod daemon;
mod ecosystem;
mod error;
mod history;
mod ledger_dir;
mod moment;
mod options;
mod outcomes;
mod panic;
mod render;
mod status;
mod terminal;
mod time;
mod usage;
mod utf8;
mod view;

use std::io::{self, Write as _};

use clap::Parser as _;

use crate::{args::Args, context::Context, error::CliError};

fn main() {
    let args = Args::try_parse().unwrap_or_else(|error| usage::refuse(&error));
    let context = Context::new(&args.global);
    let outcome = panic::caught(|| commands::dispatch(args.command, &context));
    // No destructors run here: a write to a pipe that is not read could block for ever.
    std::process::exit(outcome.map_or_else(|error| report(&error), |code| context.exit_code(code)))
}

/// Prints the error and its hint on standard error. Returns its exit code.
fn report(error: &CliError) -> i32 {
    // A failed write to standard error cannot be reported; the exit code remains.
    let _ = io::stderr().write_all(error.text().as_bytes());
    error.exit_code()
}
