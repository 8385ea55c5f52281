//! Prints lines of output: unchanged, with titles, or as JSON objects.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    iter,
    time::Instant,
};

use apm2_model::{event::kind::OutputSource, spec::id::ProcessId};
use serde::Serialize;

use crate::{
    render::{agent_line::pretty, escape::escape_bytes},
    view::notice::{Notice, items},
};

/// The source of a line: a process and one of its outputs.
pub(crate) struct LineOrigin {
    pub(crate) process_id: ProcessId,
    pub(crate) name: String,
    pub(crate) instance: u32,
    pub(crate) output: OutputSource,
    /// The title of the source, which is printed when several files are shown.
    pub(crate) title: String,
}

/// Largest number of buffered bytes of an incomplete line. A longer line is printed in parts.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Largest number of buffered bytes of an incomplete line for JSON output. It is larger, because each line should
/// become one object.
const OBJECT_BYTES_MAX: usize = 16 << 20;

/// The title of an output: the name of the process, and the output.
pub(crate) const fn name_of(output: OutputSource) -> &'static str {
    match output {
        OutputSource::Stdout => "stdout",
        OutputSource::Stderr => "stderr",
    }
}

/// The buffer for an incomplete line.
#[derive(Default)]
pub(crate) struct PartialLine {
    bytes: Vec<u8>,
    /// The time at which the last byte of the line was read.
    since: Option<Instant>,
    /// Whether the text of the line was printed before its line feed was read.
    is_ahead: bool,
}

impl PartialLine {
    /// The time at which the last byte of the incomplete line was read; `None` when no line is incomplete.
    pub(crate) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Prints the lines that `bytes` complete, and buffers the rest.
    pub(crate) fn take(&mut self, origin: &LineOrigin, bytes: &[u8], out: &mut Printer) -> io::Result<()> {
        if out.is_plain() {
            return out.write(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if std::mem::take(&mut self.is_ahead) && piece == b"\n" {
                continue;
            }
            if self.bytes.is_empty() && piece.ends_with(b"\n") {
                out.print(origin, piece)?;
                continue;
            }
            self.bytes.extend_from_slice(piece);
            self.since = Some(Instant::now());
            if piece.ends_with(b"\n") || self.bytes.len() > out.bytes_max() {
                self.print(origin, out)?;
            }
        }
        Ok(())
    }

    /// Prints the incomplete line after a wait. An incomplete object cannot be shown as text: it is kept until more of it is read.
    pub(crate) fn print_unfinished(&mut self, origin: &LineOrigin, out: &mut Printer) -> io::Result<()> {
        if out.pretty && self.bytes.contains(&b'{') {
            self.is_ahead = str::from_utf8(&self.bytes).is_ok_and(|line| pretty(line).is_some());
            if !self.is_ahead {
                self.since = None;
                return Ok(());
            }
        }
        self.print(origin, out)
    }

    /// Prints the incomplete line, if there is one.
    pub(crate) fn print(&mut self, origin: &LineOrigin, out: &mut Printer) -> io::Result<()> {
        self.since = None;
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() { Ok(()) } else { out.print(origin, &bytes) }
    }
}

/// The style in which lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogStyle {
    /// Lines are printed unchanged. For one file.
    Plain,
    /// A title is printed above the lines of each file.
    TitlesAbove,
    /// A title is printed at the beginning of each line.
    TitlesInFront,
    /// Lines are printed as JSON objects, one per line.
    Objects,
    /// Lines are printed as a JSON array of objects.
    Array,
}

/// The JSON object for a line, or for a part of a line.
#[derive(Serialize)]
struct LineView<'a> {
    process_id: String,
    name: &'a str,
    instance: u32,
    output: &'static str,
    /// The text of the line without the line feed. Invalid UTF-8 is replaced.
    text: &'a str,
    /// Whether the line is complete. False when another part of the line may follow.
    is_complete: bool,
}

/// Prints lines to standard output.
pub(crate) struct Printer {
    out: BufWriter<Stdout>,
    escapes: bool,
    /// Whether the JSON lines of an agent are printed as text.
    pretty: bool,
    style: LogStyle,
    /// The source whose title was printed last.
    titled: Option<String>,
    /// The source of the incomplete line at the end of the output.
    open: Option<String>,
    /// The number of objects printed so far.
    objects: u64,
}

impl Printer {
    /// A printer of text, for one file or for several files.
    pub(crate) fn text(escapes: bool, has_titles: bool) -> Self {
        Self { escapes, ..Self::of(if has_titles { LogStyle::TitlesAbove } else { LogStyle::Plain }) }
    }

