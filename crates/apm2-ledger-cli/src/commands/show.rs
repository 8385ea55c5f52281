//! The command `show`, which shows one process with its runs and its events.

use apm2_ledger::{FindError, ReadError, Reader};
use apm2_model::{event::stream_id::StreamId, id_query::UnclearId};

use crate::{
    context::Context,
    error::{CliError, ErrorKind},
    history::{InstanceHistory, Shown},
    options::Format,
    render,
    status::InstanceStatus,
    terminal::say,
    time::At,
    view::{ProcessView, event::EventView, notice::items},
};

/// Default number of runs in a table. A process that fails repeatedly can have hundreds of runs.
const RUNS_SHOWN: usize = 10;

/// Default number of events in a table. An unstable health check can record thousands of events.
const EVENTS_SHOWN: usize = 50;

/// Show one process: its state, its runs and its events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger show build
  apm2-ledger show worker-3 --events all       all events, not only the last 50
  apm2-ledger show worker-3 --runs 100         the last 100 runs
  apm2-ledger show 3f2a --at '1h ago'
  apm2-ledger --format json show build | jq '.runs[] | select(.exit.signal)'
  apm2-ledger --format jsonl show build        one event per line")]
pub(crate) struct ShowArgs {
    /// Process id, unique prefix of one (4 characters or more), name, or NAME-INSTANCE
    id: String,
    /// Show the process at that time: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// Last N events, or `all`. Default: 50, or all in JSON
    #[arg(long, value_name = "N", value_parser = parse_count)]
    events: Option<usize>,
    /// Last N runs, or `all`. Default: 10, or all in JSON
    #[arg(long, value_name = "N", value_parser = parse_count)]
    runs: Option<usize>,
}

/// A number of events or runs, or `all`.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    if text == "all" { Ok(usize::MAX) } else { text.parse().map_err(|_| "write a number, or `all`".to_owned()) }
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> Result<i32, CliError> {
    let supervision = context.supervision()?;
    let reader = context.reader()?;
    let moment = context.moment(&reader, args.at, "--at")?;
    let history =
        history(&reader, one(&reader, &args.id)?, moment.seq)?.ok_or_else(|| not_yet(&args.id, moment.seq))?;
    let status_context = context.status_context(moment, supervision, Some(&reader))?;
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    drop(reader);
    let is_table = context.format == Format::Table;
    // JSON output is complete by default.
    let count = |given: Option<usize>, of_table| given.unwrap_or(if is_table { of_table } else { usize::MAX });
    let shown = Shown { runs: count(args.runs, RUNS_SHOWN), events: count(args.events, EVENTS_SHOWN) };
    let status = status_context.status(&history.stream);
    print(&history, &status, shown, context)?;
    if let Some(warning) = status_context.warning(std::slice::from_ref(&status)) {
        say(&warning);
    }
    Ok(0)
}

/// The id of the stream that the text `id` identifies.
fn one(reader: &Reader, id: &str) -> Result<StreamId, CliError> {
    match reader.find(id)?.as_slice() {
        [] => Err(FindError::from(UnclearId::Unknown(id.to_owned())).into()),
        [stream] => Ok(*stream),
        [first, .., last] => {
            let (first, last) = (first.instance, last.instance);
            let message = format!("{id} has several instances, {first} to {last}");
            Err(CliError::usage(message).with_hint(format!("ask for one of them: {id}-{first}")))
        }
    }
}

/// The history of the stream `id` up to event `seq`; `None` if the stream has no events up to there.
fn history(reader: &Reader, id: StreamId, seq: u64) -> Result<Option<InstanceHistory>, ReadError> {
    let mut history: Option<InstanceHistory> = None;
    for event in reader.stream_events(id) {
        let event = event?;
        if event.seq > seq {
            break;
        }
        let seq = event.seq;
        match &mut history {
            Some(history) => history.push(event),
            None => InstanceHistory::begin(event).map(|begun| history = Some(begun)),
        }
        .map_err(|source| ReadError::Illegal { seq, source })?;
    }
    Ok(history)
}

fn not_yet(id: &str, seq: u64) -> CliError {
    CliError::new(ErrorKind::NoSuchProcess, format!("there was no process {id:?} yet at event {seq}"))
        .with_hint("`apm2-ledger list --at` shows those that there were")
}

fn print(
    history: &InstanceHistory,
    status: &InstanceStatus<'_>,
    shown: Shown,
    context: &Context,
) -> Result<(), CliError> {
    match context.format {
        Format::Json => context.print_json(&ProcessView::new(history, status, shown, context.notice())),
        Format::Jsonl => {
            let events = history.last_steps(shown.events).iter().map(EventView::new);
            context.print_jsonl(items(context.notice(), events))
        }
        Format::Table => context.print(|out| render::process::show(out, history, status, shown, context.layout)),
    }
}
