//! `apm2-ledger`: supervises a process, and reads its history back from the ledger.
//!
//! The module [`commands`] has one file for each command. The module [`view`] prints JSON for programs, and [`render`]
//! prints text for people. The crate `apm2-ledger` implements the ledger (bytes, recovery, replay), and `apm2-core` the
//! process control.

mod agents;
mod args;
mod changed_streams;
mod commands;
mod comparison;
mod context;
mod daemon;
mod disk;
mod doctor;
mod ecosystem;
mod end_details;
mod error;
mod export;
mod filter;
mod history;
mod ledger_dir;
mod moment;
mod options;
mod outcomes;
mod panic;
mod period_lanes;
mod progress;
mod render;
mod report;
mod source;
mod stats;
mod status;
mod steps;
mod supervisors;
mod terminal;
mod time;
mod top;
mod usage;
mod utf8;
mod view;
mod web;
mod why;

use std::io::{self, Write as _};

use clap::Parser as _;

use crate::{args::Args, context::Context, error::CliError};

fn main() {
    let args = Args::try_parse().unwrap_or_else(|error| usage::refuse(&error));
    let context = Context::new(&args.global);
    let outcome = panic::caught(|| commands::dispatch(args.command, &context));
    // The program exits without running destructors: a write in a destructor could block for ever on a pipe that is not
    // read.
    std::process::exit(outcome.map_or_else(|error| report(&error), |code| context.exit_code(code)))
}

/// Prints an error and its hint on standard error. Returns the exit code of the error.
fn report(error: &CliError) -> i32 {
    // A failed write to standard error cannot be reported. The exit code still reports the failure.
    let _ = io::stderr().write_all(error.text().as_bytes());
    error.exit_code()
}
