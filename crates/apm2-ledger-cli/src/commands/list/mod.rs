//! The command `list`, which shows every instance with its state.

pub(crate) mod args;
mod listing;
pub(crate) mod sort_key;

use std::{collections::BTreeSet, thread, time::Duration};

use apm2_ledger::{ReadLedger as _, StatesQuestion, StreamAt};

use self::{args::ListArgs, listing::Listing};
use crate::{
    context::{Context, NoAnswer},
    error::CliError,
    moment::Moment,
    options::Format,
    source::LedgerSource,
    status::Supervision,
    supervisors::watched,
    terminal::say,
};

/// The escape sequence that clears a terminal and moves the cursor to the top left corner.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

/// Shortest refresh interval of `--watch`.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);

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
        let moment = watched(source, moment, supervision)?;
        let status_context = context.status_context(moment, supervision, source.recorded_until()?)?;
        let mut listing = Listing::new(args, status_context, context);
        source.states(&question, &mut |stream| listing.add(&stream))?;
        Ok(listing)
    };
    match args.at {
        Some(_) => context.read_supervised(ask),
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
