//! The command `salvage`, which makes a new ledger of the intact events of a damaged one.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use apm2_ledger::{
    Options, SALVAGE_REPORT_FILE, SALVAGE_UNPLACED_FILE, SalvageError, SalvageProgress, SalvageReport, salvage,
    salvage_plan,
};
use clap::ValueHint;

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
        words::{bytes, count, counted},
    },
    view::salvage::{SalvageFiles, SalvageView},
};

/// The exit code when the ledger is damaged.
const DAMAGED_CODE: i32 = 4;

/// Number of gaps and of files that are printed at most. The report in the new ledger has all of them.
const ROWS_MAX: usize = 20;

/// Make a new ledger of every intact event of a damaged one
///
/// Reads every commit and block that has a right checksum from all files of the journal, and from the store, which has the same
/// events again. The damaged ledger is not changed; it must not be in use. DEST must not exist or be empty, and appears when the
/// new ledger is complete; a salvage that fails or is killed leaves no ledger, and can be repeated.
///
/// A ledger has no gaps, so the new one has an id, a hash chain and event numbers of its own. Its file salvaged.json says which
/// events are lost and why, which were found in the store only and whether the hash chain proves them, and the old and new number
/// of each event. Of a process, the new ledger has the events before the first that is lost. The intact events after it are in the file
/// salvaged-unplaced.jsonl, in the form of `export`.
///
/// The exit code is 4 for a damaged ledger. Of an undamaged journal nothing is made, and the exit code is 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger salvage --dry-run ./salvaged       what is intact, and what is lost
  apm2-ledger salvage ./salvaged
  apm2-ledger --ledger ./salvaged verify
  jq -c '.gaps[]' ./salvaged/salvaged.json       the events that are lost")]
pub(crate) struct SalvageArgs {
    /// Directory of the new ledger. Must be empty or missing
    #[arg(value_hint = ValueHint::DirPath)]
    dest: PathBuf,
    /// Copy the logs of the processes, too. Launch files are always copied
    #[arg(long)]
    logs: bool,
    /// Show what would be salvaged, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &SalvageArgs, context: &Context) -> Result<i32, CliError> {
    let (dir, options) = (context.ledger_dir()?, Options::default());
    let mut line = ProgressLine::new();
    let mut show = |progress| line.show(|| progress_text(progress));
    let report = if args.dry_run {
        salvage_plan(&dir, &args.dest, &options, &mut show)
    } else {
        salvage(&dir, &args.dest, args.logs, &options, &mut SalvageFiles, &mut show)
    };
    drop(line);
    let report = report?;
    let view = SalvageView::new(&report, args.dry_run);
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &report, args, context.layout))?,
    }
    Ok(if report.is_sound { 0 } else { DAMAGED_CODE })
}

fn progress_text(progress: SalvageProgress) -> String {
    match progress {
        SalvageProgress::Verifying { events } => format!("{} verified", counted(events, "event")),
        SalvageProgress::Searching(searched) => {
            format!("{} of {} searched", bytes(searched.done_bytes), bytes(searched.total_bytes))
        }
        SalvageProgress::Replaying { events } => format!("{} replayed", counted(events, "event")),
        SalvageProgress::Writing { events } => format!("{} written", counted(events, "event")),
        SalvageProgress::Completing => "the store is built".to_owned(),
    }
}

fn print(out: &mut dyn Write, report: &SalvageReport, args: &SalvageArgs, layout: Layout) -> io::Result<()> {
    if report.is_sound {
        let size = counted(report.last_seq, "event");
        writeln!(out, "the journal is undamaged, with {size}: there is nothing to salvage")?;
        return writeln!(out, "`apm2-ledger backup DEST` copies it, and a damaged store is rebuilt when it is opened");
    }
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    let done = if args.dry_run { "would be salvaged" } else { "salvaged" };
    fact("salvaged", format!("{} of {} {done}", counted(report.placed_events, "event"), count(report.last_seq)).into());
    let unplaced = counted(report.unplaced_events, "event");
    fact("unplaced", format!("{unplaced} after a gap in their process, in {SALVAGE_UNPLACED_FILE}").into());
    let lost = report.lost_events();
    let style = if lost == 0 { Style::Good } else { Style::Bad };
    fact("lost", Cell::new(counted(lost, "event")).styled(style));
    fact("store", store_text(report).into());
    if let Some((id, head)) = &report.ledger {
        fact("ledger", format!("{id} in {}", args.dest.display()).into());
        fact("chain", head.chain.to_string().into());
        fact("report", args.dest.join(SALVAGE_REPORT_FILE).display().to_string().into());
    }
    facts.write(out, "", layout)?;
    print_gaps(out, report, layout)?;
    print_unused(out, report, layout)
}

/// The events that only a store had.
fn store_text(report: &SalvageReport) -> String {
    let parts = report.parts.iter().filter(|part| part.source.is_store() && !part.is_proven);
    let unproven: u64 = parts.map(|part| part.last_seq - part.first_seq + 1).sum();
    let events = counted(report.store_events(), "event");
    match unproven {
        0 => format!("{events} found in the store only, proven by the hash chain"),
        unproven => {
            format!("{events} found in the store only, {} of them not proven by the hash chain", count(unproven))
        }
    }
}

fn print_gaps(out: &mut dyn Write, report: &SalvageReport, layout: Layout) -> io::Result<()> {
    if report.gaps.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([("LOST", Right), ("REASON", Left)]);
    for gap in report.gaps.iter().take(ROWS_MAX) {
        let seqs = if gap.first_seq == gap.last_seq {
            gap.first_seq.to_string()
        } else {
            format!("{}-{}", gap.first_seq, gap.last_seq)
        };
        table.push([seqs.into(), gap.reason.as_str().into()]);
    }
    writeln!(out)?;
    table.write(out, "", layout)?;
    print_more(out, report.gaps.len())
}

fn print_unused(out: &mut dyn Write, report: &SalvageReport, layout: Layout) -> io::Result<()> {
    if report.unused.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([("NOT USED", Left), ("REASON", Left)]);
    for file in report.unused.iter().take(ROWS_MAX) {
        table.push([shown(&file.path).into(), file.reason.as_str().into()]);
    }
    writeln!(out)?;
    table.write(out, "", layout)?;
    print_more(out, report.unused.len())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn print_more(out: &mut dyn Write, rows: usize) -> io::Result<()> {
    match rows.saturating_sub(ROWS_MAX) {
        0 => Ok(()),
        more => writeln!(out, "and {} more; --format json has all of them", count(more as u64)),
    }
}

impl From<SalvageError> for CliError {
    fn from(error: SalvageError) -> Self {
        let message = apm2_model::causes::causes(&error);
        match error {
            SalvageError::Open(error) => error.into(),
            SalvageError::Directory(error) => error.into(),
            SalvageError::Import(error) => {
                let error = Self::from(error);
                if error.hint().is_some() { error.with_hint("nothing was written") } else { error }
            }
            SalvageError::SameDirectory { .. } => {
                Self::failed(message).with_hint("nothing was written; name a directory outside of it")
            }
            SalvageError::Nothing => Self::new(ErrorKind::Integrity, message)
                .with_hint("nothing was written; `apm2-ledger restore` makes a ledger of a backup"),
            SalvageError::DiskLow { .. } => {
                Self::new(ErrorKind::Unusable, message).with_hint("nothing was written; free some space")
            }
            SalvageError::Io(_) => Self::new(ErrorKind::Unusable, message).with_hint("nothing was written"),
        }
    }
}
