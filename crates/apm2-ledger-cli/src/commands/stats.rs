//! The command `stats`, which shows statistics of runs in a period.

use apm2_daemon::ledger_settings::settings;
use apm2_ledger::{ReadLedger as _, disk_usage};
use chrono::TimeDelta;

use crate::{
    context::Context,
    disk::{DiskReport, LedgerExtent, log_sizes},
    error::CliError,
    options::{Format, typed},
    render,
    source::{LedgerSource, ReadFailure},
    stats::{InstanceStatistics, period::Period},
    time::At,
    view::{
        disk::DiskView,
        notice::items,
        stats::{InstanceStatsView, StatsView},
    },
};

/// The length of the default period for all processes.
const PERIOD: TimeDelta = TimeDelta::hours(24);

/// Show how often processes ran, crashed and recovered, and what they used
///
/// Without ids: a row for each process that was alive or had events in the period, by default the last 24 hours. With one
/// id: a page, by default of its whole history. The recorded samples give processor use and memory. Of a run whose end no
/// daemon observed, only the time until the last recorded event counts as uptime. RECOVERY is the mean time from a crash
/// until the process ran again.
///
/// With --disk: what the ledger takes on its disk, by part, and the logs in its directory by process.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger stats                            all processes, the last 24 hours
  apm2-ledger stats --since '7 days ago'
  apm2-ledger stats worker-3                   its whole history, with charts
  apm2-ledger stats worker --since yesterday --until today
  apm2-ledger stats --disk
  apm2-ledger --format json stats | jq '.processes[] | {name, crashes, up_share}'")]
pub(crate) struct StatsArgs {
    /// Only these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// The beginning of the period: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    since: Option<At>,
    /// The end of the period: a time or the sequence number of an event. Default: now
    #[arg(long, visible_alias = "at", value_name = "TIME|SEQ")]
    until: Option<At>,
    /// Show the space that the ledger takes on its disk
    #[arg(long, conflicts_with_all = ["ids", "since", "until"])]
    disk: bool,
}

pub(crate) fn run(args: &StatsArgs, context: &Context) -> Result<i32, CliError> {
    if args.disk {
        return disk(context);
    }
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    let ((statistics, period), _) = context.read(|source| read(source, args, context))?;
    match (context.format, statistics.as_slice()) {
        (Format::Json, all) => context.print_json(&StatsView::new(all, &period, context.notice()))?,
        (Format::Jsonl, all) => {
            let all = all.iter().map(|one| InstanceStatsView::new(one, period.to));
            context.print_jsonl(items(context.notice(), all))?;
        }
        (Format::Table, [one]) if !args.ids.is_empty() => {
            context.print(|out| render::stats::page(out, one, &period, context.layout))?;
        }
        (Format::Table, all) => context.print(|out| render::stats::table(out, all, &period, context.layout))?,
    }
    Ok(0)
}

/// Shows the sizes of the files of the ledger.
fn disk(context: &Context) -> Result<i32, CliError> {
    let dir = context.existing_ledger_dir()?;
    let (events, _) = context.read(LedgerExtent::read)?;
    let failed = |error| CliError::failed(format!("{}: {error}", dir.display()));
    let max_bytes = settings(&dir).map_err(failed)?.max_bytes;
    let report = DiskReport::new(&disk_usage(&dir).map_err(failed)?, &log_sizes(&dir).map_err(failed)?, events);
    let report = DiskReport { max_bytes, ..report };
    match context.format {
        Format::Json => context.print_json(&DiskView::new(&report, context.notice()))?,
        Format::Jsonl => context.print_jsonl([DiskView::new(&report, context.notice())])?,
        Format::Table => context.print(|out| render::disk::page(out, &report, context.layout))?,
    }
    Ok(0)
}

fn read(
    source: &LedgerSource,
    args: &StatsArgs,
    context: &Context,
) -> Result<(Vec<InstanceStatistics>, Period), ReadFailure> {
    let end = source.head()?.end();
    let ids = source.all_named(&args.ids)?;
    let since = match args.since {
        None if ids.is_empty() => {
            let to = context.moment(source, args.until, typed("--until", "--at"))?.now;
            Some(At::Time(to.checked_sub_signed(PERIOD).unwrap_or(to)))
        }
        since => since,
    };
    let period = Period::requested(source, &ids, (since, args.until), end, context)?;
    Ok((InstanceStatistics::read(source, &ids, &period)?, period))
}
