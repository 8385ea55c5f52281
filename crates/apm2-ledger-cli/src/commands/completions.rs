//! `completions`: what a shell needs to complete our command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Args, context::Context, error::CliError};

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger completions bash > ~/.local/share/bash-completion/completions/apm2-ledger
  apm2-ledger completions zsh > ~/.zfunc/_apm2-ledger
  apm2-ledger completions fish > ~/.config/fish/completions/apm2-ledger.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Result<i32, CliError> {
    // `generate` panics when it cannot write; into memory it always can.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "apm2-ledger", &mut script);
    context.print(|out| out.write_all(&script))?;
    Ok(0)
}
