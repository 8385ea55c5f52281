//! The last lines of a run, so that its history can say why it died.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use crate::process::redact_text;

/// Lines that are kept of each output.
const LINES_MAX: usize = 10;

/// What is kept of each output, in bytes.
const BYTES_MAX: u64 = 2 << 10;

/// The last lines of the file after `begins_at`, secrets masked.
pub(super) fn last_lines(path: &Path, begins_at: u64) -> io::Result<Vec<String>> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let start = end.saturating_sub(BYTES_MAX).max(begins_at.min(end));
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    // The first one is cut wherever the limit fell, unless the run began there.
    if start > begins_at && lines.len() > 1 {
        lines.remove(0);
    }
    let first = lines.len().saturating_sub(LINES_MAX);
    Ok(lines.split_off(first).into_iter().map(redact_text).collect())
}
