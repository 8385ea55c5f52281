//! The command `man`, which generates manual pages from the same text as `--help`.

use std::{fs, path::PathBuf};

use clap::{CommandFactory as _, ValueHint};

use crate::{args::Args, context::Context, error::CliError};

/// Generate the manual pages
///
/// With DIR, write one page for each command into it. Without DIR, print the page of apm2-ledger.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger man | man -l -
  apm2-ledger man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory for the pages; created if it does not exist
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, context: &Context) -> Result<i32, CliError> {
    let command = Args::command();
    match &args.dir {
        Some(dir) => {
            let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
            written.map_err(|error| CliError::failed(format!("cannot write into {}: {error}", dir.display())))?;
            context.remark(|| format!("wrote the manual pages into {}", dir.display()));
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            context.print(|out| out.write_all(&page))?;
        }
    }
    Ok(0)
}
