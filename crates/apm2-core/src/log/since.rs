//! Where the part of an output begins that was written since a time.

use std::{io, path::Path, time::SystemTime};

use chrono::{DateTime, Utc};

use super::{
    LogItem, LogPosition, LogReader,
    files::{open_for_reading, rotated},
};

/// Length of the time before a line, without the space after it: `2026-01-31T12:00:00.000Z`.
const TIME_BYTES: usize = 24;

/// Where what was written since `time` begins. Where each line begins with its time, that is the first such line; else it is
/// the beginning of the first file that was written to since then, in which what comes first may be older.
///
/// # Errors
/// When a file cannot be read.
pub fn written_since(path: &Path, time: DateTime<Utc>, has_times: bool) -> io::Result<LogPosition> {
    let start = first_file(path, time.into())?;
    if has_times { first_line(path, start, time) } else { Ok(start) }
}

/// The beginning of the first file that was written to since then. A compressed one has a later time than what is in it.
fn first_file(path: &Path, time: SystemTime) -> io::Result<LogPosition> {
    let is_since = |path: &Path| Ok::<_, io::Error>(open_for_reading(path)?.metadata()?.modified()? >= time);
    let mut next = 1;
    for file in rotated(path)? {
        match is_since(&file.path) {
            Ok(true) => return Ok(LogPosition { generation: file.generation, offset: 0 }),
            // Compressed or removed at this moment, it was the oldest: what is left is looked at when it is read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(LogPosition { generation: file.generation, offset: 0 });
            }
            Ok(false) => next = file.generation.saturating_add(1),
            Err(error) => return Err(error),
        }
    }
    match is_since(path) {
        Ok(false) => LogReader::end(path),
        Ok(true) => Ok(LogPosition { generation: next, offset: 0 }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogPosition { generation: next, offset: 0 }),
        Err(error) => Err(error),
    }
}

/// The first line from `start` on whose time is not before `time`.
fn first_line(path: &Path, start: LogPosition, time: DateTime<Utc>) -> io::Result<LogPosition> {
    let end = LogReader::end(path)?;
    let mut reader = LogReader::from_position(path, start)?;
    let (mut line, mut begin) = (Vec::with_capacity(TIME_BYTES), start);
    while reader.position() < end {
        let bytes = match reader.next_item()? {
            LogItem::End => break,
            LogItem::Gap(_) => continue,
            LogItem::Bytes(bytes) => bytes.to_vec(),
        };
        let LogPosition { generation, offset } = reader.position();
        let from = offset.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for (at, byte) in (from..).zip(bytes) {
            if byte == b'\n' {
                line.clear();
                begin = LogPosition { generation, offset: at.saturating_add(1) };
            } else if line.len() < TIME_BYTES {
                line.push(byte);
                if line.len() == TIME_BYTES && time_of(&line).is_some_and(|found| found >= time) {
                    return Ok(begin);
                }
            }
        }
    }
    Ok(end)
}

fn time_of(text: &[u8]) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(std::str::from_utf8(text).ok()?).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::process::{Clock as _, SystemClock};

    fn now() -> SystemTime {
        SystemClock.now().wall().into()
    }

    const LINES: &str = "2026-01-31T12:00:00.000Z one\nno time\n2026-01-31T12:00:01.000Z two\n\
                         2026-01-31T12:00:02.000Z three\n";

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn lines_with_times_are_found() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, LINES).unwrap();
        let offset = |time: &str| written_since(&path, at(time), true).unwrap().offset;
        let two = LINES.find("2026-01-31T12:00:01").unwrap() as u64;
        assert_eq!(offset("2026-01-31T11:00:00Z"), 0);
        assert_eq!((offset("2026-01-31T12:00:00.500Z"), offset("2026-01-31T12:00:01Z")), (two, two));
        assert_eq!(offset("2026-01-31T12:00:03Z"), LINES.len() as u64);
    }

    #[test]
    fn files_that_were_left_before_are_passed_over() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.log");
        let old = dir.path().join("a.log.00000001");
        fs::write(&old, "old\n").unwrap();
        let hour_ago = now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&old).unwrap().set_modified(hour_ago).unwrap();
        fs::write(dir.path().join("a.log.00000002"), "new\n").unwrap();
        fs::write(&path, "newer\n").unwrap();
        let since = |seconds: u64| {
            let time = now() - Duration::from_secs(seconds);
            written_since(&path, time.into(), false).unwrap()
        };
        assert_eq!(since(60), LogPosition { generation: 2, offset: 0 });
        assert_eq!(since(7200), LogPosition { generation: 1, offset: 0 });
        let later = now() + Duration::from_secs(60);
        assert_eq!(written_since(&path, later.into(), false).unwrap(), LogPosition { generation: 3, offset: 6 });
    }
}
