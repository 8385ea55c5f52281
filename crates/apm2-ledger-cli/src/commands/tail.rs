//! The command `tail`, which shows the events of the ledger in order.

use std::{path::Path, thread, time::Duration};

use apm2_core::notify::FileWatch;
use apm2_daemon::{
    DAEMON_SOCKET,
    client::{Client, ClientError},
    protocol::FailureKind,
};
use apm2_ledger::{EventQuery, EventsQuestion, JOURNAL_DIR, ReadError, ReadLedger as _, Reader, StatesQuestion};
use apm2_model::event::{Event, stream_id::StreamId};

use crate::{
    commands::show::parse_count,
    context::Context,
    daemon::{connect, follow_events},
    error::CliError,
    filter::{ChosenEvents, EventFilter},
    options::Format,
    render,
    source::{LedgerSource, ReadFailure},
    steps::{States, Step, apply, steps},
    terminal::say,
    view::{
        event::EventView,
        notice::{Notice, items},
    },
};

/// Default number of events to print.
const EVENTS_SHOWN: u64 = 20;

/// Time to wait after a lost connection before `tail` connects again, because the daemon may still be shutting down.
const DAEMON_POLL: Duration = Duration::from_millis(200);

/// Pause between two requests to a daemon that refuses them because its ledger is poisoned.
const POISONED_POLL: Duration = Duration::from_secs(1);

/// Longest wait before the journal is read again.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Show the events of the whole ledger in order
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger tail                       the last 20 events
  apm2-ledger tail -f                    and what comes
  apm2-ledger tail worker --since '1h ago' --type crashed --type restart_refused
  apm2-ledger tail --since yesterday --until '14:00'
  apm2-ledger tail --actor ann -n 50     what a user asked for
  apm2-ledger tail --exit failed --reverse
  apm2-ledger --format jsonl tail -n 1000 | jq .type")]
pub(crate) struct TailArgs {
    /// Only events of these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// Only events of this process, as an id before
    #[arg(long, value_name = "ID")]
    process: Vec<String>,
    /// Wait for new events and print them; in JSON, one object a line
    #[arg(long, short)]
    follow: bool,
    /// Last N events, or `all`. Default: 20, or all with --since
    #[arg(short = 'n', long, visible_alias = "limit", value_name = "N", value_parser = parse_count)]
    events: Option<u64>,
    /// Print the last event first
    #[arg(long, conflicts_with = "follow")]
    reverse: bool,
    #[command(flatten)]
    filter: EventFilter,
}

pub(crate) fn run(args: &TailArgs, context: &Context) -> Result<i32, CliError> {
    // Endless output cannot be one JSON document, so `--follow` prints one JSON object per line.
    if args.follow && args.filter.until.is_some() {
        return Err(CliError::usage("--follow has no end, so it cannot be used with --until".to_owned()));
    }
    let is_endless = args.follow && context.format == Format::Json;
    let format = if is_endless { Format::Jsonl } else { context.format };
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    let (Selected { query, steps, streams, seen }, _) = context.read(|source| select(source, args, context))?;
    let tail = Tail { streams, seen, format };
    tail.print(&steps, context.notice(), context)?;
    if args.follow { follow(tail, &query, context) } else { Ok(0) }
}

/// The events to print.
struct Selected {
    query: EventQuery,
    steps: Vec<Step>,
    /// The states of the streams after these events; with `--follow`, those of all streams after event `seen`.
    streams: States,
    /// The last event that was considered.
    seen: u64,
}

fn select(source: &LedgerSource, args: &TailArgs, context: &Context) -> Result<Selected, ReadFailure> {
    let (ids, end) = ([&args.ids[..], &args.process].concat(), source.head()?.end());
    let ChosenEvents { query, seqs } = args.filter.choose(&ids, end, source, context)?;
    let max = args.events.unwrap_or(if args.filter.has_beginning() { u64::MAX } else { EVENTS_SHOWN });
    let question = if max == u64::MAX {
        EventsQuestion::all(query.clone(), seqs)
    } else {
        EventsQuestion::last(query.clone(), seqs, max)
    };
    let (events, missing) = source.present_in_order(&question)?;
    let (mut steps, mut streams) = steps(source, events)?;
    context.note_missing(&missing);
    if args.reverse {
        steps.reverse();
    }
    let (_, until) = seqs;
    if args.follow {
        streams = source.states_of(&StatesQuestion::All(until))?.into_iter().map(|state| (state.id, state)).collect();
    }
    Ok(Selected { query, steps, streams, seen: until })
}

