//! Finds the position at which the last lines of an output begin.

use std::{collections::VecDeque, io, path::Path};

use crate::output::log::follow::{LogItem, LogPosition, LogReader};

/// Number of times that a file is read as empty before it counts as empty.
const EMPTY_TRIES_MAX: u32 = 32;

/// The position at which the last `lines` lines before `end` begin. An unfinished line counts as a line. Only positions
/// are held in memory, so the lines may be of any length.
///
/// # Errors
/// When a file cannot be read.
pub fn last_lines_begin(path: &Path, lines: usize, end: LogPosition) -> io::Result<LogPosition> {
    if lines == 0 {
        return Ok(end);
    }
    let oldest = LogReader::from_start(path)?.position().generation;
    let (mut start, mut file_end, mut wanted) = (LogPosition { offset: 0, ..end }, end, lines);
    let mut is_followed = false;
    let mut tries = 0;
    loop {
        let (begins, is_empty) = lines_begin(path, start, file_end, wanted, is_followed)?;
        // A file that is being renamed cannot be found for a moment, but is not empty.
        if is_empty && tries < EMPTY_TRIES_MAX {
            tries += 1;
            continue;
        }
        is_followed |= !is_empty;
        if begins.len() >= wanted {
            return Ok(begins.front().copied().unwrap_or(start));
        }
        if start.generation <= oldest {
            return Ok(start);
        }
        wanted = wanted.saturating_sub(begins.len());
        file_end = start;
        start.generation = start.generation.saturating_sub(1);
    }
}

/// Returns the last `max` positions before `end` in one file at which a line begins after the end of another line, and
/// whether the file is empty. The end of the last file is not such a position.
fn lines_begin(
    path: &Path,
    start: LogPosition,
    end: LogPosition,
    max: usize,
    is_followed: bool,
) -> io::Result<(VecDeque<LogPosition>, bool)> {
    let mut reader = LogReader::from_position(path, start)?;
    let (mut begins, mut ends, mut read_to) = (VecDeque::new(), Vec::new(), start);
    while reader.position() < end {
        let length = match reader.next_item()? {
            LogItem::End => break,
            LogItem::Gap(_) => continue,
            LogItem::Bytes(bytes) => {
                let is_end = |(at, byte): (u64, &u8)| (*byte == b'\n').then_some(at.saturating_add(1));
                ends.clear();
                ends.extend((0..).zip(bytes).filter_map(is_end));
                u64::try_from(bytes.len()).unwrap_or(u64::MAX)
            }
        };
        let position = reader.position();
        // The lines of the next file have been counted already.
        if position.generation != start.generation {
            break;
        }
        let from = position.offset.saturating_sub(length);
        for end_at in &ends {
            let begin = LogPosition { offset: from.saturating_add(*end_at), ..position };
            // The process may have written more since `end` was determined.
            if begin > end {
                break;
            }
            begins.push_back(begin);
            // One more than `max` positions are kept, because the last position may not count.
            if begins.len() > max.saturating_add(1) {
                begins.pop_front();
            }
        }
        read_to = position.min(end);
    }
    if begins.back() == Some(&read_to) && !is_followed {
        begins.pop_back();
    }
    if begins.len() > max {
        begins.pop_front();
    }
    Ok((begins, read_to == start))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use super::*;

    /// The text from the position on at which the last lines begin.
    fn last(path: &Path, lines: usize) -> String {
        let end = LogReader::end(path).unwrap();
        let begin = last_lines_begin(path, lines, end).unwrap();
        let mut reader = LogReader::from_position(path, begin).unwrap();
        let mut text = Vec::new();
        while let LogItem::Bytes(bytes) = reader.next_item().unwrap() {
            let mut bytes = bytes;
            bytes.read_to_end(&mut text).unwrap();
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_are_counted_from_the_end_across_files() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.log");
        fs::write(dir.path().join("a.log.00000001"), "1\n2\nbeg").unwrap();
        fs::write(dir.path().join("a.log.00000002"), "un\n4\n").unwrap();
        fs::write(&path, "5\n6").unwrap();
        let all = ["6", "5\n6", "4\n5\n6", "begun\n4\n5\n6", "2\nbegun\n4\n5\n6", "1\n2\nbegun\n4\n5\n6"];
        for (lines, expected) in (1..).zip(all) {
            assert_eq!(last(&path, lines), expected);
        }
        assert_eq!((last(&path, 0), last(&path, 100)), (String::new(), all[5].to_owned()));
        fs::write(&path, "5\n6\n").unwrap();
        assert_eq!((last(&path, 1).as_str(), last(&path, 2).as_str()), ("6\n", "5\n6\n"));
        fs::write(&path, "").unwrap();
        assert_eq!(last(&path, 1), "4\n");
    }

    #[test]
    fn a_line_is_as_long_as_it_is() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.log");
        let long = "x".repeat(3 << 20);
        fs::write(&path, format!("first\n{long}\n")).unwrap();
        assert_eq!(last(&path, 1).len(), long.len() + 1);
    }
}
