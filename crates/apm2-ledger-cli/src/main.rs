//! `apm2-ledger`: supervises a process, and reads its history back from the ledger.
//!
//! One file per command in [`commands`]; what programs read is in [`view`], what people read in [`render`]. The ledger
//! itself (bytes, recovery, replay) is the `apm2-ledger` crate, and running processes is `apm2-core`.

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
mod standing;
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
    // No destructor is waited for: a write to an output that nobody reads may be stuck for ever.
    std::process::exit(outcome.map_or_else(|error| report(&error), |code| context.exit_code(code)))
}

/// Says what failed, why, and what to do next; gives the exit code that belongs to it.
fn report(error: &CliError) -> i32 {
    // Without a standard error there is nobody to tell; the exit code remains.
    let _ = io::stderr().write_all(error.text().as_bytes());
    error.exit_code()
}
