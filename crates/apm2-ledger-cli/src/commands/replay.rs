//! `replay`: every handle, rebuilt from the log.

use std::time::{Duration, Instant};

use apm2_ledger::Origin;
use apm2_model::duration::millis;
use serde::Serialize;

use crate::{
    commands::list::sorted,
    context::Context,
    error::CliError,
    options::Format,
    render::{self, words},
    terminal::say,
    time::At,
    view::{
        self,
        handle::HandleView,
        notice::{Notice, items},
    },
};

/// Rebuild every handle from the log, and say how long it took
///
/// Every event is read, checked and folded in again, from the first on. The result must be what `list` says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger replay
  apm2-ledger replay --at 1200                 as things were just after event 1200
  apm2-ledger replay --from-snapshot           begin with the latest snapshot
  apm2-ledger --format json replay | jq .elapsed_ms")]
pub(crate) struct ReplayArgs {
    /// Stop there: a time or an event's number
    #[arg(long, value_name = "TIME|SEQ")]
    at: Option<At>,
    /// Begin with the latest snapshot instead of the first event
    #[arg(long)]
    from_snapshot: bool,
}

/// A replay, as programs see it.
#[derive(Debug, Serialize)]
struct ReplayView<'a> {
    /// The last event folded in.
    seq: u64,
    /// How many events were folded in.
    events: u64,
    elapsed_ms: u64,
    handles: Vec<HandleView<'a>>,
    /// What is to be known of all of this; null of a sound ledger.
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
    let scene = context.scene(moment, supervision, Some(&reader))?;
    // As in `list`: nobody waits for whoever reads the result.
    drop(reader);

    let standings = scene.standings(&sorted(replayed.streams.values()));
    match context.format {
        Format::Json => context.print_json(&ReplayView {
            seq: replayed.seq,
            events: replayed.events,
            elapsed_ms: millis(elapsed),
            handles: view::handles(&standings),
            notice: context.notice(),
        })?,
        Format::Jsonl => context.print_jsonl(items(context.notice(), view::handles(&standings)))?,
        Format::Table => context.print(|out| render::process::list(out, &standings, context.layout))?,
    }
    if let Some(caveat) = scene.caveat(&standings) {
        say(&caveat);
    }
    if context.format != Format::Json {
        say(&summary(replayed.events, elapsed));
    }
    Ok(0)
}

/// How many events in which time, and how fast that is.
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
