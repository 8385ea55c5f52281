//! The command `import`, which makes a ledger of an export of a whole ledger.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use apm2_ledger::{Importer, Options};
use clap::ValueHint;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    error::CliError,
    export::jsonl::{Header, RecordLine, VERSION},
    options::Format,
    progress::ProgressLine,
    render::words::counted,
};

/// The greatest length of a line in bytes. A record has at most 256 KiB; its base64 and the JSON of the event stand beside it.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Make a ledger of an export, with the same events and the same hash chain
///
/// Reads what `apm2-ledger export` wrote without filters, and makes the ledger in the directory of `--ledger`, which must not
/// exist or be empty. Each event is checked as it is when it is recorded, and the hash of the ledger must be that of the
/// header. The directory appears when all is written; an import that fails or is killed leaves no ledger, and can be repeated.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger --ledger ./copy import ledger.jsonl
  apm2-ledger --ledger ./copy import --dry-run ledger.jsonl
  zcat ledger.jsonl.gz | apm2-ledger --ledger ./copy import -")]
pub(crate) struct ImportArgs {
    /// File to read, or `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Check the export, and make no ledger. Needs the same free space for a short time
    #[arg(long)]
    dry_run: bool,
}

/// JSON view of an import.
#[derive(Debug, Serialize)]
struct ImportView {
    dry_run: bool,
    /// The id of the ledger.
    ledger: String,
    size: u64,
    chain: String,
}

pub(crate) fn run(args: &ImportArgs, context: &Context) -> Result<i32, CliError> {
    let header = if args.file == Path::new("-") {
        import(&mut io::stdin().lock(), args, context)?
    } else {
        let opened = File::open(&args.file);
        let file = opened.map_err(|error| CliError::usage(format!("{}: {error}", args.file.display())))?;
        import(&mut BufReader::new(file), args, context)?
    };
    let (size, dir) = (header.size, context.ledger_dir()?);
    let view = ImportView { dry_run: args.dry_run, ledger: header.ledger.to_string(), size, chain: header.chain };
    match context.format {
        Format::Json => context.print_json(&view)?,
        Format::Jsonl => context.print_jsonl([view])?,
        Format::Table => context.print(|out| {
            let done = if args.dry_run { "can be imported to" } else { "imported to" };
            writeln!(out, "{} {done} {}; the chain is {}", counted(size, "event"), dir.display(), view.chain)
        })?,
    }
    Ok(0)
}

/// Reads the lines, and writes the ledger.
fn import(input: &mut dyn BufRead, args: &ImportArgs, context: &Context) -> Result<Header, CliError> {
    let mut lines = Lines { input, number: 0, text: Vec::new() };
    let header: Header = lines.next()?.ok_or_else(|| CliError::failed("the export is empty"))?;
    if header.apm2_ledger_export > VERSION {
        let version = header.apm2_ledger_export;
        return Err(CliError::failed(format!(
            "the export has version {version}, newer than {VERSION}, which this program knows"
        )));
    }
    if !header.complete {
        return Err(
            CliError::failed("the export has only a part of the events").with_hint("export without filters, as jsonl")
        );
    }
    let head = header.head().ok_or_else(|| CliError::failed("line 1: the chain is not a hash of 64 digits"))?;
    let mut importer = Importer::create(&context.ledger_dir()?, header.ledger, &Options::default())?;
    let (mut progress, total) = (ProgressLine::new(), header.size);
    while let Some(line) = lines.next::<RecordLine>()? {
        let record = line.record().ok_or_else(|| lines.error("the record is not base64"))?;
        importer.push(line.seq, &record)?;
        progress.show(|| format!("{} of {total} imported", counted(line.seq, "event")));
    }
    drop(progress);
    if args.dry_run {
        importer.check(head)?
    } else {
        importer.finish(head)?
    }
    Ok(header)
}

/// Reads JSON lines.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: u64,
    text: Vec<u8>,
}

impl Lines<'_> {
    /// The next line; `None` at the end.
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        self.text.clear();
        self.number += 1;
        let read = self.input.take(LINE_BYTES_MAX).read_until(b'\n', &mut self.text);
        match read {
            Ok(0) => return Ok(None),
            Ok(_) if self.text.ends_with(b"\n") => {}
            Ok(_) if self.text.len() as u64 == LINE_BYTES_MAX => {
                return Err(self.error(&format!("the line is longer than {LINE_BYTES_MAX} bytes")));
            }
            Ok(_) => return Err(self.error("the line has no end: the export is cut short")),
            Err(error) => return Err(self.error(&error.to_string())),
        }
        serde_json::from_slice(&self.text).map(Some).map_err(|error| self.error(&error.to_string()))
    }

    fn error(&self, what: &str) -> CliError {
        CliError::failed(format!("line {}: {what}", self.number))
            .with_hint("`apm2-ledger export` without filters writes what can be imported; nothing was changed")
    }
}
