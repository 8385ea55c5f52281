//! The command `timeline`, which draws what each process did over a period.

use std::{
    collections::BTreeSet,
    env,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use apm2_ledger::{EventsQuestion, ReadLedger as _};
use apm2_model::{event::stream_id::StreamId, state::stream::Stream};
use clap::ValueHint;

use crate::{
    commands::show::parse_count,
    context::{Context, write_json, write_jsonl},
    error::CliError,
    export::partial_file::PartialFile,
    filter::EventFilter,
    options::Format,
    period_lanes::{Asked, PeriodLanes, Timeline},
    render::{
        self,
        timeline::{chart, figures::Extent, glyph::Glyphs, svg},
    },
    source::{LedgerSource, ReadFailure},
    stats::period::Period,
    terminal::say,
    view::{
        notice::items,
        timeline::{LaneView, TimelineView},
    },
};

/// Columns of a timeline that is not printed on a terminal, unless `COLUMNS` says how many.
const WIDTH: usize = 100;

/// Smallest and greatest width.
const WIDTH_MIN: usize = 40;
const WIDTH_MAX: usize = 2000;

/// Default number of lanes.
const LIMIT: &str = "60";

/// Draw what each process did over a period: a line of states and marks for each
///
/// The default period is the last 24 hours, or the whole history if that is shorter. Each state and mark has a character of its own,
/// and a colour where colours are in use; the legend names those that occur. Times in which no daemon ran are hatched: what
/// processes did then was not observed, and the last known state is shown by its colour. Below the lanes: how many processes were alive, at
/// least, and what is asked after a bad night, such as what failed first, which outage was the longest, what is still down, which
/// agent spent most, and what people did. Filters choose the processes that have such an event in the period.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger timeline
  apm2-ledger timeline worker api-0 --since '2h ago'
  apm2-ledger timeline --since 02:10 --until 02:20     was anything running at 02:13?
  apm2-ledger timeline --exit SIGKILL                  only processes that were killed
  apm2-ledger timeline --actor ann --since yesterday   only processes that ann started or stopped
  apm2-ledger timeline --format svg -o night.svg       a picture, for a browser
  apm2-ledger timeline --format json | jq '.figures.longest_outage'
  watch --color apm2-ledger --color always timeline --since '1h ago' --width \"$COLUMNS\"")]
pub(crate) struct TimelineArgs {
    /// Only these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// Width in columns; of a picture, the number of parts of the period. Default: that of the terminal, $COLUMNS, or 100
    #[arg(long, value_name = "N", value_parser = parse_width)]
    width: Option<usize>,
    /// Number of lanes, or `all`. Of more, those with the most outages and restarts are shown. With `all`, the figures below leave
    /// nothing out either
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_count, default_value = LIMIT)]
    limit: u64,
    /// Use ASCII characters only, as on a dumb terminal
    #[arg(long)]
    ascii: bool,
    /// Write to this file, which must not exist, and not to standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: EventFilter,
}

fn parse_width(text: &str) -> Result<usize, String> {
    let width = text.parse().ok().filter(|width| (WIDTH_MIN..=WIDTH_MAX).contains(width));
    width.ok_or_else(|| format!("write a number from {WIDTH_MIN} to {WIDTH_MAX}"))
}

pub(crate) fn run(args: &TimelineArgs, context: &Context) -> Result<i32, CliError> {
    let ((lanes, size), supervision) = context.read(|source| read(source, args, context))?;
    let timeline = lanes.finish(supervision);
    match &args.output {
        None => context.print(|out| print(out, &timeline, size, args, context))?,
        Some(path) => {
            let partial = PartialFile::create(path)?;
            let failed = |error: io::Error| CliError::failed(format!("{}: {error}", path.display()));
            let mut out = BufWriter::new(partial.file());
            print(&mut out, &timeline, size, args, context).and_then(|()| out.flush()).map_err(failed)?;
            drop(out);
            partial.complete()?;
            say(&format!("written to {}", path.display()));
        }
    }
    Ok(0)
}

fn print(
    out: &mut dyn Write,
    timeline: &Timeline,
    events: u64,
    args: &TimelineArgs,
    context: &Context,
) -> io::Result<()> {
    let shown = render::timeline::chosen(timeline, args.limit);
    let extent = if args.limit == u64::MAX { Extent::ALL } else { Extent::SHORT };
    if context.is_svg {
        return svg::write(out, timeline, (&shown, extent), context.layout.zone);
    }
    match context.format {
        Format::Json => write_json(out, &TimelineView::new(timeline, &shown, context.notice())),
        Format::Jsonl => {
            let lanes = shown.iter().filter_map(|place| timeline.lanes.lanes.get(*place));
            write_jsonl(out, items(context.notice(), lanes.map(|lane| LaneView::new(lane, timeline))))
        }
        Format::Table if timeline.lanes.lanes.is_empty() => writeln!(out, "{}", render::timeline::nothing(events)),
        Format::Table => {
            let glyphs = Glyphs::of_terminal(args.ascii);
            render::timeline::page(out, timeline, (context.layout, width(args, context)), glyphs, (&shown, extent))
        }
    }
}

/// The width of the text in columns.
fn width(args: &TimelineArgs, context: &Context) -> usize {
    let of_environment = || env::var("COLUMNS").ok()?.parse().ok();
    let width = args.width.or(context.layout.width_columns).or_else(of_environment).unwrap_or(WIDTH);
    width.clamp(WIDTH_MIN, WIDTH_MAX)
}

/// The lanes, and the number of events in the ledger.
fn read(source: &LedgerSource, args: &TimelineArgs, context: &Context) -> Result<(PeriodLanes, u64), ReadFailure> {
    let head = source.head()?;
    let ids = source.all_named(&args.ids)?;
    let EventFilter { since, until, .. } = args.filter;
    let period = Period::requested_or_recent(source, &ids, (since, until), head.end(), context)?;
    let chosen = chosen(source, &ids, args, &period)?;
    let buckets = |streams: &[Stream]| match (context.is_svg, context.format) {
        (true, _) => args.width.map_or(svg::BUCKETS, |width| u32::try_from(width).unwrap_or(svg::BUCKETS)),
        (false, Format::Table) => {
            let names: Vec<String> = streams.iter().map(|stream| stream.handle.display_name()).collect();
            chart::columns(names.iter().map(String::as_str), width(args, context)).1
        }
        (false, Format::Json | Format::Jsonl) => u32::try_from(args.width.unwrap_or(WIDTH)).unwrap_or(svg::BUCKETS),
    };
    Ok((
        PeriodLanes::read(source, Asked { ids: &ids, chosen: chosen.as_ref(), also: &[] }, &period, &buckets, false)?,
        head.size,
    ))
}

/// The processes that have the events that the filters choose; `None` without such a filter.
fn chosen(
    source: &LedgerSource,
    ids: &[StreamId],
    args: &TimelineArgs,
    period: &Period,
) -> Result<Option<BTreeSet<StreamId>>, ReadFailure> {
    if args.filter.has_times_only() {
        return Ok(None);
    }
    let mut query = args.filter.query();
    query.streams = ids.to_vec();
    let mut chosen = BTreeSet::new();
    source.events(&EventsQuestion::all(query, period.seqs), &mut |event| {
        if !event.stream.is_system() {
            chosen.insert(event.stream);
        }
        ControlFlow::Continue(())
    })?;
    Ok(Some(chosen))
}
