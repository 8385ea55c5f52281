//! The command `rebuild`, which builds the store of a ledger and damaged segments again.

use std::{
    io::{self, Write},
    path::Path,
};

use apm2_daemon::owner::{Ownership, ownership};
use apm2_ledger::{
    OpenError, Options, RebuildError, RebuildPlan, RebuildProgress, Rebuilt, SegmentRepair, rebuild, rebuild_plan,
};
use serde::Serialize;

use crate::{
    context::Context,
    error::{CliError, ErrorKind},
    options::Format,
    progress::ProgressLine,
    render::{
        color::Style,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table,
        },
        words::{NOTHING, bytes, count, counted},
    },
    view::notice::Seqs,
};

/// Build the store again from the journal, which also makes it smaller, and damaged segments of the journal from the store
///
/// The store (sled/) is an index of the journal. The new one is built beside the old one, checked as a whole, and takes its place;
/// then the old one is removed. When the command is interrupted, the ledger has one of them. No event is recorded.
///
/// Before that, the full segments of the journal are checked. A missing or damaged one is written again if the store has its
/// events and the hash chain proves them; the damaged file is kept, with the suffix `.damaged`. Any other segment is left as it
/// is and named: restore a backup, or `salvage` what is intact.
///
/// No daemon may have the ledger open: `apm2-ledger daemon --leave` ends it and leaves the processes running. A damaged store
/// is rebuilt without this command, when the ledger is opened.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger rebuild --dry-run          damaged segments, the size of the store, and the free space that is needed
  apm2-ledger rebuild
  apm2-ledger --format json rebuild | jq .bytes_after")]
pub(crate) struct RebuildArgs {
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of a rebuild, or of what one would do.
#[derive(Debug, Serialize)]
struct RebuildView {
    dry_run: bool,
    /// Bytes of the store before; 0 if there was none.
    bytes_before: u64,
    /// Bytes of the new store; null with `dry_run`.
    bytes_after: Option<u64>,
    /// Free bytes that the disk must have, beside a reserve; null after a rebuild.
    bytes_needed: Option<u64>,
    /// The number of events; null with `dry_run`.
    size: Option<u64>,
    /// The chain hash after these events, which is the same before and after.
    chain: Option<String>,
    /// The damaged segments of the journal.
    segments: Vec<SegmentView>,
}

/// JSON view of a damaged segment.
#[derive(Debug, Serialize)]
struct SegmentView {
    number: u64,
    /// Its events; null if they are not known.
    seqs: Option<Seqs>,
    /// What is wrong with it.
    damage: String,
    /// Whether it is written again, or would be.
    written: bool,
    /// Why it is left as it is; null if it is written again.
    refusal: Option<String>,
}

impl From<SegmentRepair> for SegmentView {
    fn from(repair: SegmentRepair) -> Self {
        let seqs = repair.first_seq.zip(repair.last_seq).map(|(first, last)| Seqs { first, last });
        let written = repair.refusal.is_none();
        Self { number: repair.number, seqs, damage: repair.damage, written, refusal: repair.refusal }
    }
}

fn segment_views(repairs: Vec<SegmentRepair>) -> Vec<SegmentView> {
    repairs.into_iter().map(SegmentView::from).collect()
}

impl From<RebuildPlan> for RebuildView {
    fn from(plan: RebuildPlan) -> Self {
        let (bytes_before, bytes_needed) = (plan.store_bytes, Some(plan.needed_bytes));
        let segments = segment_views(plan.segments);
        Self { dry_run: true, bytes_before, bytes_after: None, bytes_needed, size: None, chain: None, segments }
    }
}

impl From<Rebuilt> for RebuildView {
    fn from(done: Rebuilt) -> Self {
        Self {
            dry_run: false,
            bytes_before: done.bytes_before,
            bytes_after: Some(done.bytes_after),
            bytes_needed: None,
            size: Some(done.head.size),
            chain: Some(done.head.chain.to_string()),
            segments: segment_views(done.segments),
        }
    }
}

pub(crate) fn run(args: &RebuildArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let done = if args.dry_run { planned(&dir) } else { rebuilt(&dir) };
    let view = done.map_err(|error| converted(error, &dir))?;
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &view, context.layout))?,
    }
    Ok(0)
}

fn planned(dir: &Path) -> Result<RebuildView, RebuildError> {
    let mut line = ProgressLine::new();
    Ok(rebuild_plan(dir, &mut |progress| line.show(|| progress_text(progress)))?.into())
}

fn rebuilt(dir: &Path) -> Result<RebuildView, RebuildError> {
    let mut line = ProgressLine::new();
    let done = rebuild(dir, &Options::default(), &mut |progress| line.show(|| progress_text(progress)));
    Ok(done?.into())
}

fn progress_text(progress: RebuildProgress) -> String {
    match progress {
        RebuildProgress::CheckingSegments { done, total } => {
            format!("{} of {} checked", count(done), counted(total, "segment"))
        }
        RebuildProgress::Building { events } => format!("{} added to the new store", counted(events, "event")),
        RebuildProgress::Checking => "the new store is checked".to_owned(),
        RebuildProgress::Exchanging => "the new store takes the place of the old one".to_owned(),
        RebuildProgress::Removing => "the old store is removed".to_owned(),
    }
}

fn converted(error: RebuildError, dir: &Path) -> CliError {
    match error {
        RebuildError::Open(error) => {
            let (is_locked, is_integrity) = (matches!(error, OpenError::Locked { .. }), error.is_integrity());
            let error = CliError::from(error);
            if is_integrity {
                return error.with_hint(
                    "`apm2-ledger rebuild --dry-run` says why a segment is left as it is; `apm2-ledger salvage DEST` makes a new ledger of what is intact",
                );
            }
            match ownership(dir) {
                Ok(Ownership::Process(owner)) if is_locked && owner.is_daemon() => error.with_hint(
                    "`apm2-ledger daemon --leave` ends its daemon and leaves the processes running; the next command starts one",
                ),
                _ => error,
            }
        }
        RebuildError::DiskLow { .. } => {
            CliError::new(ErrorKind::Unusable, error.to_string()).with_hint("nothing was changed; free some space")
        }
        RebuildError::OtherLedger | RebuildError::Store(_) => {
            CliError::new(ErrorKind::Unusable, error.to_string()).with_hint("the old store stays")
        }
    }
}

fn print(out: &mut dyn Write, view: &RebuildView, layout: Layout) -> io::Result<()> {
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    fact("before", bytes(view.bytes_before).into());
    if let Some(after) = view.bytes_after {
        fact("after", bytes(after).into());
    }
    if let Some(needed) = view.bytes_needed {
        fact("needs", format!("about {} of free space meanwhile", bytes(needed)).into());
    }
    if let (Some(size), Some(chain)) = (view.size, &view.chain) {
        fact("size", counted(size, "event").into());
        fact("chain", format!("{chain}, as before").into());
    }
    facts.write(out, "", layout)?;
    if view.segments.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([("SEGMENT", Right), ("EVENTS", Right), ("DAMAGE", Left), ("DONE", Left)]);
    for segment in &view.segments {
        let seqs = segment.seqs.map_or_else(|| NOTHING.to_owned(), |seqs| format!("{}-{}", seqs.first, seqs.last));
        let written = if view.dry_run { "would be written again" } else { "written again from the store" };
        let done = segment.refusal.as_ref().map_or_else(|| written.to_owned(), |why| format!("left: {why}"));
        table.push([count(segment.number).into(), seqs.into(), segment.damage.as_str().into(), done.into()]);
    }
    writeln!(out)?;
    table.write(out, "", layout)
}
