//! The commands, one file each: its arguments, whose comments are its help, and one function.

mod completions;
mod list;
mod man;
mod replay;
mod run;
mod show;
mod verify;

use clap::Subcommand;

use crate::{context::Context, error::CliError};

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::RunArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Replay(replay::ReplayArgs),
    Verify(verify::VerifyArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Does what `command` says; gives the code to leave with.
///
/// # Errors
/// See [`CliError`].
pub(crate) fn dispatch(command: Command, context: &Context) -> Result<i32, CliError> {
    match command {
        Command::Run(args) => run::run(args, context),
        Command::List(args) => list::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Replay(args) => replay::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}
