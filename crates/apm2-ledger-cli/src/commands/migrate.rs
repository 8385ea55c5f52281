//! The command `migrate`, which brings a ledger of an older format to the current one.

use std::{
    io::{self, Write},
    path::Path,
};

use apm2_daemon::owner::{Ownership, ownership};
use apm2_ledger::{
    MigrateError, Migrated, MigrationPlan, MigrationProgress, OpenError, Options, journal::segment::FORMAT_VERSION,
    migrate, migration_plan,
};
use serde::Serialize;

use crate::{
    context::Context,
    error::CliError,
    options::Format,
    progress::ProgressLine,
    render::{
        color::Style,
        table::{Cell, Layout, Table},
        words::{count, counted},
    },
};

/// Rewrite a ledger of format 1 in format 2: compressed, with an index
///
/// All events and the hash chain stay the same. The command verifies the ledger, rewrites each full segment of the journal
/// beside the old file, verifies the whole new journal, and then removes the old files. When it is interrupted, the ledger
/// has all events, and the command can be given again. The disk must have room for the new files beside the old ones.
///
/// No daemon may have the ledger open: `apm2-ledger daemon --leave` ends it and leaves the processes running. Without this
/// command a ledger of format 1 is used as it is, and continues in format 2.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger migrate --dry-run          the size before, and estimated after; changes nothing
  apm2-ledger migrate
  apm2-ledger --format json migrate | jq .bytes_after")]
pub(crate) struct MigrateArgs {
    /// Show what would be done and estimate the gain, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of a migration, or of what one would do.
#[derive(Debug, Serialize)]
struct MigrationView {
    dry_run: bool,
    /// Whether the ledger was in an older format.
    needed: bool,
    /// The format of the ledger after a migration.
    format: u32,
    /// The number of segments that were or would be rewritten.
    segments: u64,
    /// Bytes of the journal before.
    bytes_before: u64,
    /// Bytes of the journal afterwards; estimated with `dry_run`.
    bytes_after: u64,
    /// Free bytes that the disk must have for the new files, beside a reserve; null after a migration.
    bytes_written: Option<u64>,
    /// The number of events; null if the ledger was not migrated.
    size: Option<u64>,
    /// The chain hash after these events, which is the same before and after.
    chain: Option<String>,
}

impl MigrationView {
    fn of_plan(plan: &MigrationPlan, dry_run: bool) -> Self {
        let needed = plan.is_needed();
        Self {
            dry_run,
            needed,
            format: FORMAT_VERSION,
            segments: if needed { plan.to_seal } else { 0 },
            bytes_before: plan.bytes_before,
            bytes_after: if needed { plan.bytes_after } else { plan.bytes_before },
            bytes_written: Some(if needed { plan.bytes_written } else { 0 }),
            size: None,
            chain: None,
        }
    }

    fn of_result(done: &Migrated) -> Self {
        Self {
            dry_run: false,
            needed: true,
            format: FORMAT_VERSION,
            segments: done.sealed,
            bytes_before: done.bytes_before,
            bytes_after: done.bytes_after,
            bytes_written: None,
            size: Some(done.head.size),
            chain: Some(done.head.chain.to_string()),
        }
    }
}

pub(crate) fn run(args: &MigrateArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let done = if args.dry_run { None } else { migrated(&dir).map_err(|error| converted(error, &dir))? };
    let view = match done {
        Some(done) => MigrationView::of_result(&done),
        None => {
            let plan = migration_plan(&dir).map_err(|error| converted(error, &dir))?;
            MigrationView::of_plan(&plan, args.dry_run)
        }
    };
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &view, context.layout))?,
    }
    Ok(0)
}

fn migrated(dir: &Path) -> Result<Option<Migrated>, MigrateError> {
    let mut line = ProgressLine::new();
    migrate(dir, &Options::default(), &mut |progress| line.show(|| progress_text(progress)))
}

fn progress_text(progress: MigrationProgress) -> String {
    match progress {
        MigrationProgress::Verifying { events } => format!("{} checked", counted(events, "event")),
        MigrationProgress::Sealing { done, total } => {
            format!("{} of {} rewritten", count(done), counted(total, "segment"))
        }
        MigrationProgress::Comparing { events } => format!("{} checked in the new files", counted(events, "event")),
    }
}

fn converted(error: MigrateError, dir: &Path) -> CliError {
    let is_locked = matches!(error, MigrateError::Open(OpenError::Locked { .. }));
    let is_disk_low = matches!(error, MigrateError::DiskLow { .. });
    let error = CliError::from(error);
    match ownership(dir) {
        Ok(Ownership::Process(owner)) if is_locked && owner.is_daemon() => error.with_hint(
            "`apm2-ledger daemon --leave` ends its daemon and leaves the processes running; the next command starts one",
        ),
        _ if is_disk_low => error.with_hint("nothing was changed; free some space, or use the ledger as it is"),
        _ => error,
    }
}

fn print(out: &mut dyn Write, view: &MigrationView, layout: Layout) -> io::Result<()> {
    if !view.needed {
        return writeln!(out, "the ledger is in format {} already; there is nothing to do", view.format);
    }
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    let segments = counted(view.segments, "segment");
    let (about, done) = if view.dry_run { ("about ", "would be rewritten") } else { ("", "rewritten") };
    fact("segments", format!("{segments} {done} in format {}", view.format).into());
    fact("before", counted(view.bytes_before, "byte").into());
    fact("after", format!("{about}{}", counted(view.bytes_after, "byte")).into());
    if let Some(bytes) = view.bytes_written {
        fact("needs", format!("about {} of free space meanwhile", counted(bytes, "byte")).into());
    }
    if let (Some(size), Some(chain)) = (view.size, &view.chain) {
        fact("size", counted(size, "event").into());
        fact("chain", format!("{chain}, as before").into());
    }
    facts.write(out, "", layout)
}
