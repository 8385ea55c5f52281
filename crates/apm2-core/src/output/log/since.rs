//! Finds the position in a log file from which on the output since a given time is stored.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};

use crate::output::log::{
    files::rotated,
    follow::{LogItem, LogPosition, LogReader},
};

/// Length of the timestamp at the beginning of a line, if lines have timestamps: `2026-01-31T12:00:00.000Z`.
const TIME_BYTES: usize = 24;

/// The kernel updates the modification time of a file only once per clock tick. This is the largest time by which it
/// can be earlier than the timestamps of lines.
const FILE_TIME_LAG_MAX: Duration = Duration::from_secs(1);

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputSince {
    /// The position at which the output since the time begins.
    pub position: LogPosition,
    /// Whether the position is exact. If the lines have no timestamps, the position is the beginning of a file, which
    /// may also contain older output.
    pub is_exact: bool,
}

/// The position at which the output that was written to `path` at `time` or later begins.
///
/// Files that were last written before `time` are not read.
///
/// # Errors
/// When a file cannot be read.
pub fn output_since(path: &Path, time: DateTime<Utc>) -> io::Result<OutputSince> {
    let end = LogReader::end(path)?;
    let is_late = |path: &Path| match path.metadata().and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified.checked_add(FILE_TIME_LAG_MAX).is_none_or(|latest| latest >= SystemTime::from(time)),
        // A missing file was rotated in the meantime, so its output is recent.
        Err(_) => true,
    };
    let earlier = rotated(path)?.into_iter().filter(|file| file.generation < end.generation);
    let first = earlier.filter(|file| is_late(&file.path)).map(|file| file.generation).min();
    let generation = match first {
        Some(generation) => generation,
        None if is_late(path) => end.generation,
        None => return Ok(OutputSince { position: end, is_exact: true }),
    };
    first_line_since(path, LogPosition { generation, offset: 0 }, end, time)
}

/// The line whose timestamp is read.
struct SearchedLine {
    begin: LogPosition,
    /// The first bytes of the line, at most the length of a timestamp.
    head: Vec<u8>,
}

impl SearchedLine {
    const fn at(begin: LogPosition) -> Self {
        Self { begin, head: Vec::new() }
    }

    /// The timestamp of the line; `None` while the line is incomplete, or if it has no timestamp.
    fn time(&self) -> Option<Option<DateTime<Utc>>> {
        if self.head.len() < TIME_BYTES && self.head.last() != Some(&b'\n') {
            return None;
        }
        let text = std::str::from_utf8(self.head.get(..TIME_BYTES).unwrap_or_default()).ok();
        Some(text.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|time| time.to_utc()))
    }
}

fn first_line_since(path: &Path, start: LogPosition, end: LogPosition, time: DateTime<Utc>) -> io::Result<OutputSince> {
    let mut reader = LogReader::from_position(path, start)?;
    let mut line = SearchedLine::at(start);
    while reader.position() < end {
        let bytes = match reader.next_item()? {
            LogItem::End => break,
            LogItem::Gap(_) => continue,
            LogItem::Bytes(bytes) => bytes.to_vec(),
        };
        let after = reader.position();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let from = LogPosition { offset: after.offset.saturating_sub(length), ..after };
        if line.begin.generation != from.generation {
            line = SearchedLine::at(from);
        }
        for (at, byte) in (from.offset..).zip(&bytes) {
            if line.head.len() < TIME_BYTES && line.head.last() != Some(&b'\n') {
                line.head.push(*byte);
                match line.time() {
                    // Either all lines have timestamps or none, so the first line is sufficient to decide.
                    Some(None) if line.begin == start => return Ok(OutputSince { position: start, is_exact: false }),
                    Some(Some(found)) if found.timestamp_millis() >= time.timestamp_millis() => {
                        return Ok(OutputSince { position: line.begin, is_exact: true });
                    }
                    _ => {}
                }
            }
            if *byte == b'\n' {
                line = SearchedLine::at(LogPosition { offset: at.saturating_add(1), ..from });
            }
        }
    }
    Ok(OutputSince { position: end, is_exact: true })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use chrono::TimeDelta;

    use super::*;

    fn time(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_769_860_800 + second, 0).unwrap()
    }

    fn place(generation: u64, offset: u64) -> LogPosition {
        LogPosition { generation, offset }
    }

    /// Writes the file `path` with the lines `text`, and sets its modification time to `second` seconds after 1970.
    fn write(path: &Path, text: &str, second: i64) {
        fs::write(path, text).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::from(time(second))).unwrap();
    }

    #[test]
    fn lines_with_times_are_found_in_the_file_that_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        let line = |second| format!("2026-01-31T12:00:{second:02}.000Z line {second:02}\n");
        write(&crate::output::log::files::rotated_path(&path, 1), &(line(1) + &line(2)), 2);
        write(&crate::output::log::files::rotated_path(&path, 2), &(line(11) + "no time\n" + &line(12)), 12);
        write(&path, &(line(21) + &line(22)), 22);
        let bytes = u64::try_from(line(1).len()).unwrap();
        let exact = |position| OutputSince { position, is_exact: true };
        let found = |second| output_since(&path, time(second)).unwrap();
        assert_eq!(found(-5), exact(place(1, 0)));
        assert_eq!(found(2), exact(place(1, bytes)));
        assert_eq!(found(5), exact(place(2, 0)));
        assert_eq!(found(12), exact(place(2, bytes + 8)));
        assert_eq!(found(22), exact(place(3, bytes)));
        assert_eq!(found(60), exact(place(3, 2 * bytes)));
        let between = output_since(&path, time(21) + TimeDelta::microseconds(400)).unwrap();
        assert_eq!(between, exact(place(3, 0)), "a line's time has no microseconds");
    }

    #[test]
    fn lines_without_times_begin_with_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        write(&crate::output::log::files::rotated_path(&path, 1), "old\n", 2);
        write(&path, "older or\nnewer\n", 22);
        let found = |second| output_since(&path, time(second)).unwrap();
        assert_eq!(found(10), OutputSince { position: place(2, 0), is_exact: false });
        assert_eq!(found(1), OutputSince { position: place(1, 0), is_exact: false });
        assert_eq!(found(60), OutputSince { position: place(2, 15), is_exact: true });
    }
}
