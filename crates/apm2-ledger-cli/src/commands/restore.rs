//! The command `restore`, which makes a ledger of a backup.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use apm2_ledger::{Options, RestoreError, RestoreProgress, RestoreReport, restore, restore_plan};
use clap::ValueHint;
use serde::Serialize;

use crate::{
    commands::backup::progress_text,
    context::Context,
    error::{CliError, ErrorKind},
    options::Format,
    progress::ProgressLine,
    render::{
        color::Style,
        table::{Cell, Layout, Table},
        words::{bytes, counted},
    },
};

/// Make a ledger of a backup
///
/// Makes the ledger in the directory of --ledger, which must not exist or be empty. It has exactly the events of the last
/// complete backup. The whole ledger is verified before the directory appears; a restore that fails or is killed leaves no
/// ledger, and can be repeated. The backup is not changed.
///
/// Launch files are restored, so a daemon starts again what ran, by the rules of each process. Processes that the original
/// ledger started and that still run belong to the original: they are not taken over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger --ledger ./ledger restore /backup/ledger
  apm2-ledger --ledger ./ledger restore --dry-run /backup/ledger     check the backup")]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    #[arg(value_hint = ValueHint::DirPath)]
    source: PathBuf,
    /// Check the segments of the backup, show what would be restored, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of a restore, or of what one would do.
#[derive(Debug, Serialize)]
struct RestoreView {
    dry_run: bool,
    /// The id of the ledger.
    ledger: String,
    /// The number of events.
    size: u64,
    /// The chain hash after these events.
    chain: String,
    files: u64,
    bytes: u64,
}

impl RestoreView {
    fn new(report: &RestoreReport, dry_run: bool) -> Self {
        let (size, chain) = (report.head.size, report.head.chain.to_string());
        Self { dry_run, ledger: report.ledger.to_string(), size, chain, files: report.files, bytes: report.bytes }
    }
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let mut line = ProgressLine::new();
    let mut show = |progress| line.show(|| restore_text(progress));
    let report = if args.dry_run {
        restore_plan(&args.source, &dir, &mut show)
    } else {
        restore(&args.source, &dir, &Options::default(), &mut show)
    };
    drop(line);
    let view = RestoreView::new(&report?, args.dry_run);
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &view, context.layout))?,
    }
    Ok(0)
}

fn restore_text(progress: RestoreProgress) -> String {
    match progress {
        RestoreProgress::Copying(progress) => progress_text(progress),
        RestoreProgress::Verifying { events } => format!("{} checked", counted(events, "event")),
        RestoreProgress::BuildingStore => "the store is built".to_owned(),
    }
}

fn print(out: &mut dyn Write, view: &RestoreView, layout: Layout) -> io::Result<()> {
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    let done = if view.dry_run { "would be restored" } else { "restored" };
    fact("files", format!("{}, {} {done}", counted(view.files, "file"), bytes(view.bytes)).into());
    fact("size", counted(view.size, "event").into());
    fact("chain", view.chain.as_str().into());
    facts.write(out, "", layout)
}

impl From<RestoreError> for CliError {
    fn from(error: RestoreError) -> Self {
        let message = apm2_model::causes::causes(&error);
        match error {
            RestoreError::Directory(error) => error.into(),
            RestoreError::Open(error) => error.into(),
            RestoreError::Read(error) => error.into(),
            RestoreError::Damaged(_) | RestoreError::Unequal { .. } => Self::new(ErrorKind::Integrity, message)
                .with_hint("nothing was restored; `apm2-ledger --ledger DIR verify` checks the directory of a backup"),
            RestoreError::NoBackup { .. } => {
                Self::failed(message).with_hint("nothing was restored; `apm2-ledger backup` makes a backup of a ledger")
            }
            RestoreError::Incomplete { .. } | RestoreError::HeadFile { .. } | RestoreError::Store(_) => {
                Self::failed(message).with_hint("nothing was restored")
            }
            RestoreError::DiskLow { .. } => {
                Self::new(ErrorKind::Unusable, message).with_hint("nothing was restored; free some space")
            }
            RestoreError::Io { .. } => Self::new(ErrorKind::Unusable, message).with_hint("nothing was restored"),
        }
    }
}
