//! `logs`: what processes wrote.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_core::{
    log::{LogItem, LogPosition, LogReader, LogsDir},
    notify::FileWatch,
    process::OutputSource,
};

use crate::{
    context::{Context, say},
    error::CliError,
    render::escape::{escape, escape_bytes},
};

/// How long is waited at most before files that are followed are looked at again.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Bytes of a line that is shown; what is longer is shown in pieces.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Show what a process wrote
///
/// Reads the log files, rotated and compressed ones too; no daemon is needed. Of several files, what is there has a title
/// above it, and each line that comes later has it in front. On a terminal, control characters are escaped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger logs worker                the last 100 lines of each output
  apm2-ledger logs worker-1 -f           and what comes
  apm2-ledger logs agent --stderr -n 20
  apm2-ledger logs agent --stdout -n all | grep error")]
pub(crate) struct LogsArgs {
    /// A process id, a unique prefix of one (4 or more), a name, or name-instance
    id: String,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// The last N lines of each output, or `all`
    #[arg(short = 'n', long, value_name = "N", default_value = "100", value_parser = parse_lines)]
    lines: Lines,
    /// Standard output only
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Standard error only
    #[arg(long)]
    stderr: bool,
    /// As it is, on a terminal too
    #[arg(long)]
    raw: bool,
}

/// How many lines.
#[derive(Debug, Clone, Copy)]
enum Lines {
    All,
    Last(usize),
}

fn parse_lines(text: &str) -> Result<Lines, String> {
    if text == "all" {
        return Ok(Lines::All);
    }
    text.parse().map(Lines::Last).map_err(|_| "write a number, or `all`".to_owned())
}

/// One file that is read.
struct Log {
    title: String,
    path: PathBuf,
    reader: LogReader,
    /// The beginning of a line whose end has not come: the lines of several files do not mix.
    begun: Vec<u8>,
}

pub(super) fn run(args: &LogsArgs, context: &Context) -> Result<i32, CliError> {
    let mut logs = find(args, context)?;
    let mut watch = FileWatch::new().map_err(|error| CliError::failed(format!("files cannot be watched: {error}")))?;
    if args.follow {
        logs.iter().for_each(|log| watch.add_file(&log.path));
    }
    let escapes = io::stdout().is_terminal() && !args.raw;
    let titles = if logs.len() > 1 { Titles::Above } else { Titles::None };
    let mut out = Printer { out: io::stdout().lock(), escapes, titles, titled: None };
    for log in &mut logs {
        print_last(log, args.lines, &mut out).map_err(|error| unreadable(log, &error))?;
        if !args.follow {
            out.print_begun(log)?;
        }
    }
    out.out.flush()?;
    if !args.follow {
        return Ok(0);
    }
    if out.titles == Titles::Above {
        out.titles = Titles::InFront;
    }
    loop {
        let mut has_come = false;
        for log in &mut logs {
            has_come |= print_new(log, &mut out)?;
        }
        if !has_come {
            out.out.flush()?;
            watch.wait(LOOK_MAX);
        }
    }
}

fn unreadable(log: &Log, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)),
        _ => CliError::failed(format!("{}: {error}", log.path.display())),
    }
}

/// The files of the instances that are asked for, those that are there first.
fn find(args: &LogsArgs, context: &Context) -> Result<Vec<Log>, CliError> {
    let dir = context.ledger_dir()?;
    let logs_dir = LogsDir::new(dir.join("logs"));
    let reader = context.reader()?;
    let mut logs = Vec::new();
    for id in reader.find(&args.id)? {
        let Some(stream) = reader.stream(id)? else { continue };
        let spec = &stream.handle.spec;
        let files = logs_dir.files(&spec.log, &spec.name, id.instance);
        for (source, path) in files.all() {
            let is_wanted = match source {
                OutputSource::Stdout => !args.stderr || files.stderr.is_none(),
                OutputSource::Stderr => !args.stdout,
            };
            if is_wanted {
                let name = if source == OutputSource::Stdout { "stdout" } else { "stderr" };
                let title = format!("{} {name}", escape(&stream.handle.display_name()));
                let opened = LogReader::from_start(path);
                let reader = opened.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
                logs.push(Log { title, path: path.to_owned(), reader, begun: Vec::new() });
            }
        }
    }
    if logs.is_empty() {
        say("nothing was written");
    }
    Ok(logs)
}

