//! `show`: one process, its runs and its events.

use apm2_ledger::{FindError, ReadError, Reader};
use apm2_model::{event::stream_id::StreamId, id_query::UnclearId};

use crate::{
    context::Context,
    error::{CliError, ErrorKind},
    history::{History, Shown},
    options::Format,
    render,
    standing::Standing,
    terminal::say,
    time::At,
    view::{ProcessView, event::EventView, notice::items},
};

/// The runs that a table shows unless more are asked for: what fails again and again has hundreds.
const RUNS_SHOWN: usize = 10;

/// The events that a table shows unless more are asked for: a health check that flaps leaves thousands.
const EVENTS_SHOWN: usize = 50;

/// Show one process: its state, its runs and its events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger show build
  apm2-ledger show worker-3 --events all       not the last 50 events only
  apm2-ledger show worker-3 --runs 100         the last 100 runs
  apm2-ledger show 3f2a --at '1h ago'
  apm2-ledger --format json show build | jq '.runs[] | select(.exit.signal)'
  apm2-ledger --format jsonl show build        one event a line")]
pub(crate) struct ShowArgs {
    /// A process id, a unique prefix of one (4 or more), a name, or name-instance
    id: String,
    /// Show what was known then: a time or an event's number
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// Show the last N events only, or `all`. Default: 50, and all of them in JSON
    #[arg(long, value_name = "N", value_parser = parse_count)]
    events: Option<usize>,
    /// Show the last N runs only, or `all`. Default: 10, and all of them in JSON
    #[arg(long, value_name = "N", value_parser = parse_count)]
    runs: Option<usize>,
}

/// A number, or `all`.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    if text == "all" { Ok(usize::MAX) } else { text.parse().map_err(|_| "write a number, or `all`".to_owned()) }
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> Result<i32, CliError> {
    let supervision = context.supervision()?;
    let reader = context.reader()?;
    let moment = context.moment(&reader, args.at, "--at")?;
    let history =
        history(&reader, one(&reader, &args.id)?, moment.seq)?.ok_or_else(|| not_yet(&args.id, moment.seq))?;
    let scene = context.scene(moment, supervision, Some(&reader))?;
    // As in `list`: nobody waits for whoever reads the page.
    drop(reader);
    let is_table = context.format == Format::Table;
    // What programs read is whole unless they ask for less.
    let count = |given: Option<usize>, of_table| given.unwrap_or(if is_table { of_table } else { usize::MAX });
    let shown = Shown { runs: count(args.runs, RUNS_SHOWN), events: count(args.events, EVENTS_SHOWN) };
    let standing = scene.standing(&history.stream);
    print(&history, &standing, shown, context)?;
    if let Some(caveat) = scene.caveat(std::slice::from_ref(&standing)) {
        say(&caveat);
    }
    Ok(0)
}

/// The one stream that `id` means.
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

/// Folds the events of `id` up to `seq`; `None` when it has none until then.
fn history(reader: &Reader, id: StreamId, seq: u64) -> Result<Option<History>, ReadError> {
    let mut history: Option<History> = None;
    for event in reader.stream_events(id) {
        let event = event?;
        if event.seq > seq {
            break;
        }
        let seq = event.seq;
        match &mut history {
            Some(history) => history.push(event),
            None => History::begin(event).map(|begun| history = Some(begun)),
        }
        .map_err(|source| ReadError::Illegal { seq, source })?;
    }
    Ok(history)
}

fn not_yet(id: &str, seq: u64) -> CliError {
    CliError::new(ErrorKind::NoSuchProcess, format!("there was no process {id:?} yet at event {seq}"))
        .with_hint("`apm2-ledger list --at` shows those that there were")
}

fn print(history: &History, standing: &Standing<'_>, shown: Shown, context: &Context) -> Result<(), CliError> {
    match context.format {
        Format::Json => context.print_json(&ProcessView::new(history, standing, shown, context.notice())),
        Format::Jsonl => {
            let events = history.last_steps(shown.events).iter().map(EventView::new);
            context.print_jsonl(items(context.notice(), events))
        }
        Format::Table => context.print(|out| render::process::show(out, history, standing, shown, context.layout)),
    }
}
