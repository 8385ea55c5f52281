//! The command `report`, which writes a page about a period.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use apm2_ledger::{OpenError, VerifyReport};
use apm2_page::{document::Document, html};
use clap::ValueHint;

use crate::{
    commands::verify::BROKEN_CODE,
    context::Context,
    error::CliError,
    export::partial_file::PartialFile,
    progress::ProgressLine,
    render::words::{bytes, counted},
    report::{document, evidence, gathered::Range},
    terminal::say,
    time::At,
};

/// Write a page about a period: what died, what restarted, what is down, what agents spent
///
/// The page is one HTML file that needs no network and no other file: a summary, a timeline of all processes, restarts and
/// their causes, memory and processor use, what agents used, the story of each process with its last lines, and what a
/// verification of the ledger found. It has the same figures as `stats`, `cost`, `why` and `verify`. A page has a limited
/// size, and says what it leaves out. Like the ledger, it may contain what processes printed: its file is readable by its
/// owner alone. If the ledger is broken, the page says so, and the exit code is 4.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger report -o night.html             the last 24 hours
  apm2-ledger report --since '7 days ago' -o week.html
  apm2-ledger report --since '2026-01-31 22:00' --until '2026-02-01 06:00' -o night.html
  apm2-ledger report > page.html")]
pub(crate) struct ReportArgs {
    /// The beginning of the period: a time or the sequence number of an event. Default: 24 hours before its end
    #[arg(long, value_name = "TIME|SEQ")]
    since: Option<At>,
    /// The end of the period: a time or the sequence number of an event. Default: now
    #[arg(long, visible_alias = "at", value_name = "TIME|SEQ")]
    until: Option<At>,
    /// Write to this file, which must not exist, and not to standard output
    #[arg(long, short, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &ReportArgs, context: &Context) -> Result<i32, CliError> {
    let range = Range { since: args.since, until: args.until };
    // Whether the file can be created is known before the ledger is read; the file itself is made of a whole page, so that one that
    // is interrupted leaves none.
    if let Some(path) = &args.output {
        drop(PartialFile::create(path)?);
    }
    let (document, is_sound) = verified_document(range, context)?;
    let page = html::file(&document).map_err(|error| CliError::failed(format!("cannot write the page: {error}")))?;
    match &args.output {
        Some(path) => {
            let partial = PartialFile::create(path)?;
            let mut file = partial.file();
            file.write_all(page.as_bytes())
                .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
            partial.complete()?;
            let (size, processes) = (bytes(page.len() as u64), document.processes.len() as u64);
            say(&format!("{} about {} written to {}", size, counted(processes, "instance"), path.display()));
        }
        None => context.print(|out| out.write_all(page.as_bytes()))?,
    }
    if is_sound {
        return Ok(0);
    }
    say("the ledger is broken, and so may be what the page says; see `apm2-ledger verify`");
    Ok(BROKEN_CODE)
}

/// The document with what a verification found, which is made at the same time, and whether it found the ledger sound.
fn verified_document(range: Range, context: &Context) -> Result<(Document, bool), CliError> {
    let dir = context.ledger_dir()?;
    let (sender, progress) = mpsc::channel();
    thread::scope(|scope| {
        let verification = scope.spawn(move || verification(&dir, &sender));
        let document = document(range, context);
        // The channel ends with the verification.
        let mut line = ProgressLine::new();
        for events in progress {
            line.show(|| format!("{} checked", counted(events, "event")));
        }
        drop(line);
        let report = verification.join().map_err(|_| CliError::failed("the verification failed"))??;
        let document = Document { evidence: Some(evidence::converted(&report)), ..document? };
        Ok((document, report.findings.is_empty()))
    })
}

fn verification(dir: &Path, progress: &mpsc::Sender<u64>) -> Result<VerifyReport, OpenError> {
    // Without a receiver the command has failed already.
    apm2_ledger::verify(dir, &mut |events| {
        let _ = progress.send(events);
    })
}
