//! The command `export`, which writes events in a form for other programs.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use apm2_ledger::{EventQuery, EventsQuestion, ReadError, ReadLedger as _, Reader, record::decode_event};
use apm2_model::event::{Event, kind::EventKind, stream_id::StreamId};
use clap::{ValueEnum, ValueHint};

use crate::{
    context::Context,
    error::CliError,
    export::{
        ExportForm, Exported, Origin, cloud_event::CloudEvents, csv::Csv, jsonl::JsonLines, otlp::OtlpLogs,
        partial_file::PartialFile,
    },
    filter::EventFilter,
    progress::ProgressLine,
    render::words::counted,
    source::{LedgerSource, ReadFailure},
    terminal::say,
};

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object for each event; of a whole ledger with the records, for `apm2-ledger import`
    Jsonl,
    /// A table for spreadsheets (RFC 4180)
    Csv,
    /// CloudEvents 1.0 in JSON, one on each line
    Cloudevents,
    /// OpenTelemetry log records in OTLP/JSON, one request on each line
    Otlp,
}

/// Write events in a form for other programs
///
/// Reads the journal, also while a daemon records. An export as JSON lines without filters has every event with its record,
/// and a header with the hash of the ledger: `apm2-ledger import` makes the same ledger of it. All else is an extract.
/// As otlp, the reports of AI agents have attributes of the GenAI conventions, too (gen_ai.usage.input_tokens and others).
/// In CSV, a text that begins like a formula has an apostrophe before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger export -o ledger.jsonl           the whole ledger, to be imported elsewhere
  apm2-ledger export --as csv --since yesterday -o events.csv
  apm2-ledger export build --as cloudevents | jq .type
  apm2-ledger export --as otlp --exit failed -o logs.json")]
pub(crate) struct ExportArgs {
    /// Only events of these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// Form of the export
    #[arg(long = "as", value_name = "FORM", default_value = "jsonl")]
    form: Form,
    /// Write to this file, which must not exist, and not to standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: EventFilter,
}

pub(crate) fn run(args: &ExportArgs, context: &Context) -> Result<i32, CliError> {
    let reader = context.reader()?;
    let read = |error: ReadError| CliError::from(error);
    let Some(head) = reader.head() else {
        return Err(read(ReadError::Gap { seq: 1 }));
    };
    // Without the events of an archive, a ledger with the same hash chain cannot be made of the export.
    let has_all = reader.missing_archives().map_err(read)?.is_empty();
    let is_complete = args.ids.is_empty() && args.filter.is_empty() && has_all;
    let origin = Origin { ledger: reader.ledger_id().map_err(read)?, head, is_complete };
    let mut form: Box<dyn ExportForm> = match args.form {
        Form::Jsonl => Box::new(JsonLines { origin }),
        Form::Csv => Box::new(Csv),
        Form::Cloudevents => Box::new(CloudEvents { origin }),
        Form::Otlp => Box::new(OtlpLogs::new(origin, reader.clone())),
    };
    let with_records = is_complete && args.form == Form::Jsonl;
    if with_records {
        check_end(&reader, head.size)?;
    }
    let mut export = |out: &mut dyn Write| -> Result<u64, CliError> {
        let mut export =
            Export { form: &mut *form, out, names: Names::new(reader.clone()), line: ProgressLine::new(), count: 0 };
        export.form.begin(export.out)?;
        if with_records {
            export.whole(&reader, head.size)?
        } else {
            export.chosen(&reader, args, context)?
        }
        export.form.end(export.out)?;
        export.out.flush()?;
        Ok(export.count)
    };
    match &args.output {
        None => drop(export(&mut BufWriter::new(io::stdout().lock()))?),
        Some(path) => {
            let count = to_file(path, &mut export)?;
            say(&format!("{} written to {}", counted(count, "event"), path.display()));
        }
    }
    Ok(0)
}

/// Reports damage after event `last`. Without this check, the events before the damage would pass for the whole ledger.
fn check_end(reader: &Reader, last: u64) -> Result<(), CliError> {
    let source = LedgerSource::Journal(reader.clone());
    if source.head().map_err(CliError::from)?.is_whole {
        return Ok(());
    }
    let after = EventsQuestion::all(EventQuery::default(), (last.saturating_add(1), u64::MAX));
    source.events(&after, &mut |_| ControlFlow::Continue(())).map_err(CliError::from)?;
    Ok(())
}

/// An export under way.
struct Export<'a> {
    form: &'a mut dyn ExportForm,
    out: &'a mut dyn Write,
    names: Names,
    line: ProgressLine,
    count: u64,
}

impl Export<'_> {
    /// Writes all events up to event `last` with their records.
    fn whole(&mut self, reader: &Reader, last: u64) -> Result<(), CliError> {
        let mut failed = None;
        reader.each_record(last, |seq, record| {
            let event = decode_event(seq, record).map_err(|source| CliError::from(ReadError::Record { seq, source }));
            match event.and_then(|event| self.write(&event, Some(record))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Writes the chosen events.
    fn chosen(&mut self, reader: &Reader, args: &ExportArgs, context: &Context) -> Result<(), CliError> {
        let source = LedgerSource::Journal(reader.clone());
        let end = source.head().map_err(CliError::from)?.end();
        let chosen = args.filter.choose(&args.ids, end, &source, context)?;
        let mut failed = None;
        let question = EventsQuestion::all(chosen.query, chosen.seqs);
        let read = source.present_events(&question, &mut |event| match self.write(&event, None) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        context.note_missing(&read.map_err(|error: ReadFailure| CliError::from(error))?);
        failed.map_or(Ok(()), Err)
    }

    fn write(&mut self, event: &Event, record: Option<&[u8]>) -> Result<(), CliError> {
        let name = self.names.of(event)?;
        self.form.event(self.out, Exported { event, name, record })?;
        self.count += 1;
        self.line.show(|| format!("{} written", counted(self.count, "event")));
        Ok(())
    }
}

/// The displayed names of instances.
struct Names {
    reader: Reader,
    known: HashMap<StreamId, String>,
}

impl Names {
    fn new(reader: Reader) -> Self {
        Self { reader, known: HashMap::new() }
    }

    /// The name of the instance at the time of the event; `None` for an event of the ledger itself.
    fn of(&mut self, event: &Event) -> Result<Option<&str>, CliError> {
        let id = event.stream;
        if id.is_system() {
            return Ok(None);
        }
        if let EventKind::Registered { spec } | EventKind::SpecChanged { spec } = &event.kind {
            self.known.insert(id, spec.display_name(id.instance));
        } else if !self.known.contains_key(&id) {
            let stream = self.reader.stream_at(id, event.seq)?;
            self.known.insert(id, stream.map(|stream| stream.handle.display_name()).unwrap_or_default());
        }
        Ok(self.known.get(&id).map(String::as_str))
    }
}

/// Writes to a file that gets its name when it is complete.
fn to_file(path: &Path, export: &mut dyn FnMut(&mut dyn Write) -> Result<u64, CliError>) -> Result<u64, CliError> {
    let partial = PartialFile::create(path)?;
    let count = export(&mut BufWriter::new(partial.file()))?;
    partial.complete()?;
    Ok(count)
}
