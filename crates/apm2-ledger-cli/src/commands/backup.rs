//! The command `backup`, which copies a ledger to another directory, or brings such a copy up to date.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use apm2_ledger::{BackupError, BackupReport, CopyProgress, backup, backup_plan};
use clap::ValueHint;
use serde::Serialize;

use crate::{
    context::Context,
    error::{CliError, ErrorKind},
    options::Format,
    progress::ProgressLine,
    render::{
        color::Style,
        table::{Cell, Layout, Table},
        words::{bytes, count, counted},
    },
};

/// Copy the ledger to another directory, also while it is in use
///
/// The backup has every event that was acknowledged before the command began. A second backup to the same directory copies only
/// what is new. A backup that is interrupted leaves the one before, which can be restored; the command can be given again.
///
/// The launch files of the supervised processes are copied, too: they hold the values of environment variables, and so secrets.
/// Files and directories of the backup have the modes 0600 and 0700. The store is not copied; `restore` builds it again.
///
/// The directory of a backup can be read like a ledger, by `list`, `tail` or `verify` with --ledger, but nothing is recorded in
/// it. `restore` makes a ledger of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger backup /backup/ledger
  apm2-ledger backup --dry-run /backup/ledger      what would be copied
  apm2-ledger --ledger /backup/ledger verify       check the whole backup
  apm2-ledger --ledger ./ledger restore /backup/ledger")]
pub(crate) struct BackupArgs {
    /// Directory of the backup. Must be empty, missing, or a backup of this ledger
    #[arg(value_hint = ValueHint::DirPath)]
    dest: PathBuf,
    /// Copy the logs of the processes, too. Logs that the ledger no longer has are removed from the backup
    #[arg(long)]
    logs: bool,
    /// Show what would be copied, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of a backup, or of what one would do.
#[derive(Debug, Serialize)]
struct BackupView {
    dry_run: bool,
    /// The id of the ledger.
    ledger: String,
    /// The number of events in the backup.
    size: u64,
    /// The chain hash after these events.
    chain: String,
    /// The number of events that the backup had before; null for a first backup.
    size_before: Option<u64>,
    files_copied: u64,
    bytes_copied: u64,
    /// Files that the backup had already.
    files_kept: u64,
    bytes_kept: u64,
}

impl BackupView {
    fn new(report: &BackupReport, dry_run: bool) -> Self {
        Self {
            dry_run,
            ledger: report.ledger.to_string(),
            size: report.head.size,
            chain: report.head.chain.to_string(),
            size_before: report.previous.map(|head| head.size),
            files_copied: report.copied_files,
            bytes_copied: report.copied_bytes,
            files_kept: report.kept_files,
            bytes_kept: report.kept_bytes,
        }
    }
}

pub(crate) fn run(args: &BackupArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let report = if args.dry_run {
        backup_plan(&dir, &args.dest, args.logs)
    } else {
        let mut line = ProgressLine::new();
        backup(&dir, &args.dest, args.logs, &mut |progress| line.show(|| progress_text(progress)))
    };
    let view = BackupView::new(&report?, args.dry_run);
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &view, context.layout))?,
    }
    Ok(0)
}

/// The progress of a copy, in words.
pub(crate) fn progress_text(progress: CopyProgress) -> String {
    let CopyProgress { done_files, total_files, done_bytes, total_bytes } = progress;
    let files = counted(total_files, "file");
    format!("{} of {files} copied, {} of {}", count(done_files), bytes(done_bytes), bytes(total_bytes))
}

fn print(out: &mut dyn Write, view: &BackupView, layout: Layout) -> io::Result<()> {
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    let done = if view.dry_run { "would be copied" } else { "copied" };
    let files = |number, size| format!("{}, {}", counted(number, "file"), bytes(size));
    fact("copied", format!("{} {done}", files(view.files_copied, view.bytes_copied)).into());
    fact("kept", format!("{} in the backup already", files(view.files_kept, view.bytes_kept)).into());
    let before = view.size_before.map(|size| format!(", {} before", count(size))).unwrap_or_default();
    fact("size", format!("{}{before}", counted(view.size, "event")).into());
    fact("chain", view.chain.as_str().into());
    facts.write(out, "", layout)
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        let message = apm2_model::causes::causes(&error);
        let failed = |hint: &str| Self::failed(message.clone()).with_hint(hint);
        match error {
            BackupError::Open(error) => error.into(),
            BackupError::Read(error) => error.into(),
            BackupError::Damaged(_) => Self::new(ErrorKind::Integrity, message)
                .with_hint("the backup is as it was before; `apm2-ledger verify` says which events are concerned"),
            BackupError::SameDirectory { .. } | BackupError::NotABackup { .. } | BackupError::OtherLedger { .. } => {
                failed("nothing was changed; name a directory that does not exist")
            }
            BackupError::Older { .. } => {
                failed("nothing was changed; `apm2-ledger restore` makes a ledger of the backup in another directory")
            }
            BackupError::Diverged { .. } | BackupError::OtherSegments { .. } => {
                failed("the backup is as it was before; back up to another directory")
            }
            BackupError::HeadFile { .. } => failed("nothing was changed; back up to another directory"),
            BackupError::DiskLow { .. } => {
                Self::new(ErrorKind::Unusable, message).with_hint("nothing was changed; free some space")
            }
            BackupError::Io { .. } => Self::new(ErrorKind::Unusable, message)
                .with_hint("the backup is as it was before; the command can be given again"),
        }
    }
}