    /// The same printer, which prints the JSON lines of an agent as text.
    pub(crate) fn with_pretty(self, pretty: bool) -> Self {
        Self { pretty, ..self }
    }

    /// A printer of a JSON array.
    pub(crate) fn array() -> Self {
        Self::of(LogStyle::Array)
    }

    /// A printer of JSON objects, one per line.
    pub(crate) fn objects() -> Self {
        Self::of(LogStyle::Objects)
    }

    fn of(style: LogStyle) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { out, escapes: false, pretty: false, style, titled: None, open: None, objects: 0 }
    }

    /// Prints the beginning of the JSON document. If there is a notice about the whole result, it is the first object.
    pub(crate) fn begin(&mut self, notice: Option<&Notice>) -> io::Result<()> {
        if self.style == LogStyle::Array {
            self.out.write_all(b"[")?;
        }
        if matches!(self.style, LogStyle::Objects | LogStyle::Array) {
            items(notice, iter::empty::<()>()).try_for_each(|notice| self.print_object(&notice))?;
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.style == LogStyle::Array {
            self.out.write_all(if self.objects > 0 { b"\n]\n" } else { b"]\n" })?;
        }
        self.flush()
    }

    /// From now on, prints the title at the beginning of each line (`--follow`).
    pub(crate) fn go_on(&mut self) {
        if self.style == LogStyle::TitlesAbove {
            self.style = LogStyle::TitlesInFront;
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether bytes are printed unchanged and without a line buffer.
    fn is_plain(&self) -> bool {
        self.style == LogStyle::Plain && !self.pretty
    }

    /// Largest number of bytes of a line that are buffered before the line is printed in parts.
    const fn bytes_max(&self) -> usize {
        match self.style {
            _ if self.pretty => OBJECT_BYTES_MAX,
            LogStyle::Objects | LogStyle::Array => OBJECT_BYTES_MAX,
            LogStyle::Plain | LogStyle::TitlesAbove | LogStyle::TitlesInFront => LINE_BYTES_MAX,
        }
    }

    /// Prints a line, or a part of a line.
    fn print(&mut self, origin: &LineOrigin, line: &[u8]) -> io::Result<()> {
        let text = if self.pretty { str::from_utf8(line).ok().and_then(pretty) } else { None };
        let Some(text) = text else { return self.print_line(origin, line) };
        text.lines().try_for_each(|line| self.print_line(origin, format!("{line}\n").as_bytes()))
    }

    fn print_line(&mut self, origin: &LineOrigin, line: &[u8]) -> io::Result<()> {
        match self.style {
            LogStyle::Plain => self.write(line),
            LogStyle::TitlesAbove => {
                if self.titled.as_deref() != Some(&origin.title) {
                    let gap = if self.titled.is_some() { "\n" } else { "" };
                    writeln!(self.out, "{gap}==> {} <==", origin.title)?;
                    self.titled = Some(origin.title.clone());
                }
                self.write(line)
            }
            LogStyle::TitlesInFront => self.print_titled(origin, line),
            LogStyle::Objects | LogStyle::Array => self.print_line_object(origin, line),
        }
    }

    /// Prints a line with its title. If the last printed line is incomplete and from the same source, continues that
    /// line.
    fn print_titled(&mut self, origin: &LineOrigin, line: &[u8]) -> io::Result<()> {
        if self.open.as_deref() != Some(&origin.title) {
            if self.open.is_some() {
                writeln!(self.out)?;
            }
            write!(self.out, "{} | ", origin.title)?;
        }
        self.write(line)?;
        self.open = (!line.ends_with(b"\n")).then(|| origin.title.clone());
        Ok(())
    }

    fn print_line_object(&mut self, origin: &LineOrigin, line: &[u8]) -> io::Result<()> {
        let is_complete = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let (process_id, output) = (origin.process_id.to_string(), name_of(origin.output));
        let (name, instance) = (origin.name.as_str(), origin.instance);
        self.print_object(&LineView { process_id, name, instance, output, text: &text, is_complete })
    }

    fn print_object(&mut self, object: &impl Serialize) -> io::Result<()> {
        if self.style == LogStyle::Array {
            self.out.write_all(if self.objects > 0 { b",\n  " } else { b"\n  " })?;
        }
        self.objects = self.objects.saturating_add(1);
        serde_json::to_writer(&mut self.out, object)?;
        if self.style == LogStyle::Array { Ok(()) } else { writeln!(self.out) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.escapes { self.out.write_all(escape_bytes(bytes).as_bytes()) } else { self.out.write_all(bytes) }
    }
}
