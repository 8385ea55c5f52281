//! The last lines of a run, so that its history can say why it died.

use std::{
    io::{self, Read, Seek as _, SeekFrom},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::{
    LogPosition, LogReader, Masks,
    files::{open_for_reading, rotated},
};

/// Lines that are kept of each output.
const LINES_MAX: usize = 10;

/// What is kept of each output, in bytes.
const BYTES_MAX: usize = 2 << 10;

/// Files that are looked at: the one that is written to, and the one before it.
const FILES_MAX: u64 = 2;

/// The last lines that were written to `path` from `begins_at` on, secrets masked. None where there may be secrets that
/// nobody knows.
///
/// # Errors
/// When they cannot be read.
pub(super) fn last_lines(path: &Path, begins_at: LogPosition, masks: &Masks) -> io::Result<Vec<String>> {
    let newest = LogReader::end(path)?.generation;
    let oldest = begins_at.generation.max(newest.saturating_sub(FILES_MAX - 1)).max(1);
    let (mut bytes, mut is_cut) = (Vec::new(), oldest > begins_at.generation);
    for generation in (oldest..=newest).rev() {
        let from = if generation == begins_at.generation { begins_at.offset } else { 0 };
        let mut earlier = end_of(path, generation, newest, from)?;
        earlier.extend_from_slice(&bytes);
        bytes = earlier;
        if bytes.len() > BYTES_MAX {
            bytes = bytes.split_off(bytes.len() - BYTES_MAX);
            is_cut = true;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    // A line without its beginning may be the rest of a secret. So it goes, even if it is all there is.
    let whole = if is_cut { text.split_once('\n').map_or("", |(_, whole)| whole) } else { &text };
    // All of it at once: some secrets have several lines.
    let masked = masks.mask(whole).unwrap_or_default();
    let mut lines: Vec<String> = masked.lines().map(str::to_owned).collect();
    let first = lines.len().saturating_sub(LINES_MAX);
    Ok(lines.split_off(first))
}

/// The end of one file, from `from` on: a little more than is kept, so that it is known to be cut.
fn end_of(path: &Path, generation: u64, newest: u64, from: u64) -> io::Result<Vec<u8>> {
    let kept_max = BYTES_MAX + 1;
    let mut kept = Vec::new();
    if generation < newest {
        let Some(file) = rotated(path)?.into_iter().find(|file| file.generation == generation) else {
            return Ok(kept);
        };
        if file.is_compressed {
            let mut decoder = MultiGzDecoder::new(open_for_reading(&file.path)?);
            io::copy(&mut decoder.by_ref().take(from), &mut io::sink())?;
            let mut piece = [0; BYTES_MAX];
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
    // A file that was cut short meanwhile begins anew.
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(wanted))))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}
