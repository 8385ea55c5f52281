//! The command `logs`, which shows the captured output of processes.

pub(crate) mod print;

use std::{
    collections::HashSet,
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use apm2_core::{
    log::{LogItem, LogPosition, LogReader, LogsDir, last_lines_begin, output_since},
    notify::FileWatch,
};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, StatesQuestion, StreamAt};
use apm2_model::{
    event::{end_filter::END_KINDS, kind::OutputSource, stream_id::StreamId},
    state::stream::Stream,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    commands::logs::print::{LineOrigin, PartialLine, Printer},
    context::Context,
    error::CliError,
    options::Format,
    render::escape::escape,
    source::{LedgerSource, ReadFailure},
    terminal::say,
    time::time,
};

/// Default number of lines for `--lines`.
const LINES_SHOWN: usize = 100;

/// Precision of the timestamps of lines.
const TIMESTAMP_PRECISION: TimeDelta = TimeDelta::milliseconds(1);

/// Longest wait before the log files are read again with `--follow`.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Time after which `--follow` shows an incomplete line. A prompt, for example, does not end with a line feed.
const UNFINISHED_MAX: Duration = Duration::from_millis(300);

/// Show the captured output of processes
///
/// Reads the log files, including rotated and compressed ones; no daemon is needed. With several files, the existing
/// lines are printed below a title for each file, and each line that follows later is prefixed with the title. An incomplete
/// line, such as a prompt, is shown after a short wait. On a terminal, control characters are escaped.
///
/// In JSON, each line is an object with process_id, name, instance, output, text, is_complete; with --follow, one object a line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger logs worker                the last 100 lines of each output
  apm2-ledger logs worker-1 -f           and what comes
  apm2-ledger logs agent --stderr -n 20
  apm2-ledger logs agent --since '10m ago'
  apm2-ledger logs agent --run 3         the output of its third run
  apm2-ledger logs agent --stdout -n all | grep error
  apm2-ledger logs agent --pretty -f     what an AI agent says and does, as text
  apm2-ledger --format jsonl logs agent -f | jq -r .text")]
pub(crate) struct LogsArgs {
    /// Process ids, unique prefixes of ids (4 characters or more), names, NAME-INSTANCE
    #[arg(required_unless_present = "process")]
    ids: Vec<String>,
    /// The output of this process, as an id before
    #[arg(long, value_name = "ID")]
    process: Vec<String>,
    /// Wait for new output and print it
    #[arg(long, short)]
    follow: bool,
    /// Last N lines of each output, or `all`. Default: 100, or all with --since
    #[arg(short = 'n', long, visible_alias = "limit", value_name = "N", value_parser = parse_lines)]
    lines: Option<LineCount>,
    /// Only lines written since TIME. Exact when lines have timestamps (`timestamps = true`); otherwise each file that was
    /// modified since then is shown completely
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Only lines written up to TIME. Exact when lines have timestamps
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "follow")]
    until: Option<DateTime<Utc>>,
    /// Only lines written during the run with this number. Exact when lines have timestamps
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "since", "until"])]
    run: Option<u64>,
    /// Standard output only
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Standard error only
    #[arg(long)]
    stderr: bool,
    /// Do not escape control characters on a terminal
    #[arg(long)]
    raw: bool,
    /// Show the JSON lines of an AI agent as text: what it says, a short line for each tool call (→), result (←), prompt (>),
    /// thought (~), notice (!) and end (=). Other lines are shown as they are
    #[arg(long, conflicts_with = "raw")]
    pretty: bool,
}

/// Largest number of attempts to print the last lines of an output that is rotated while it is read.
const REMOVED_TRIES_MAX: u32 = 8;

/// The value of `--lines`: a number of lines, or `all`.
#[derive(Debug, Clone, Copy)]
enum LineCount {
    All,
    Last(usize),
}

fn parse_lines(text: &str) -> Result<LineCount, String> {
    if text == "all" {
        return Ok(LineCount::All);
    }
    text.parse().map(LineCount::Last).map_err(|_| "write a number, or `all`".to_owned())
}

