//! The commands `start`, `stop`, `restart`, `reload` and `scale`, which change supervised processes.

use std::time::Duration;

use apm2_daemon::protocol::{Action, CallAnswer, ClientRequest, Outcome};

use crate::{context::Context, daemon::order, error::CliError, outcomes::print_outcomes};

/// The processes concerned, and the reason to record.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// Process ids, unique prefixes of ids, names, NAME-INSTANCE, or `all`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Reason to record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Start supervised processes that are not running
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger start worker
  apm2-ledger start worker-1 --reason 'disk is back'
  apm2-ledger start all")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    targets: TargetArgs,
}

/// Stop processes and all their descendants; they stay supervised
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger stop worker
  apm2-ledger stop worker-1 --timeout 2s
  apm2-ledger stop all --reason 'maintenance'")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    targets: TargetArgs,
    /// Time from the stop signal to SIGKILL. Default: the setting of each process
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

/// Stop and start processes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger restart worker
  apm2-ledger restart all --reason 'new certificate'")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    targets: TargetArgs,
}

/// Apply new credentials: send reload_signal, or restart processes without one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger reload agent
  apm2-ledger reload all --reason 'key rotation'")]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    targets: TargetArgs,
}

/// Change the number of instances of processes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger scale worker=4
  apm2-ledger scale worker=1 agent=2 --reason 'night'")]
pub(crate) struct ScaleArgs {
    /// Name and number of instances, such as worker=4
    #[arg(required = true, value_name = "NAME=N", value_parser = parse_scale)]
    scales: Vec<(String, u32)>,
    /// Reason to record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn parse_scale(text: &str) -> Result<(String, u32), String> {
    let (name, count) = text.split_once('=').ok_or("write NAME=N, such as worker=4")?;
    let count = count.parse::<u32>().ok().filter(|count| *count > 0);
    Ok((name.to_owned(), count.ok_or("N is a number, at least 1")?))
}

pub(crate) fn start(args: StartArgs, context: &Context) -> Result<i32, CliError> {
    let TargetArgs { ids, reason } = args.targets;
    control(ClientRequest::Start { targets: ids }, reason, context)
}

pub(crate) fn stop(args: StopArgs, context: &Context) -> Result<i32, CliError> {
    let TargetArgs { ids, reason } = args.targets;
    control(ClientRequest::Stop { targets: ids, timeout: args.timeout }, reason, context)
}

pub(crate) fn restart(args: RestartArgs, context: &Context) -> Result<i32, CliError> {
    let TargetArgs { ids, reason } = args.targets;
    control(ClientRequest::Restart { targets: ids }, reason, context)
}

pub(crate) fn reload(args: ReloadArgs, context: &Context) -> Result<i32, CliError> {
    let TargetArgs { ids, reason } = args.targets;
    control(ClientRequest::Reload { targets: ids }, reason, context)
}

pub(crate) fn scale(args: ScaleArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.existing_ledger_dir()?;
    let mut outcomes = Vec::new();
    let mut refusal = None;
    for (name, instances) in args.scales {
        let request = ClientRequest::Scale { name: name.clone(), instances };
        match order(&dir, request, args.reason.clone()) {
            Ok(CallAnswer::Outcomes(done)) => outcomes.extend(done),
            Ok(_) => {}
            Err(error) => {
                outcomes.push(Outcome {
                    name,
                    action: Action::Scale,
                    bytes: None,
                    error: Some(error.message().to_owned()),
                    note: None,
                });
                refusal = Some(error);
            }
        }
    }
    let printed = print_outcomes(&CallAnswer::Outcomes(outcomes), context);
    match refusal {
        // The reason for which the daemon refused the request is more useful than the generic error.
        Some(refusal) => printed.map_err(|error| error.because_of(refusal)),
        None => printed,
    }
}

fn control(request: ClientRequest, reason: Option<String>, context: &Context) -> Result<i32, CliError> {
    let dir = context.existing_ledger_dir()?;
    print_outcomes(&order(&dir, request, reason)?, context)
}
