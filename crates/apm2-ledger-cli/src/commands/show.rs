//! The command `show`, which shows one process with its runs and its events.

use apm2_ledger::{FindError, ReadLedger as _};
use apm2_model::{event::stream_id::StreamId, id_query::UnclearId};

use crate::{
    context::Context,
    error::{CliError, ErrorKind},
    filter::EventFilter,
    history::{InstanceHistory, Shown},
    options::{Format, typed},
    render::{self, zone::Zone},
    source::{LedgerSource, ReadFailure},
    status::{InstanceStatus, StatusContext, Supervision},
    supervisors::watched,
    terminal::say,
    view::{ProcessView, event::EventView, notice::items},
};

/// Default number of runs in a table. A process that fails repeatedly can have hundreds of runs.
const RUNS_SHOWN: u64 = 10;

/// Default number of events in a table. An unstable health check can record thousands of events.
const EVENTS_SHOWN: u64 = 50;

/// Show one process: its state, its runs and its events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger show build
  apm2-ledger show worker-3 --events all       all events, not only the last 50
  apm2-ledger show worker-3 --runs 100         the last 100 runs
  apm2-ledger show 3f2a --at '1h ago'
  apm2-ledger show build --actor operator      what users asked for
  apm2-ledger --format json show build | jq '.runs[] | select(.exit.signal)'
  apm2-ledger --format jsonl show build        one event per line")]
pub(crate) struct ShowArgs {
    /// Process id, unique prefix of one (4 characters or more), name, or NAME-INSTANCE
    id: String,
    /// Last N events, or `all`. Default: 50, or all in JSON
    #[arg(long, visible_alias = "limit", value_name = "N", value_parser = parse_count)]
    events: Option<u64>,
    /// Last N runs, or `all`. Default: 10, or all in JSON
    #[arg(long, value_name = "N", value_parser = parse_count)]
    runs: Option<u64>,
    /// List the last event first
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    filter: EventFilter,
}

/// A number of events or runs, or `all`.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    if text == "all" { Ok(u64::MAX) } else { text.parse().map_err(|_| "write a number, or `all`".to_owned()) }
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> Result<i32, CliError> {
    let is_table = context.format == Format::Table;
    // JSON output is complete by default.
    let count = |given: Option<u64>, of_table| given.unwrap_or(if is_table { of_table } else { u64::MAX });
    let shown = Shown { runs: count(args.runs, RUNS_SHOWN), events: count(args.events, EVENTS_SHOWN) };
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    let ask = |source: &LedgerSource, supervision| read(source, supervision, args, shown, context);
    let (history, status_context) = context.read_supervised(ask)?;
    let status = status_context.status(&history.stream);
    print(&history, &status, context)?;
    if let Some(warning) = status_context.warning(std::slice::from_ref(&status), Zone::of_stderr()) {
        say(&warning);
    }
    Ok(0)
}

/// The history, and what its display needs in addition.
fn read(
    source: &LedgerSource,
    supervision: Supervision,
    args: &ShowArgs,
    shown: Shown,
    context: &Context,
) -> Result<(InstanceHistory, StatusContext), ReadFailure> {
    let moment = context.moment(source, args.filter.until, typed("--until", "--at"))?;
    let id = one(source, &args.id)?;
    // All answers are about the ledger as it is now.
    let mut chosen = args.filter.choose(&[], source.head()?.end(), source, context)?;
    chosen.query.streams = vec![id];
    let history = InstanceHistory::read(source, id, &chosen, shown)?;
    let mut history = history.ok_or_else(|| not_yet(&args.id, moment.seq))?;
    if args.reverse {
        history.steps.reverse();
    }
    let moment = watched(source, moment, supervision)?;
    Ok((history, context.status_context(moment, supervision, source.recorded_until()?)?))
}

/// The id of the stream that the text `id` identifies.
pub(crate) fn one(source: &LedgerSource, id: &str) -> Result<StreamId, ReadFailure> {
    match source.named(id)?.as_slice() {
        [] => Err(CliError::from(FindError::from(UnclearId::Unknown(id.to_owned()))).into()),
        [stream] => Ok(*stream),
        [first, .., last] => {
            let (first, last) = (first.instance, last.instance);
            let message = format!("{id} has several instances, {first} to {last}");
            Err(CliError::usage(message).with_hint(format!("ask for one of them: {id}-{first}")).into())
        }
    }
}

pub(crate) fn not_yet(id: &str, seq: u64) -> CliError {
    CliError::new(ErrorKind::NoSuchProcess, format!("there was no process {id:?} yet at event {seq}"))
        .with_hint("`apm2-ledger list --at` shows those that there were")
}

fn print(history: &InstanceHistory, status: &InstanceStatus<'_>, context: &Context) -> Result<(), CliError> {
    match context.format {
        Format::Json => context.print_json(&ProcessView::new(history, status, context.notice())),
        Format::Jsonl => {
            let events = history.steps.iter().map(EventView::new);
            context.print_jsonl(items(context.notice(), events))
        }
        Format::Table => context.print(|out| render::process::show(out, history, status, context.layout)),
    }
}
