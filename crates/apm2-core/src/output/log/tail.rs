//! The last lines of the output of a run, which are recorded in the event about a failed run.

use std::{
    io::{self, Read, Seek as _, SeekFrom},
    path::Path,
};

use apm2_model::spec::redact::mark::REDACTED;
use flate2::read::MultiGzDecoder;

use crate::output::log::{
    files::{open_for_reading, rotated},
    follow::{LogPosition, LogReader},
    secret_filter::SecretFilter,
};

/// Largest number of recorded lines per output.
const LINES_MAX: usize = 10;

/// Largest total size of the recorded lines, in bytes.
const BYTES_MAX: usize = 2 << 10;

/// Number of bytes at the end of an output that are searched for secrets. More bytes are searched than recorded,
/// because a secret may be recognized only by the text before it, such as the first line of a key block.
const LOOK_BYTES_MAX: usize = 16 << 10;

/// A line of which fewer bytes than this would fit is left out instead of shortened.
const CUT_BYTES_MIN: usize = 128;

/// Prefix of a line whose beginning was cut.
const CUT: &str = "[cut] ";

/// Number of files that are read: the current file and the newest rotated file.
const FILES_MAX: u64 = 2;

/// The last lines that were written to `path` from `begins_at` on. Secrets are masked. Empty while some secrets may be
/// unknown. The beginning of a line that is too long is replaced by a mark.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn last_lines(path: &Path, begins_at: LogPosition, secret_filter: &SecretFilter) -> io::Result<Vec<String>> {
    let Some(known) = secret_filter.known() else { return Ok(Vec::new()) };
    let newest = LogReader::end(path)?.generation;
    let oldest = begins_at.generation.max(newest.saturating_sub(FILES_MAX - 1)).max(1);
    let (mut bytes, mut is_cut) = (Vec::new(), oldest > begins_at.generation);
    for generation in (oldest..=newest).rev() {
        let from = if generation == begins_at.generation { begins_at.offset } else { 0 };
        let mut earlier = end_of(path, generation, newest, from)?;
        earlier.extend_from_slice(&bytes);
        bytes = earlier;
        if bytes.len() > LOOK_BYTES_MAX {
            bytes = bytes.split_off(bytes.len() - LOOK_BYTES_MAX);
            is_cut = true;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = if is_cut { without_first_word(&known.mask_beginning(&text)) } else { text.into_owned() };
    // The text is masked as a whole, because some secrets span several lines.
    Ok(kept(&known.redact_text(&text), is_cut))
}

/// The text without its first word, if this word may be incomplete: it may be a part of a secret.
fn without_first_word(text: &str) -> String {
    text.find(char::is_whitespace).and_then(|end| text.get(end..)).unwrap_or_default().to_owned()
}

/// The last lines of a masked text. `is_cut` says whether the beginning of the first line is missing.
fn kept(masked: &str, is_cut: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut room = BYTES_MAX;
    let all: Vec<&str> = masked.lines().collect();
    for (at, line) in all.iter().enumerate().rev().take(LINES_MAX) {
        let has_beginning = at > 0 || !is_cut;
        if has_beginning && line.len() < room {
            room -= line.len() + 1;
            lines.push((*line).to_owned());
            continue;
        }
        let line = line.trim_start();
        if room >= CUT_BYTES_MIN && !line.is_empty() {
            lines.push(format!("{CUT}{}", end_of_line(line, room - CUT.len())));
        }
        break;
    }
    lines.reverse();
    lines
}

/// At most `bytes_max` bytes from the end of a line. A redaction mark is never split, because a part of a mark would
/// look like output.
fn end_of_line(line: &str, bytes_max: usize) -> &str {
    let mut start = line.len().saturating_sub(bytes_max);
    let torn = line.match_indices(REDACTED).find(|(at, mark)| *at < start && start < at + mark.len());
    start = torn.map_or(start, |(at, mark)| at + mark.len());
    while !line.is_char_boundary(start) {
        start += 1;
    }
    line.get(start..).unwrap_or_default()
}

/// The end of one file, at or after position `from`. Reads a few more bytes than are returned, to detect that the text
/// is cut.
fn end_of(path: &Path, generation: u64, newest: u64, from: u64) -> io::Result<Vec<u8>> {
    let kept_max = LOOK_BYTES_MAX + 1;
    let mut kept = Vec::new();
    if generation < newest {
        let Some(file) = rotated(path)?.into_iter().find(|file| file.generation == generation) else {
            return Ok(kept);
        };
        if file.is_compressed {
            let mut decoder = MultiGzDecoder::new(open_for_reading(&file.path)?);
            io::copy(&mut decoder.by_ref().take(from), &mut io::sink())?;
            let mut piece = vec![0; LOOK_BYTES_MAX];
            loop {
                let read = decoder.read(&mut piece)?;
                if read == 0 {
                    return Ok(kept);
                }
                kept.extend_from_slice(piece.get(..read).unwrap_or_default());
                kept.drain(..kept.len().saturating_sub(kept_max));
            }
        }
        return end_of_plain(&file.path, from, kept_max);
    }
    match end_of_plain(path, from, kept_max) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(kept),
        read => read,
    }
}

fn end_of_plain(path: &Path, from: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut file = open_for_reading(path)?;
    let length = file.metadata()?.len();
    let wanted = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    // The file was truncated in the meantime, so it is read from its beginning.
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(wanted))))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_keeps_its_end() {
        let long = format!("{}the end", "x".repeat(BYTES_MAX));
        let lines = kept(&long, false);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("[cut] xxx") && lines[0].ends_with("the end"), "{lines:?}");
        assert!(lines[0].len() <= BYTES_MAX);
        let lines = kept(&format!("{long}\nshort\n"), false);
        assert!(lines.len() == 2 && lines[0].starts_with(CUT) && lines[1] == "short", "{lines:?}");
        let lines = kept(&format!("{}\n{}\nb\n", "a".repeat(300), "y".repeat(BYTES_MAX - 50)), false);
        assert_eq!(lines.len(), 2, "a piece too short to tell anything is left out");
        assert_eq!(kept("end of a line\nb", true), ["[cut] end of a line", "b"]);
    }

    #[test]
    fn a_mark_is_kept_whole_or_not_at_all() {
        let line = format!("{}{REDACTED}{}", "x".repeat(100), "y".repeat(20));
        assert_eq!(end_of_line(&line, 25), "y".repeat(20));
        assert_eq!(end_of_line("aüb", 2), "b");
    }
}
