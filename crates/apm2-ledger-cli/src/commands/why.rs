//! The command `why`, which says why a process is in its state.

use apm2_ledger::ReadLedger as _;

use crate::{
    commands::show::{not_yet, one},
    context::Context,
    error::CliError,
    options::Format,
    render::{self, zone::Zone},
    source::{LedgerSource, ReadFailure},
    status::{InstanceStatus, StatusContext, Supervision},
    supervisors::watched,
    terminal::say,
    time::At,
    view::{
        notice::items,
        why::{CauseView, WhyView},
    },
    why::{
        cause::UnwatchedProcess,
        chain::{Chain, chain},
        evidence::Evidence,
    },
};

/// Say why a process is in its state
///
/// Prints the state in one sentence, and then its causes, the newest first: ends, restarts, refusals, stops, failed
/// health checks and intervals without a daemon, each with its time, who caused it, the recorded reason and the numbers
/// of its events. Everything is taken from the recorded events.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger why build
  apm2-ledger why worker-3 --at yesterday      why it was in the state that it had then
  apm2-ledger why worker-3 --at 1200           directly after event 1200
  apm2-ledger --format json why build | jq -r '.causes[0].text'
  apm2-ledger --format jsonl why build         one cause per line")]
pub(crate) struct WhyArgs {
    /// Process id, unique prefix of one (4 characters or more), name, or NAME-INSTANCE
    id: String,
    /// Explain the state at that time: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
}

pub(crate) fn run(args: &WhyArgs, context: &Context) -> Result<i32, CliError> {
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    let ask = |source: &LedgerSource, supervision| read(source, supervision, args, context);
    let (evidence, status_context) = context.read_supervised(ask)?;
    let status = status_context.status(&evidence.stream);
    print(&chain(&evidence, UnwatchedProcess::of(&status)), &status, context)?;
    if let Some(warning) = status_context.warning(std::slice::from_ref(&status), Zone::of_stderr()) {
        say(&warning);
    }
    Ok(0)
}

/// The events, and what their display needs in addition.
fn read(
    source: &LedgerSource,
    supervision: Supervision,
    args: &WhyArgs,
    context: &Context,
) -> Result<(Evidence, StatusContext), ReadFailure> {
    // All answers are about the ledger as it is now.
    let end = source.head()?.end();
    let moment = context.moment(source, args.at, "--at")?;
    let id = one(source, &args.id)?;
    let evidence = Evidence::read(source, id, moment.seq.min(end))?;
    let evidence = evidence.ok_or_else(|| not_yet(&args.id, moment.seq))?;
    let moment = watched(source, moment, supervision)?;
    Ok((evidence, context.status_context(moment, supervision, source.recorded_until()?)?))
}

fn print(chain: &Chain, status: &InstanceStatus<'_>, context: &Context) -> Result<(), CliError> {
    match context.format {
        Format::Json => context.print_json(&WhyView::new(chain, status, context.notice())),
        Format::Jsonl => context.print_jsonl(items(context.notice(), chain.causes.iter().map(CauseView::new))),
        Format::Table => context.print(|out| render::why::page(out, status, chain, context.layout)),
    }
}
