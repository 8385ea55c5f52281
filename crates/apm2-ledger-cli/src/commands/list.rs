//! `list`: every instance with its state.

use std::{thread, time::Duration};

use apm2_core::process::{Clock as _, Stream, SystemClock};
use apm2_ledger::Origin;

use crate::{
    args::Format,
    context::{Context, Moment, say, write_json, write_jsonl},
    error::CliError,
    render,
    time::At,
    view,
};

/// States by the names that programs see.
const STATES: [&str; 7] = ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated"];

/// What clears a terminal and begins at its top.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

/// The shortest time between two lists.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// List every process with its state, now or at an earlier time
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger list
  apm2-ledger list --state crashed
  apm2-ledger list --watch                     again each second, until interrupted
  apm2-ledger list --at '2h ago'
  apm2-ledger list --at 2026-01-31T12:00:00Z
  apm2-ledger list --at 1200                   just after event 1200
  apm2-ledger --format json list | jq '.[] | select(.restart_count > 3) | .display_name'")]
pub(crate) struct ListArgs {
    /// List what there was then: a time, `2h ago`, @unix or an event's number
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// List the instances of this name only
    #[arg(long)]
    name: Option<String>,
    /// List the instances in this state only
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// List again and again: each second, or as often as this says
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1s", conflicts_with = "at")]
    #[arg(value_parser = humantime::parse_duration, require_equals = true)]
    watch: Option<Duration>,
}

pub(super) fn run(args: &ListArgs, context: &Context) -> Result<i32, CliError> {
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

/// Prints one list, behind what makes place for it.
fn once(args: &ListArgs, clear: &[u8], context: &Context) -> Result<i32, CliError> {
    let (streams, moment) = streams(args.at, context)?;
    let wanted = |stream: &&Stream| {
        args.name.as_ref().is_none_or(|name| *name == stream.handle.spec.name)
            && args.state.as_ref().is_none_or(|state| *state == stream.handle.state.name())
    };
    let streams = sorted(streams.iter().filter(wanted));
    print(&streams, moment, clear, context)?;
    if streams.is_empty() {
        say("no processes");
    }
    Ok(0)
}

/// All instances at that moment: from the daemon if it is now and there is one, else from the ledger.
fn streams(at: Option<At>, context: &Context) -> Result<(Vec<Stream>, Moment), CliError> {
    if at.is_none()
        && let Some(streams) = context.streams_of_daemon()?
    {
        return Ok((streams, Moment { seq: u64::MAX, now: SystemClock.now().wall() }));
    }
    // Whoever reads the list may take their time: the ledger is not kept from others meanwhile.
    let reader = context.reader()?;
    let moment = context.moment(&reader, at)?;
    let replayed = reader.replay(moment.seq, Origin::Snapshot)?;
    Ok((replayed.streams.into_values().collect(), moment))
}

/// In the order in which people look for them: by name, then instance, then id.
pub(super) fn sorted<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<&'a Stream> {
    let mut streams: Vec<_> = streams.collect();
    streams.sort_unstable_by_key(|stream| (&stream.handle.spec.name, stream.id.instance, stream.id.process_id));
    streams
}

fn print(streams: &[&Stream], moment: Moment, clear: &[u8], context: &Context) -> Result<(), CliError> {
    // In one piece: a terminal that is empty meanwhile flickers.
    let mut text = clear.to_vec();
    match context.format {
        Format::Json => write_json(&mut text, &view::handles(streams, moment.now))?,
        Format::Jsonl => write_jsonl(&mut text, view::handles(streams, moment.now))?,
        Format::Table => render::process::list(&mut text, streams, moment.now, context.layout)?,
    }
    context.print(|out| out.write_all(&text))
}