/// The times between which lines are printed.
#[derive(Debug, Clone, Copy)]
struct Times {
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

/// One log file that is read, with its incomplete line.
struct Log {
    origin: LineOrigin,
    path: PathBuf,
    times: Times,
    reader: LogReader,
    /// The incomplete line of this file. Each file has its own buffer, so that lines of several files do not mix.
    begun: PartialLine,
}

pub(crate) fn run(args: &LogsArgs, context: &Context) -> Result<i32, CliError> {
    if args.pretty && context.format != Format::Table {
        return Err(CliError::usage("--pretty is text for people").with_hint("JSON has the lines as they were written"));
    }
    let mut logs = find(args, context)?;
    let mut watch = FileWatch::new().map_err(|error| CliError::failed(format!("files cannot be watched: {error}")))?;
    if args.follow {
        logs.iter().for_each(|log| watch.add_file(&log.path));
    }
    let escapes = io::stdout().is_terminal() && !args.raw;
    // Endless output cannot be one JSON document, so `--follow` prints one JSON object per line.
    let is_endless = args.follow && context.format == Format::Json;
    let mut out = match if is_endless { Format::Jsonl } else { context.format } {
        Format::Table => Printer::text(escapes, logs.len() > 1).with_pretty(args.pretty),
        Format::Json => Printer::array(),
        Format::Jsonl => Printer::objects(),
    };
    out.begin(context.notice())?;
    for log in &mut logs {
        print_last(log, args, &mut out).map_err(|error| unreadable(log, &error))?;
        if !args.follow {
            log.begun.print(&log.origin, &mut out)?;
        }
    }
    if !args.follow {
        out.end()?;
        return Ok(0);
    }
    out.flush()?;
    out.go_on();
    follow(&mut logs, &mut watch, &mut out)
}

fn follow(logs: &mut [Log], watch: &mut FileWatch, out: &mut Printer) -> Result<i32, CliError> {
    loop {
        let mut has_come = false;
        for log in logs.iter_mut() {
            has_come |= print_next(log, out).map_err(|error| unreadable(log, &error))?;
        }
        if has_come {
            continue;
        }
        let now = Instant::now();
        let mut wait = LOOK_MAX;
        for log in logs.iter_mut() {
            match log.begun.since().map(|since| UNFINISHED_MAX.saturating_sub(now.duration_since(since))) {
                Some(Duration::ZERO) => log.begun.print_unfinished(&log.origin, out)?,
                Some(left) => wait = wait.min(left),
                None => {}
            }
        }
        out.flush()?;
        watch.wait(wait);
    }
}

fn unreadable(log: &Log, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)),
        _ => CliError::failed(format!("{}: {error}", log.path.display())),
    }
}

/// The log files of the requested instances, in the order of the instances.
fn find(args: &LogsArgs, context: &Context) -> Result<Vec<Log>, CliError> {
    let dir = context.ledger_dir()?;
    let logs_dir = LogsDir::new(dir.join("logs"));
    let mut logs = Vec::new();
    for (stream, times) in instances(args, context)? {
        let (id, spec) = (stream.id, &stream.handle.spec);
        let files = logs_dir.files(&spec.log, &spec.name, id.instance);
        for (output, path) in files.all() {
            let is_wanted = match output {
                OutputSource::Stdout => !args.stderr || files.stderr.is_none(),
                OutputSource::Stderr => !args.stdout,
            };
            if is_wanted {
                let title = format!("{} {}", escape(&stream.handle.display_name()), print::name_of(output));
                let opened = LogReader::from_start(path);
                let reader = opened.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
                let (process_id, name, instance) = (id.process_id, spec.name.clone(), id.instance);
                let origin = LineOrigin { process_id, name, instance, output, title };
                logs.push(Log { origin, path: path.to_owned(), times, reader, begun: PartialLine::default() });
            }
        }
    }
    if logs.is_empty() {
        say("nothing was written");
    }
    Ok(logs)
}

/// The states of the requested instances, with the times of the requested lines.
fn instances(args: &LogsArgs, context: &Context) -> Result<Vec<(Stream, Times)>, CliError> {
    let ask = |source: &LedgerSource| {
        let mut ids: Vec<StreamId> = Vec::new();
        for text in args.ids.iter().chain(&args.process) {
            ids.extend(source.named(text)?);
        }
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(*id));
        let of = ids.into_iter().map(|id| StreamAt { id, seq: u64::MAX }).collect();
        let streams = source.states_of(&StatesQuestion::Of(of))?;
        let with_times = |stream: Stream| {
            let times = match args.run {
                Some(run) => times_of_run(source, &stream, run)?,
                None => Times { since: args.since, until: args.until },
            };
            Ok((stream, times))
        };
        streams.into_iter().map(with_times).collect::<Result<Vec<_>, ReadFailure>>()
    };
    Ok(context.read(ask)?.0)
}

/// From the start of a run to its end; no end while it lasts.
fn times_of_run(source: &LedgerSource, stream: &Stream, run: u64) -> Result<Times, ReadFailure> {
    let kinds = KindSet::named(["start_requested"].into_iter().chain(END_KINDS));
    let query = EventQuery { run: Some(run), kinds: Some(kinds), ..EventQuery::stream(stream.id) };
    let events = source.events_in_order(&EventsQuestion::all(query, (1, u64::MAX)))?;
    let Some(first) = events.first() else {
        let message = format!("{} has no run {run}", stream.handle.display_name());
        return Err(CliError::usage(message).with_hint(format!("its last run is run {}", stream.run)).into());
    };
    let end = events.iter().find(|event| END_KINDS.contains(&event.kind.name()));
    Ok(Times { since: Some(first.stamp.wall()), until: end.map(|event| event.stamp.wall()) })
}

