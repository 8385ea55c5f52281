//! The command `list`, which shows every instance with its state.

mod listing;

use std::{collections::BTreeSet, thread, time::Duration};

use apm2_ledger::{ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{event::end_filter::EndFilter, state::stream::Stream};

use self::listing::Listing;
use crate::{
    commands::show::parse_count,
    context::{Context, NoAnswer},
    error::CliError,
    moment::Moment,
    options::Format,
    source::LedgerSource,
    status::Supervision,
    terminal::say,
    time::At,
};

/// Names of the states in the JSON contract.
const STATES: [&str; 9] =
    ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated", "gone", "unknown"];

/// The escape sequence that clears a terminal and moves the cursor to the top left corner.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

/// Shortest refresh interval of `--watch`.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// List supervised processes with their states, now or at an earlier time
///
/// The daemon reports the states. When no daemon answers, processes that are recorded as alive are looked up in the kernel:
/// `running (not supervised)`, `gone (not recorded)`, or `unknown (another host or boot)`. With --at, states are shown as
/// recorded, and each `run` counts as supervised.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger list
  apm2-ledger list --all                       also removed processes and ended `run` commands
  apm2-ledger list --retained                  those that `retain` moved into an archive
  apm2-ledger list --state crashed --state gone
  apm2-ledger list --all --exit SIGKILL        whose last run was killed
  apm2-ledger list --watch                     each second, until interrupted
  apm2-ledger list --at '2h ago'               or 14:00, yesterday, '2026-01-31 14:00'
  apm2-ledger list --at 2026-01-31T12:00:00Z
  apm2-ledger list --at 1200                   directly after event 1200
  apm2-ledger --format json list | jq '.[] | select(.restart_count > 3) | .display_name'")]
pub(crate) struct ListArgs {
    /// List the processes at that time: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// Only instances with this name
    #[arg(long)]
    name: Option<String>,
    /// Only this process: a process id, a unique prefix of one, a name, or NAME-INSTANCE. Can be repeated
    #[arg(long, value_name = "ID")]
    process: Vec<String>,
    /// Also list removed processes and `run` commands that have ended
    #[arg(long, short)]
    all: bool,
    /// List the retained processes instead: those that `retain` has moved into an archive. They are not in other lists
    #[arg(long, conflicts_with_all = ["at", "process", "watch"])]
    retained: bool,
    /// Only instances in this state. `gone` and `unknown` occur without a daemon, when the recorded state is outdated or cannot
    /// be checked
    #[arg(long, value_parser = STATES)]
    state: Vec<String>,
    /// Only instances whose last run ended like this: an exit code (7), a signal (SIGKILL), `ok`, `failed`, `unknown` or
    /// `not-started`
    #[arg(long, value_name = "END")]
    exit: Vec<EndFilter>,
    /// First N instances of the list, or `all`
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_count, default_value = "all", hide_default_value = true)]
    limit: u64,
    /// List the last instance first
    #[arg(long)]
    reverse: bool,
    /// Repeat the list each second, or at the given interval
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1s", conflicts_with = "at")]
    #[arg(value_parser = humantime::parse_duration, require_equals = true)]
    watch: Option<Duration>,
}

pub(crate) fn run(args: &ListArgs, context: &Context) -> Result<i32, CliError> {
    let Some(interval) = args.watch else { return once(args, &[], context) };
    let clear = if context.layout.width_columns.is_some() { CLEAR } else { &[] };
    loop {
        once(args, clear, context)?;
        thread::sleep(interval.max(WATCH_INTERVAL_MIN));
        if context.layout.width_columns.is_none() && context.format == Format::Table {
            context.print(|out| writeln!(out))?;
        }
    }
}

/// Prints one list, after the escape sequence `clear`.
fn once(args: &ListArgs, clear: &[u8], context: &Context) -> Result<i32, CliError> {
    let mut listing = listing(args, context)?;
    // The screen is cleared and written in one write. Two writes would flicker.
    let mut text = clear.to_vec();
    let is_empty = listing.write(&mut text, context.notice())?;
    context.print(|out| out.write_all(&text))?;
    if is_empty {
        say(&listing.nothing());
    }
    if let Some(warning) = listing.warning() {
        say(&warning);
    }
    Ok(0)
}

/// All instances at this moment. If the daemon refuses to report the current states, the command fails: what is recorded may
/// then differ from them.
fn listing<'a>(args: &'a ListArgs, context: &Context) -> Result<Listing<'a>, CliError> {
    if args.retained {
        return retained(args, context);
    }
    let ask = |source: &LedgerSource, supervision| {
        let moment = context.moment(source, args.at, "--at")?;
        let question = if args.process.is_empty() {
            StatesQuestion::All(moment.seq)
        } else {
            let ids = args.process.iter().map(|id| source.named(id)).collect::<Result<Vec<_>, _>>()?.concat();
            let ids: BTreeSet<_> = ids.into_iter().collect();
            StatesQuestion::Of(ids.into_iter().map(|id| StreamAt { id, seq: moment.seq }).collect())
        };
        let status_context = context.status_context(moment, supervision, source.recorded_until()?)?;
        let mut listing = Listing::new(args, status_context, context);
        source.states(&question, &mut |stream| listing.add(&stream))?;
        Ok(listing)
    };
    match args.at {
        // Which processes are supervised now does not matter for a moment in the past.
        Some(_) => Ok(context.read(|source| ask(source, Supervision::Answered))?.0),
        None => match context.read_from_daemon(|source| ask(source, Supervision::Answered))? {
            Ok(listing) => Ok(listing),
            Err(NoAnswer::Supervision(supervision)) => context.read_from_journal(|source| ask(source, supervision)),
            Err(NoAnswer::Refused(error)) => Err(error),
        },
    }
}

/// All retained instances. They are read from the archives, which do not change, also beside a daemon.
fn retained<'a>(args: &'a ListArgs, context: &Context) -> Result<Listing<'a>, CliError> {
    let reader = context.reader()?;
    let status_context = context.status_context(Moment::present(), Supervision::Answered, None)?;
    let mut listing = Listing::new(args, status_context, context);
    reader.each_retained(|stream| listing.add(&stream))?;
    Ok(listing)
}

/// Instances are sorted by name, then by instance number, then by id.
pub(crate) fn sorted<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<&'a Stream> {
    let mut streams: Vec<_> = streams.collect();
    streams.sort_unstable_by_key(|stream| (&stream.handle.spec.name, stream.id.instance, stream.id.process_id));
    streams
}