/// The state of each stream after the last event.
struct Tail {
    streams: States,
    seen: u64,
    format: Format,
}

impl Tail {
    fn step(&mut self, event: Event) -> Result<Step, ReadError> {
        self.seen = event.seq;
        let transition = apply(&mut self.streams, &event)?;
        Ok(Step { event, transition })
    }

    /// Applies an event, and prints it if it matches.
    fn take(&mut self, event: Event, query: &EventQuery, context: &Context) -> Result<(), CliError> {
        let step = self.step(event)?;
        if query.accepts(&step.event) { self.print(&[step], None, context) } else { Ok(()) }
    }

    /// Prints the notice about the ledger, if there is one, and then the events.
    fn print(&self, steps: &[Step], notice: Option<&Notice>, context: &Context) -> Result<(), CliError> {
        let events = || items(notice, steps.iter().map(EventView::new));
        match self.format {
            Format::Json => context.print_json(&events().collect::<Vec<_>>()),
            Format::Jsonl => context.print_jsonl(events()),
            Format::Table => {
                let name = |id: &StreamId| self.streams.get(id).map(|stream| stream.handle.display_name());
                context.print(|out| {
                    steps.iter().try_for_each(|step| {
                        let line = render::event::line(step, name(&step.event.stream).as_deref(), context.layout);
                        writeln!(out, "{line}")
                    })
                })
            }
        }
    }
}

/// Prints new events, including those of later daemons. While no daemon runs or the ledger is poisoned, reads the events
/// from the journal.
fn follow(mut tail: Tail, query: &EventQuery, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let unwatched = |error| CliError::failed(format!("the ledger cannot be watched: {error}"));
    let mut watch = FileWatch::new().map_err(unwatched)?;
    watch.add_file(&dir.join(DAEMON_SOCKET));
    watch.add_dir(&dir.join(JOURNAL_DIR));
    let mut is_said = false;
    loop {
        let client = if context.is_offline() { None } else { connect(&dir)? };
        match client {
            Some(client) => match from_daemon(client, &mut tail, query, context)? {
                FollowEnd::Lost => {
                    is_said = false;
                    context.remark(|| "the daemon has ended; waiting for the next one".to_owned());
                    thread::sleep(DAEMON_POLL);
                }
                FollowEnd::Unusable(why) => {
                    if !std::mem::replace(&mut is_said, true) {
                        say(&format!("waiting for the daemon: {why}"));
                    }
                    // If the daemon cannot read the ledger, this read fails, too, and returns its error.
                    from_journal(&dir, &mut tail, query, context)?;
                    thread::sleep(POISONED_POLL);
                }
            },
            None => {
                from_journal(&dir, &mut tail, query, context)?;
                watch.wait(LOOK_MAX);
            }
        }
    }
}

/// Prints the new events in the journal.
fn from_journal(dir: &Path, tail: &mut Tail, query: &EventQuery, context: &Context) -> Result<(), CliError> {
    let reader = Reader::open(dir)?;
    for event in reader.events(tail.seen.saturating_add(1), u64::MAX) {
        tail.take(event?, query, context)?;
    }
    Ok(())
}

/// The reason why a daemon sends no more events.
enum FollowEnd {
    /// The connection is lost.
    Lost,
    /// The daemon cannot use its ledger at present. The text is its message.
    Unusable(String),
}

/// Prints the events that one daemon sends, until the connection is lost or the daemon refuses.
fn from_daemon(client: Client, tail: &mut Tail, query: &EventQuery, context: &Context) -> Result<FollowEnd, CliError> {
    let first = tail.seen.saturating_add(1);
    match follow_events(client, first, |event| tail.take(event, query, context)) {
        Ok(printed) => printed.map(|()| FollowEnd::Lost),
        Err(ClientError::Gone(_)) => Ok(FollowEnd::Lost),
        Err(ClientError::Refused { kind: FailureKind::Unusable, message, .. }) => Ok(FollowEnd::Unusable(message)),
        Err(error) => {
            say("cannot go on");
            Err(error.into())
        }
    }
}
