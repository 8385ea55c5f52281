//! `list`: every instance with its state.

use apm2_core::process::Stream;
use apm2_ledger::Origin;

use crate::{
    args::Format,
    context::{Context, Moment, say},
    error::CliError,
    render,
    time::At,
    view,
};

/// States by the names that programs see.
const STATES: [&str; 7] = ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated"];

/// List every process with its state, now or at an earlier time
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger list
  apm2-ledger list --state crashed
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
}

pub(super) fn run(args: &ListArgs, context: &Context) -> Result<i32, CliError> {
    let reader = context.reader()?;
    let moment = context.moment(&reader, args.at)?;
    let replayed = reader.replay(moment.seq, Origin::Snapshot)?;
    let wanted = |stream: &&Stream| {
        args.name.as_ref().is_none_or(|name| *name == stream.handle.spec.name)
            && args.state.as_ref().is_none_or(|state| *state == stream.handle.state.name())
    };
    // Whoever reads the list may take their time: the ledger is not kept from others meanwhile.
    drop(reader);
    let streams = sorted(replayed.streams.values().filter(wanted));
    print(&streams, moment, context)?;
    if streams.is_empty() {
        say("no processes");
    }
    Ok(0)
}

/// In the order in which people look for them: by name, then instance, then id.
pub(super) fn sorted<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<&'a Stream> {
    let mut streams: Vec<_> = streams.collect();
    streams.sort_unstable_by_key(|stream| (&stream.handle.spec.name, stream.id.instance, stream.id.process_id));
    streams
}

fn print(streams: &[&Stream], moment: Moment, context: &Context) -> Result<(), CliError> {
    match context.format {
        Format::Json => context.print_json(&view::handles(streams, moment.now)),
        Format::Jsonl => context.print_jsonl(view::handles(streams, moment.now)),
        Format::Table => context.print(|out| render::process::list(out, streams, moment.now, context.layout)),
    }
}
