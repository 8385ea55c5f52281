//! The command `retain`, which moves the oldest events of a ledger into an archive.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use apm2_daemon::owner::{Ownership, ownership};
use apm2_ledger::{OpenError, Options, ProcessFile, RetainError, RetainProgress, Retained, retain, retain_plan};
use apm2_model::{causes::causes, clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::{
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

/// Move the history of processes that ended long ago into an archive, so that the ledger stays fast
///
/// The events up to the given age move, by whole journal segments: those whose events are all older, and that are sealed. They
/// become one compressed file in the directory archive/ of the ledger, which is read back and checked before the segments are
/// removed. Processes without later events that have ended and are not supervised any more are in the archive alone: `list`
/// does not show them (`list --retained` does), and their ids are refused for new processes. Their logs and launch files in the
/// directory of the ledger are removed, but not logs of a name that another process has, or that were written later. `show`,
/// `why`, `tail`, `export` and `verify` read the archives. An archive may be moved away: what needs its events then says so.
///
/// When the command is interrupted, the ledger is as before, or has the archive, and the next start of a daemon or command that
/// opens it finishes the rest. No daemon may have the ledger open: `apm2-ledger daemon --leave` ends it and leaves the
/// processes running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger retain --older-than 90d --dry-run      what would move
  apm2-ledger retain --older-than 90d
  apm2-ledger list --retained
  apm2-ledger --format json retain --older-than 90d | jq .bytes")]
pub(crate) struct RetainArgs {
    /// Move events that are older than this, such as 90d or 12h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of what was moved, or of what would be.
#[derive(Debug, Default, Serialize)]
struct RetainView {
    dry_run: bool,
    /// The name of the archive; null when nothing is old enough.
    archive: Option<String>,
    /// The first and the last event that move; null when none do.
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    /// The number of these events.
    events: u64,
    /// The times of the earliest and of the latest of them.
    from: Option<String>,
    until: Option<String>,
    /// The number of segments and their bytes.
    segments: u64,
    bytes: u64,
    /// The ids of the processes that are in the archive alone.
    processes: Vec<String>,
    /// The number of their instances.
    instances: u64,
    /// The number of the other instances, whose states stay in the ledger.
    kept_instances: u64,
    /// The logs and launch files that are removed, by their paths in the directory of the ledger.
    removed_files: Vec<RemovedFileView>,
}

#[derive(Debug, Serialize)]
struct RemovedFileView {
    path: String,
    bytes: u64,
}

impl RetainView {
    fn new(dry_run: bool, retained: Option<&Retained>) -> Self {
        let Some(retained) = retained else { return Self { dry_run, ..Self::default() } };
        Self {
            dry_run,
            archive: Some(retained.archive.clone()),
            first_seq: Some(retained.first_seq),
            last_seq: Some(retained.last_seq),
            events: retained.last_seq - retained.first_seq + 1,
            from: Some(stamp(retained.first_wall_ns)),
            until: Some(stamp(retained.last_wall_ns)),
            segments: retained.segments,
            bytes: retained.bytes,
            processes: retained.processes.iter().map(ToString::to_string).collect(),
            instances: retained.streams,
            kept_instances: retained.kept,
            removed_files: retained.files.iter().map(RemovedFileView::new).collect(),
        }
    }
}

impl RemovedFileView {
    fn new(file: &ProcessFile) -> Self {
        Self { path: file.path.clone(), bytes: file.bytes }
    }
}

fn stamp(wall_ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(wall_ns).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

pub(crate) fn run(args: &RetainArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let age = chrono::Duration::from_std(args.older_than).unwrap_or(chrono::Duration::MAX);
    let before = SystemClock.now().wall().checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let done = if args.dry_run { retain_plan(&dir, before) } else { retained(&dir, before) };
    let done = done.map_err(|error| converted(error, &dir))?;
    let view = RetainView::new(args.dry_run, done.as_ref());
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| print(out, &view, context.layout))?,
    }
    Ok(0)
}

fn retained(dir: &Path, before: DateTime<Utc>) -> Result<Option<Retained>, RetainError> {
    let mut line = ProgressLine::new();
    retain(dir, before, &Options::default(), &mut |progress| line.show(|| progress_text(progress)))
}

fn progress_text(progress: RetainProgress) -> String {
    match progress {
        RetainProgress::Reading => "the states of the processes are read".to_owned(),
        RetainProgress::Copying { bytes: done, total } => format!("{} of {} copied", bytes(done), bytes(total)),
        RetainProgress::Checking { events, total } => {
            format!("{events} of {} in the archive checked", counted(total, "event"))
        }
        RetainProgress::Finishing => "the moved segments are removed, and the store is built without them".to_owned(),
    }
}

fn converted(error: RetainError, dir: &Path) -> CliError {
    match error {
        RetainError::Open(error) => {
            let is_locked = matches!(error, OpenError::Locked { .. });
            let error = CliError::from(error);
            match ownership(dir) {
                Ok(Ownership::Process(owner)) if is_locked && owner.is_daemon() => error.with_hint(
                    "`apm2-ledger daemon --leave` ends its daemon and leaves the processes running; the next command starts one",
                ),
                _ => error,
            }
        }
        RetainError::Read(error) => error.into(),
        RetainError::DiskLow { .. } => {
            CliError::new(ErrorKind::Unusable, error.to_string()).with_hint("nothing was changed; free some space")
        }
        error => CliError::new(ErrorKind::Unusable, causes(&error))
            .with_hint("no event was removed; what was begun is finished or undone by the next command"),
    }
}

fn print(out: &mut dyn Write, view: &RetainView, layout: Layout) -> io::Result<()> {
    let Some(archive) = &view.archive else {
        return writeln!(out, "no journal segment is old enough, sealed, and before the last one");
    };
    let mut facts = Table::untitled();
    let mut fact = |name: &str, value: Cell| facts.push([Cell::new(name).styled(Style::Heading), value]);
    fact("archive", archive.as_str().into());
    let (first, last) = (view.first_seq.unwrap_or(0), view.last_seq.unwrap_or(0));
    fact("events", format!("{first} to {last} ({})", counted(view.events, "event")).into());
    if let (Some(from), Some(until)) = (&view.from, &view.until) {
        fact("time", format!("{from} to {until}").into());
    }
    fact("size", format!("{} in {}", bytes(view.bytes), counted(view.segments, "segment")).into());
    let gone = counted(view.processes.len() as u64, "process");
    let moved = if view.dry_run { "would be in the archive alone" } else { "in the archive alone" };
    fact("processes", format!("{gone} {moved} ({})", counted(view.instances, "instance")).into());
    fact("kept", format!("{} with later events, or supervised", counted(view.kept_instances, "instance")).into());
    let removed = if view.dry_run { "would be removed" } else { "removed" };
    for file in &view.removed_files {
        fact(removed, format!("{} ({})", file.path, bytes(file.bytes)).into());
    }
    facts.write(out, "", layout)
}
