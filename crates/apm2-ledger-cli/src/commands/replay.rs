//! The command `replay`, which computes the state of every instance again from the journal.

use std::time::{Duration, Instant};

use apm2_ledger::Origin;
use apm2_model::duration::millis;
use serde::Serialize;

use crate::{
    commands::list::sort_key::SortKey,
    context::Context,
    error::CliError,
    options::Format,
    render::{self, words, zone::Zone},
    source::last_time,
    terminal::say,
    time::At,
    view::{
        self,
        handle::HandleView,
        notice::{Notice, items},
    },
};

/// Rebuild every handle from the journal, and report the time it took
///
/// Reads, checks and applies every event from the first one. The result must equal that of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger replay
  apm2-ledger replay --at 1200                 the state directly after event 1200
  apm2-ledger replay --from-snapshot           begin with the latest snapshot
  apm2-ledger --format json replay | jq .elapsed_ms")]
pub(crate) struct ReplayArgs {
    /// Stop at that point: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// Start from the latest snapshot instead of the first event
    #[arg(long)]
    from_snapshot: bool,
}

/// JSON view of a replay.
#[derive(Debug, Serialize)]
struct ReplayView<'a> {
    /// The sequence number of the last applied event.
    seq: u64,
    /// The number of applied events.
    events: u64,
    elapsed_ms: u64,
    handles: Vec<HandleView<'a>>,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

pub(crate) fn run(args: &ReplayArgs, context: &Context) -> Result<i32, CliError> {
    let supervision = context.supervision()?;
    let reader = context.reader()?;
    let moment = context.moment(&reader, args.at, "--at")?;
    let origin = if args.from_snapshot { Origin::Snapshot } else { Origin::Genesis };
    let begun = Instant::now();
    let replayed = reader.replay(moment.seq, origin)?;
    let elapsed = begun.elapsed();
    let status_context = context.status_context(moment, supervision, last_time(&reader)?)?;
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    drop(reader);

    let mut streams: Vec<_> = replayed.streams.values().collect();
    streams.sort_by_cached_key(|stream| SortKey::of(stream));
    let statuses = status_context.statuses(&streams);
    match context.format {
        Format::Json => context.print_json(&ReplayView {
            seq: replayed.seq,
            events: replayed.events,
            elapsed_ms: millis(elapsed),
            handles: view::handles(&statuses),
            notice: context.notice(),
        })?,
        Format::Jsonl => context.print_jsonl(items(context.notice(), view::handles(&statuses)))?,
        Format::Table => context.print(|out| render::process::list(out, &statuses, context.layout))?,
    }
    if let Some(warning) = status_context.warning(&statuses, Zone::of_stderr()) {
        say(&warning);
    }
    if context.format != Format::Json {
        say(&summary(replayed.events, elapsed));
    }
    Ok(0)
}

/// The summary line: number of events, elapsed time, and events per second.
fn summary(events: u64, elapsed: Duration) -> String {
    let per_second = u128::from(events) * 1_000_000_000 / elapsed.as_nanos().max(1);
    let per_second = words::count(u64::try_from(per_second).unwrap_or(u64::MAX));
    let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
    format!("replayed {} in {elapsed_ms:.1} ms ({per_second} events/s)", words::counted(events, "event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_times() {
        assert_eq!(summary(2000, Duration::from_millis(500)), "replayed 2,000 events in 500.0 ms (4,000 events/s)");
        assert_eq!(summary(0, Duration::ZERO), "replayed 0 events in 0.0 ms (0 events/s)");
    }
}
