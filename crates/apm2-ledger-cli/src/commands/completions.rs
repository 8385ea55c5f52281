//! `completions`: completion scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Args, context::Context, error::CliError};

/// Generate the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger completions bash > ~/.local/share/bash-completion/completions/apm2-ledger
  apm2-ledger completions zsh > ~/.zfunc/_apm2-ledger
  apm2-ledger completions fish > ~/.config/fish/completions/apm2-ledger.fish")]
pub(crate) struct CompletionsArgs {
    /// Name of the shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Result<i32, CliError> {
    // `generate` panics on a write error, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "apm2-ledger", &mut script);
    context.print(|out| out.write_all(&script))?;
    Ok(0)
}
