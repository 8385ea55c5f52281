//! The commands, one file for each. A file contains the arguments of the command, whose doc comments are the help text,
//! and the function that runs the command.

pub(crate) mod backoff;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod cost;
pub(crate) mod daemon;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod retain;
pub(crate) mod run;
pub(crate) mod salvage;
pub(crate) mod sessions;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod timeline;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod web;
pub(crate) mod why;

use clap::Subcommand;

use crate::{context::Context, error::CliError};

/// The subcommands of `apm2-ledger`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::RunArgs),
    Up(up::UpArgs),
    Down(down::DownArgs),
    Start(control::StartArgs),
    Stop(control::StopArgs),
    Restart(control::RestartArgs),
    Reload(control::ReloadArgs),
    Scale(control::ScaleArgs),
    List(list::args::ListArgs),
    #[command(visible_alias = "ui")]
    Top(top::TopArgs),
    Show(show::ShowArgs),
    Why(why::WhyArgs),
    Diff(diff::DiffArgs),
    Stats(stats::StatsArgs),
    Timeline(timeline::TimelineArgs),
    Cost(cost::CostArgs),
    Sessions(sessions::SessionsArgs),
    Logs(logs::LogsArgs),
    Tail(tail::TailArgs),
    Replay(replay::ReplayArgs),
    Report(report::ReportArgs),
    Web(web::WebArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Salvage(salvage::SalvageArgs),
    Rebuild(rebuild::RebuildArgs),
    Retain(retain::RetainArgs),
    Migrate(migrate::MigrateArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Daemon(daemon::DaemonArgs),
    Keeper(daemon::KeeperArgs),
}

/// Runs `command`. Returns the exit code.
///
/// # Errors
/// See [`CliError`].
pub(crate) fn dispatch(command: Command, context: &Context) -> Result<i32, CliError> {
    if context.is_svg && !matches!(command, Command::Timeline(_)) {
        return Err(CliError::usage("only `timeline` has `--format svg`"));
    }
    match command {
        Command::Run(args) => run::run(args, context),
        Command::Up(args) => up::run(args, context),
        Command::Down(args) => down::run(args, context),
        Command::Start(args) => control::start(args, context),
        Command::Stop(args) => control::stop(args, context),
        Command::Restart(args) => control::restart(args, context),
        Command::Reload(args) => control::reload(args, context),
        Command::Scale(args) => control::scale(args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Tail(args) => tail::run(&args, context),
        Command::Daemon(args) => daemon::run(args, context),
        Command::Keeper(args) => daemon::keeper(&args, context),
        Command::List(args) => list::run(&args, context),
        Command::Top(args) => top::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Stats(args) => stats::run(&args, context),
        Command::Timeline(args) => timeline::run(&args, context),
        Command::Cost(args) => cost::run(&args, context),
        Command::Sessions(args) => sessions::run(&args, context),
        Command::Replay(args) => replay::run(&args, context),
        Command::Report(args) => report::run(&args, context),
        Command::Web(args) => web::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Salvage(args) => salvage::run(&args, context),
        Command::Rebuild(args) => rebuild::run(&args, context),
        Command::Retain(args) => retain::run(&args, context),
        Command::Migrate(args) => migrate::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}
