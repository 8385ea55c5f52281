//! The command `tail`, which shows the events of the ledger in order.

use std::{
    collections::{HashMap, VecDeque},
    thread,
    time::Duration,
};

use apm2_core::notify::FileWatch;
use apm2_daemon::{
    DAEMON_SOCKET,
    client::{Client, ClientError},
};
use apm2_ledger::{JOURNAL_DIR, Origin, ReadError, Reader};
use apm2_model::{
    event::{Event, kind::EventKind, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    commands::show::parse_count,
    context::Context,
    daemon::{connect, follow_events},
    error::CliError,
    history::Step,
    options::Format,
    render,
    terminal::say,
    time::At,
    view::{
        event::EventView,
        notice::{Notice, items},
    },
};

/// Default number of events to print.
const EVENTS_SHOWN: usize = 20;

/// Time to wait after a lost connection before `tail` connects again, because the daemon may still be shutting down.
const DAEMON_POLL: Duration = Duration::from_millis(200);

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
  apm2-ledger --format jsonl tail -n 1000 | jq .type")]
pub(crate) struct TailArgs {
    /// Only events of these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// Wait for new events and print them; in JSON, one object a line
    #[arg(long, short)]
    follow: bool,
    /// Last N events, or `all`. Default: 20, or all with --since
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    events: Option<usize>,
    /// Only events after this: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    since: Option<At>,
    /// Only events up to this: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ", conflicts_with = "follow")]
    until: Option<At>,
    /// Only events of this type, such as crashed
    #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::NAMES)]
    types: Vec<String>,
}

pub(crate) fn run(args: &TailArgs, context: &Context) -> Result<i32, CliError> {
    let reader = context.reader()?;
    let ids = args.ids.iter().map(|id| reader.find(id)).collect::<Result<Vec<_>, _>>()?.concat();
    let filter = Filter { ids, types: args.types.clone() };
    let head = reader.head().map_or(0, |head| head.size);
    let until = match args.until {
        Some(until) => context.moment(&reader, Some(until), "--until")?.seq,
        None => u64::MAX,
    };
    let max = args.events.unwrap_or(if args.since.is_some() { usize::MAX } else { EVENTS_SHOWN });
    let is_filtered = !filter.ids.is_empty() || !filter.types.is_empty();
    let after = match args.since {
        Some(since) => context.moment(&reader, Some(since), "--since")?.seq.min(head),
        // All events are read, because the last events that match a filter may be anywhere in the ledger.
        None if is_filtered => 0,
        None => until.min(head).saturating_sub(u64::try_from(max).unwrap_or(u64::MAX)),
    };
    // Endless output cannot be one JSON document, so `--follow` prints one JSON object per line.
    let is_endless = args.follow && context.format == Format::Json;
    let format = if is_endless { Format::Jsonl } else { context.format };
    let mut tail = Tail::after(&reader, after, format)?;
    let mut steps: VecDeque<Step> = VecDeque::new();
    for event in reader.events(after.saturating_add(1), until) {
        let step = tail.step(event?)?;
        if filter.wants(&step.event) {
            steps.push_back(step);
            if steps.len() > max {
                steps.pop_front();
            }
        }
    }
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    drop(reader);
    tail.print(&steps.into_iter().collect::<Vec<_>>(), context.notice(), context)?;
    if args.follow { follow(tail, &filter, context) } else { Ok(0) }
}

/// Selects the events that are printed.
struct Filter {
    ids: Vec<StreamId>,
    types: Vec<String>,
}

impl Filter {
    fn wants(&self, event: &Event) -> bool {
        (self.ids.is_empty() || self.ids.contains(&event.stream))
            && (self.types.is_empty() || self.types.iter().any(|kind| kind == event.kind.name()))
    }
}

/// The state of each stream after the last event. An event itself does not contain the state before it.
struct Tail {
    streams: HashMap<StreamId, Stream>,
    seen: u64,
    format: Format,
}

impl Tail {
    fn after(reader: &Reader, seq: u64, format: Format) -> Result<Self, CliError> {
        let streams = if seq == 0 {
            HashMap::default()
        } else {
            reader.replay(seq, Origin::Snapshot)?.streams.into_iter().collect()
        };
        Ok(Self { streams, seen: seq, format })
    }

    fn step(&mut self, event: Event) -> Result<Step, ReadError> {
        self.seen = event.seq;
        if event.stream.is_system() {
            return Ok(Step { event, transition: None });
        }
        let illegal = |source| ReadError::Illegal { seq: event.seq, source };
        let transition = match self.streams.get_mut(&event.stream) {
            Some(stream) => stream.apply_with_transition(&event).map_err(illegal)?,
            None => {
                let stream = Stream::begin(&event).map_err(illegal)?;
                self.streams.insert(event.stream, stream);
                None
            }
        };
        Ok(Step { event, transition })
    }

    /// Applies an event, and prints it if it matches.
    fn take(&mut self, event: Event, filter: &Filter, context: &Context) -> Result<(), CliError> {
        let step = self.step(event)?;
        if filter.wants(&step.event) { self.print(&[step], None, context) } else { Ok(()) }
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

/// Prints new events, including those of later daemons. While no daemon runs, reads the events from the journal.
fn follow(mut tail: Tail, filter: &Filter, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let unwatched = |error| CliError::failed(format!("the ledger cannot be watched: {error}"));
    let mut watch = FileWatch::new().map_err(unwatched)?;
    watch.add_file(&dir.join(DAEMON_SOCKET));
    watch.add_dir(&dir.join(JOURNAL_DIR));
    loop {
        let client = if context.is_offline() { None } else { connect(&dir)? };
        match client {
            Some(client) => {
                from_daemon(client, &mut tail, filter, context)?;
                context.remark(|| "the daemon has ended; waiting for the next one".to_owned());
                thread::sleep(DAEMON_POLL);
            }
            None => {
                let reader = Reader::open(&dir)?;
                for event in reader.events(tail.seen.saturating_add(1), u64::MAX) {
                    tail.take(event?, filter, context)?;
                }
                watch.wait(LOOK_MAX);
            }
        }
    }
}

/// Prints the events that one daemon sends, until the connection is lost.
fn from_daemon(client: Client, tail: &mut Tail, filter: &Filter, context: &Context) -> Result<(), CliError> {
    let first = tail.seen.saturating_add(1);
    match follow_events(client, first, |event| tail.take(event, filter, context)) {
        Ok(printed) => printed,
        Err(ClientError::Gone(_)) => Ok(()),
        Err(error) => {
            say("cannot go on");
            Err(error.into())
        }
    }
}
