//! Reads the output of the process that is displayed, and follows it.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{SendError, SyncSender},
    thread,
    time::Duration,
};

use apm2_core::{
    log::{LogItem, LogReader, last_lines_begin, output_since},
    notify::FileWatch,
};
use apm2_model::event::kind::OutputSource;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    render::{agent_line::pretty, escape::escape_bytes},
    top::{
        feed::{
            log_requests::LogRequests,
            log_update::{LogPiece, LogTarget, LogUpdate},
        },
        message::Message,
    },
};

/// Number of lines of each output that are shown first.
const LINES_FIRST: usize = 500;

/// Number of lines that are shown of output that comes too fast, at each update.
const LINES_OF_FLOOD: usize = 100;

/// Largest number of bytes of an output that are read before the screen gets them.
const ROUND_BYTES_MAX: usize = 256 << 10;

/// Longest incomplete line that is held back, in bytes.
const BEGUN_BYTES_MAX: usize = 64 << 10;

/// Shortest time between two updates of the screen.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);

/// Longest wait before the files are read again. A change of a file ends the wait.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Precision of the timestamps of lines.
const TIMESTAMP_PRECISION: TimeDelta = TimeDelta::milliseconds(1);

/// Serves requests until the screen is closed.
pub(crate) fn serve(requests: &LogRequests, screen: &SyncSender<Message>) {
    let mut served = 0;
    loop {
        let (target, number) = requests.next(served);
        served = number;
        if follow(target, number, requests, screen).is_err() {
            return;
        }
    }
}

/// Sends the last lines, and what follows until there is another request.
fn follow(
    target: LogTarget,
    number: u64,
    requests: &LogRequests,
    screen: &SyncSender<Message>,
) -> Result<(), Box<SendError<Message>>> {
    let send = |pieces| screen.send(Message::Logs(LogUpdate { target: target.clone(), pieces })).map_err(Box::new);
    let mut logs: Vec<Log> = target.files.iter().map(|file| Log::new(file.clone(), target.is_pretty)).collect();
    let last: Vec<_> = logs.iter_mut().map(|log| log.last_lines(target.until, LINES_FIRST)).collect();
    send(last.into_iter().flat_map(|read| read.unwrap_or_else(remark_of)).collect())?;
    let Ok(mut watch) = FileWatch::new() else { return send(vec![remark("the files cannot be watched")]) };
    logs.iter().for_each(|log| watch.add_file(&log.path));
    if target.until.is_some() || !requests.wakes(number, watch.waker()) {
        return Ok(());
    }
    while requests.is_current(number) {
        let pieces: Vec<_> = logs.iter_mut().flat_map(|log| log.next_lines().unwrap_or_else(remark_of)).collect();
        if pieces.is_empty() {
            watch.wait(LOOK_MAX);
        } else {
            send(pieces)?;
            thread::sleep(UPDATE_INTERVAL);
        }
    }
    Ok(())
}

fn remark(text: &str) -> LogPiece {
    LogPiece { output: None, text: text.to_owned(), ends_line: true }
}

fn remark_of(error: io::Error) -> Vec<LogPiece> {
    vec![remark(&format!("the log cannot be read: {error}"))]
}

/// One log file that is read.
struct Log {
    output: OutputSource,
    path: PathBuf,
    is_pretty: bool,
    /// The reader; `None` until the last lines were found.
    reader: Option<LogReader>,
    /// The line that has not ended.
    begun: Vec<u8>,
}

impl Log {
    fn new((output, path): (OutputSource, PathBuf), is_pretty: bool) -> Self {
        Self { output, path, is_pretty, reader: None, begun: Vec::new() }
    }

    /// The last lines up to a time, or up to the end as it is now.
    fn last_lines(&mut self, until: Option<DateTime<Utc>>, lines: usize) -> io::Result<Vec<LogPiece>> {
        let mut end = LogReader::end(&self.path)?;
        let mut pieces = Vec::new();
        if let Some(until) = until {
            let later = output_since(&self.path, until + TIMESTAMP_PRECISION)?;
            if later.is_exact {
                end = end.min(later.position);
            } else {
                pieces.push(remark("lines have no times (`timestamps = true` writes them): the newest ones are shown"));
            }
        }
        let mut reader = LogReader::from_position(&self.path, last_lines_begin(&self.path, lines, end)?)?;
        let mut bytes = Vec::new();
        while reader.position() < end {
            match reader.next_item()? {
                LogItem::End => break,
                LogItem::Gap(_) => continue,
                LogItem::Bytes(more) => bytes.extend_from_slice(more),
            }
            let position = reader.position();
            if position.generation == end.generation && position.offset > end.offset {
                let surplus = usize::try_from(position.offset - end.offset).unwrap_or(usize::MAX);
                bytes.truncate(bytes.len().saturating_sub(surplus));
                reader = LogReader::from_position(&self.path, end)?;
            }
        }
        self.reader = Some(reader);
        self.take(&bytes, &mut pieces);
        self.take_begun(&mut pieces);
        Ok(pieces)
    }

    /// The lines that were written since; none if nothing was.
    fn next_lines(&mut self) -> io::Result<Vec<LogPiece>> {
        let mut pieces = Vec::new();
        let Some(mut reader) = self.reader.take() else { return Ok(pieces) };
        let mut read = 0;
        loop {
            match reader.next_item()? {
                LogItem::End => {
                    self.take_begun(&mut pieces);
                    break;
                }
                LogItem::Gap(files) => {
                    pieces.push(remark(&format!("{files} files were removed before they were read")))
                }
                LogItem::Bytes(bytes) => {
                    read += bytes.len();
                    let bytes = bytes.to_vec();
                    self.take(&bytes, &mut pieces);
                }
            }
            if read > ROUND_BYTES_MAX {
                self.begun.clear();
                let mut pieces = vec![remark("output comes faster than it is shown; lines are left out")];
                pieces.append(&mut self.last_lines(None, LINES_OF_FLOOD)?);
                return Ok(pieces);
            }
        }
        self.reader = Some(reader);
        Ok(pieces)
    }

    /// Adds the lines that `bytes` complete, and holds the rest.
    fn take(&mut self, bytes: &[u8], pieces: &mut Vec<LogPiece>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.push_line(&line, true, pieces);
            } else if self.begun.len() > BEGUN_BYTES_MAX {
                self.take_begun(pieces);
            }
        }
    }

    /// Adds the begin of a line, such as a prompt.
    fn take_begun(&mut self, pieces: &mut Vec<LogPiece>) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            self.push_line(&begun, false, pieces);
        }
    }

    fn push_line(&self, line: &[u8], ends_line: bool, pieces: &mut Vec<LogPiece>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = self.is_pretty.then(|| str::from_utf8(line).ok().and_then(pretty)).flatten();
        match text {
            Some(text) => text.lines().for_each(|line| pieces.push(self.piece(line.to_owned(), true))),
            None => pieces.push(self.piece(escape_bytes(line), ends_line)),
        }
    }

    fn piece(&self, text: String, ends_line: bool) -> LogPiece {
        LogPiece { output: Some(self.output), text: text.replace('\t', "    "), ends_line }
    }
}