/// Prints the last lines of what is there now. A process may write faster than anybody reads.
fn print_last(log: &mut Log, lines: Lines, out: &mut Printer<'_>) -> io::Result<()> {
    let end = LogReader::end(&log.path)?;
    let Lines::Last(max) = lines else {
        while log.reader.position() < end && print_new_item(log, out)? {}
        return Ok(());
    };
    log.reader = from_last(&log.path, max, end)?;
    let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
    while log.reader.position() < end {
        match log.reader.next_item()? {
            LogItem::End => break,
            LogItem::Gap(_) => {}
            LogItem::Bytes(bytes) => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    match kept.back_mut().filter(|last| !last.ends_with(b"\n") && last.len() < LINE_BYTES_MAX) {
                        Some(last) => last.extend_from_slice(piece),
                        None => kept.push_back(piece.to_vec()),
                    }
                    if kept.len() > max {
                        kept.pop_front();
                    }
                }
            }
        }
    }
    for line in kept {
        out.print(&log.title, &mut log.begun, &line)?;
    }
    Ok(())
}

/// A reader of the newest files that have so many lines together before `end`.
fn from_last(path: &Path, lines: usize, end: LogPosition) -> io::Result<LogReader> {
    let oldest = LogReader::from_start(path)?.position().generation;
    let mut start = LogPosition { offset: 0, ..end };
    let (mut file_end, mut count) = (end, 0);
    loop {
        let mut reader = LogReader::from_position(path, start)?;
        while reader.position() < file_end {
            let ended = match reader.next_item()? {
                LogItem::End => break,
                LogItem::Gap(_) => 0,
                LogItem::Bytes(bytes) => bytes.iter().filter(|byte| **byte == b'\n').count(),
            };
            // What is in the file after it was counted before.
            count += if reader.position().generation == start.generation { ended } else { 0 };
        }
        // One more: the first file may begin in the middle of a line.
        if count > lines || start.generation <= oldest {
            return LogReader::from_position(path, start);
        }
        file_end = start;
        start.generation = start.generation.saturating_sub(1);
    }
}

fn print_new(log: &mut Log, out: &mut Printer<'_>) -> Result<bool, CliError> {
    print_new_item(log, out).map_err(|error| unreadable(log, &error))
}

/// Prints what comes next; whether something did.
fn print_new_item(log: &mut Log, out: &mut Printer<'_>) -> io::Result<bool> {
    match log.reader.next_item()? {
        LogItem::End => Ok(false),
        LogItem::Gap(files) => {
            say(&format!("{}: {files} rotated files were removed before they were read", log.title));
            Ok(true)
        }
        LogItem::Bytes(bytes) => out.print(&log.title, &mut log.begun, bytes).map(|()| true),
    }
}

/// Where it stands which file something is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Titles {
    /// Nowhere: there is one file.
    None,
    /// Above what is of one file.
    Above,
    /// In front of each line.
    InFront,
}

/// Prints what is in one file as it is, and whole lines of several.
struct Printer<'a> {
    out: io::StdoutLock<'a>,
    escapes: bool,
    titles: Titles,
    titled: Option<String>,
}

impl Printer<'_> {
    /// Prints the lines that `bytes` end, the first of which has `begun` before. What they begin is kept there.
    fn print(&mut self, title: &str, begun: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
        if self.titles == Titles::None {
            return self.write(bytes);
        }
        let ended = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let (lines, rest) = bytes.split_at_checked(ended).unwrap_or_default();
        if !lines.is_empty() {
            begun.extend_from_slice(lines);
            self.print_lines(title, &std::mem::take(begun))?;
        }
        begun.extend_from_slice(rest);
        if begun.len() > LINE_BYTES_MAX { self.print_lines(title, &std::mem::take(begun)) } else { Ok(()) }
    }

    /// Prints the beginning of a line that is not waited for any longer.
    fn print_begun(&mut self, log: &mut Log) -> io::Result<()> {
        let begun = std::mem::take(&mut log.begun);
        if begun.is_empty() { Ok(()) } else { self.print_lines(&log.title, &begun) }
    }

    fn print_lines(&mut self, title: &str, lines: &[u8]) -> io::Result<()> {
        if self.titles == Titles::InFront {
            return lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| {
                write!(self.out, "{title} | ")?;
                self.write(line)?;
                if line.ends_with(b"\n") { Ok(()) } else { writeln!(self.out) }
            });
        }
        if self.titled.as_deref() != Some(title) {
            let gap = if self.titled.is_some() { "\n" } else { "" };
            writeln!(self.out, "{gap}==> {title} <==")?;
            self.titled = Some(title.to_owned());
        }
        self.write(lines)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.escapes { self.out.write_all(escape_bytes(bytes).as_bytes()) } else { self.out.write_all(bytes) }
    }
}