/// Prints the last existing lines. If rotation has removed all these lines before they were read, the last lines are
/// searched for again.
fn print_last(log: &mut Log, args: &LogsArgs, out: &mut Printer) -> io::Result<()> {
    let mut printed = PrintedLog::default();
    for _ in 0..REMOVED_TRIES_MAX {
        printed = print_to_end(log, args, out)?;
        if !printed.is_overtaken() {
            break;
        }
    }
    if printed.removed_files > 0 {
        say_removed(log, printed.removed_files);
    } else if printed.is_overtaken() {
        say(&format!("{}: the last lines were removed before they were read", log.origin.title));
    }
    Ok(())
}

fn say_removed(log: &Log, files: u64) {
    say(&format!("{}: {files} rotated files were removed before they were read", log.origin.title));
}

/// The result of printing one file.
#[derive(Default)]
struct PrintedLog {
    bytes: usize,
    /// Number of rotated files that were removed before they were read.
    removed_files: u64,
    /// Whether there was output to print when the end was determined.
    has_output: bool,
}

impl PrintedLog {
    /// Whether the output was removed before it was read. A file that is being renamed at that moment cannot be opened, so
    /// the removal is not always noticed as such.
    const fn is_overtaken(&self) -> bool {
        self.has_output && self.bytes == 0
    }
}

/// Prints the last existing lines. Reads only up to the size at the beginning, since a process may write faster than
/// this program reads.
fn print_to_end(log: &mut Log, args: &LogsArgs, out: &mut Printer) -> io::Result<PrintedLog> {
    let mut printed = PrintedLog::default();
    let end = end_of_lines(log)?;
    // An output that was rotated before has lines, even if the newest file is empty and the others are being removed.
    let mut has_earlier = false;
    let of_all = if log.times.since.is_some() { LineCount::All } else { LineCount::Last(LINES_SHOWN) };
    if let LineCount::Last(max) = args.lines.unwrap_or(of_all) {
        log.reader = LogReader::from_position(&log.path, last_lines_begin(&log.path, max, end)?)?;
        has_earlier = max > 0 && end.generation > 1;
    }
    if let Some(time) = log.times.since {
        let since = output_since(&log.path, time)?;
        if since.position > log.reader.position() {
            log.reader = LogReader::from_position(&log.path, since.position)?;
            has_earlier = false;
        }
        if !since.is_exact {
            say(&format!("{}: lines have no times; some may be from before {time}", log.origin.title));
        }
    }
    printed.has_output = has_earlier || log.reader.position() < end;
    while log.reader.position() < end {
        let bytes = match log.reader.next_item()? {
            LogItem::End => break,
            LogItem::Gap(files) => {
                printed.removed_files = printed.removed_files.saturating_add(files);
                continue;
            }
            LogItem::Bytes(bytes) => bytes.to_vec(),
        };
        let position = log.reader.position();
        let is_beyond = position.generation == end.generation && position.offset > end.offset;
        let beyond = if is_beyond { position.offset.saturating_sub(end.offset) } else { 0 };
        let wanted = bytes.len().saturating_sub(usize::try_from(beyond).unwrap_or(usize::MAX));
        log.begun.take(&log.origin, bytes.get(..wanted).unwrap_or_default(), out)?;
        printed.bytes = printed.bytes.saturating_add(wanted);
        if is_beyond {
            log.reader = LogReader::from_position(&log.path, end)?;
            break;
        }
    }
    Ok(printed)
}

/// The end of the requested lines.
fn end_of_lines(log: &Log) -> io::Result<LogPosition> {
    let end = LogReader::end(&log.path)?;
    let Some(until) = log.times.until else { return Ok(end) };
    // The position of the first later line is exact to the millisecond of the timestamps.
    let later = output_since(&log.path, until + TIMESTAMP_PRECISION)?;
    if !later.is_exact {
        say(&format!("{}: lines have no times; some may be from after {until}", log.origin.title));
        return Ok(end);
    }
    Ok(later.position.min(end))
}

/// Prints new output. Returns whether there was new output.
fn print_next(log: &mut Log, out: &mut Printer) -> io::Result<bool> {
    match log.reader.next_item()? {
        LogItem::End => Ok(false),
        LogItem::Gap(files) => {
            say_removed(log, files);
            Ok(true)
        }
        LogItem::Bytes(bytes) => log.begun.take(&log.origin, bytes, out).map(|()| true),
    }
}
