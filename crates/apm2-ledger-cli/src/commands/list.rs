//! `list`: every instance with its state.

use std::{thread, time::Duration};

use apm2_ledger::Origin;
use apm2_model::state::{ProcessState, stream::Stream};

use crate::{
    context::{Context, FromDaemon, write_json, write_jsonl},
    error::CliError,
    moment::Moment,
    options::Format,
    render,
    standing::{Observed, Scene, Standing, Supervision},
    terminal::say,
    time::At,
    view::{self, notice::items},
};

/// States by the names that programs see.
const STATES: [&str; 9] =
    ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated", "gone", "unknown"];

/// What clears a terminal and begins at its top.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

/// The shortest time between two lists.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// List what is supervised with its state, now or at an earlier time
///
/// A state is the daemon's word. Where no daemon answers, what is on record as alive is compared with what the kernel knows:
/// `running (not supervised)`, `gone (not recorded)`, or `unknown (another host or boot)`. With --at nothing is compared, and
/// each `run` counts as supervised, since the record does not say when it was over for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger list
  apm2-ledger list --all                       what was removed and each `run` that is over, too
  apm2-ledger list --state crashed
  apm2-ledger list --watch                     again each second, until interrupted
  apm2-ledger list --at '2h ago'               or 14:00, yesterday, '2026-01-31 14:00'
  apm2-ledger list --at 2026-01-31T12:00:00Z
  apm2-ledger list --at 1200                   just after event 1200
  apm2-ledger --format json list | jq '.[] | select(.restart_count > 3) | .display_name'")]
pub(crate) struct ListArgs {
    /// List what there was then: a time or an event's number
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// List the instances of this name only
    #[arg(long)]
    name: Option<String>,
    /// List what was removed and each `run` that is over, too
    #[arg(long, short)]
    all: bool,
    /// List the instances in this state only; without a daemon, `gone` and `unknown` are those whose state cannot be
    /// what is on record
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// List again and again: each second, or as often as this says
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

/// Prints one list, behind what makes place for it.
fn once(args: &ListArgs, clear: &[u8], context: &Context) -> Result<i32, CliError> {
    let (streams, scene) = streams(args.at, context)?;
    let is_named = |stream: &&Stream| args.name.as_ref().is_none_or(|name| *name == stream.handle.spec.name);
    let named = sorted(streams.iter().filter(is_named));
    let listed: Vec<&Stream> = named.iter().copied().filter(|stream| args.all || scene.is_kept(stream)).collect();
    let unlisted = named.len() - listed.len();
    let is_wanted = |standing: &Standing<'_>| {
        let state = standing.state().map_or_else(Observed::name, ProcessState::name);
        args.state.as_ref().is_none_or(|wanted| wanted == state)
    };
    let mut standings = scene.standings(&listed);
    let caveat = scene.caveat(&standings);
    standings.retain(is_wanted);
    print(&standings, clear, context)?;
    if standings.is_empty() {
        say(&nothing(unlisted));
    }
    if let Some(caveat) = caveat {
        say(&caveat);
    }
    Ok(0)
}

/// That there is nothing to list, and what else there is.
fn nothing(unlisted: usize) -> String {
    match unlisted {
        0 => "no processes".to_owned(),
        1 => "no processes; 1 more that is over or removed, see --all".to_owned(),
        more => format!("no processes; {more} more that are over or removed, see --all"),
    }
}

/// All instances at that moment: from the daemon if it is now and there is one, else from the ledger.
fn streams(at: Option<At>, context: &Context) -> Result<(Vec<Stream>, Scene), CliError> {
    let supervision = match at {
        Some(_) => Supervision::Absent,
        None => match context.streams_of_daemon()? {
            FromDaemon::Streams(streams) => {
                let scene = context.scene(Moment::present(), Supervision::Answered, None)?;
                return Ok((streams, scene));
            }
            FromDaemon::Nothing(supervision) => supervision,
        },
    };
    // Whoever reads the list may take their time: the ledger is not kept from others meanwhile.
    let reader = context.reader()?;
    let moment = context.moment(&reader, at, "--at")?;
    let replayed = reader.replay(moment.seq, Origin::Snapshot)?;
    let scene = context.scene(moment, supervision, Some(&reader))?;
    Ok((replayed.streams.into_values().collect(), scene))
}

/// In the order in which people look for them: by name, then instance, then id.
pub(crate) fn sorted<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<&'a Stream> {
    let mut streams: Vec<_> = streams.collect();
    streams.sort_unstable_by_key(|stream| (&stream.handle.spec.name, stream.id.instance, stream.id.process_id));
    streams
}

fn print(standings: &[Standing<'_>], clear: &[u8], context: &Context) -> Result<(), CliError> {
    // In one piece: a terminal that is empty meanwhile flickers.
    let mut text = clear.to_vec();
    let handles = || items(context.notice(), view::handles(standings));
    match context.format {
        Format::Json => write_json(&mut text, &handles().collect::<Vec<_>>())?,
        Format::Jsonl => write_jsonl(&mut text, handles())?,
        Format::Table => render::process::list(&mut text, standings, context.layout)?,
    }
    context.print(|out| out.write_all(&text))
}
