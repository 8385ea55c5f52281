//! Damage to the files of a closed ledger, and the number of events that must remain readable after it.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use apm2_ledger::journal::{
    scan::{Scan, Scanned},
    segment::SegmentHeader,
};
use arbitrary::Arbitrary;

use crate::storage_backend::SECTOR_LEN;

/// A change of one file. Offsets are taken modulo the length of the file.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Damage {
    /// Flips bits of one byte.
    Flip {
        /// Offset of the byte.
        at: u32,
        /// Mask of the bits to flip. 0 flips the lowest bit.
        bits: u8,
    },
    /// Overwrites one sector with zeros.
    Zero {
        /// An offset in the sector.
        at: u32,
    },
    /// Truncates the file.
    Truncate {
        /// The new length in bytes.
        at: u32,
    },
    /// Removes the file.
    Remove,
}

impl Damage {
    /// Whether the damage is a single flipped bit, which must always be detected.
    #[must_use]
    pub const fn is_one_bit(&self) -> bool {
        matches!(self, Self::Flip { bits, .. } if bits.count_ones() <= 1)
    }

    /// Applies the damage to the file at `path`. Returns the byte range that may have changed.
    ///
    /// # Errors
    /// I/O errors.
    pub fn inflict(&self, path: &Path) -> io::Result<Range<usize>> {
        let mut bytes = fs::read(path)?;
        let place = |at: u32| at as usize % bytes.len().max(1);
        let touched = match *self {
            Self::Remove => {
                fs::remove_file(path)?;
                return Ok(0..bytes.len());
            }
            _ if bytes.is_empty() => return Ok(0..0),
            Self::Flip { at, bits } => {
                let place = place(at);
                bytes[place] ^= if bits == 0 { 1 } else { bits };
                place..place + 1
            }
            Self::Zero { at } => {
                let start = place(at) / SECTOR_LEN * SECTOR_LEN;
                let end = bytes.len().min(start + SECTOR_LEN);
                bytes[start..end].fill(0);
                start..end
            }
            Self::Truncate { at } => {
                let place = place(at);
                let lost = place..bytes.len();
                bytes.truncate(place);
                lost
            }
        };
        fs::write(path, bytes)?;
        Ok(touched)
    }
}

/// All files below `dir` whose paths satisfy `is_wanted`, sorted by path.
///
/// # Errors
/// I/O errors.
pub fn files(dir: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, is_wanted)?);
        } else if is_wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Damages one segment of the journal in `dir`, selected by `which`. Returns the number of events that must remain
/// readable if no error is reported.
///
/// Some damage of the last segment cannot be detected. A last commit with a sector of zeros looks like a torn commit,
/// and a missing last segment looks like a segment that was never created. In a copy of a journal that was open
/// (`is_live_copy`), a sector of zeros before later commits looks like a sector that was copied before it was written.
/// All other damage must be reported.
///
/// # Errors
/// I/O errors.
pub fn damage_journal(dir: &Path, which: u8, damage: Damage, is_live_copy: bool) -> io::Result<u64> {
    let segments = files(&dir.join("journal"), &|path| path.extension().is_some_and(|extension| extension == "seg"))?;
    let number = usize::from(which) % segments.len().max(1);
    let Some(path) = segments.get(number) else { return Ok(0) };
    let commits = commits(&fs::read(path)?);
    let touched = damage.inflict(path)?;
    let is_last_segment = number + 1 == segments.len();
    let is_unprovable = match damage {
        Damage::Remove => is_last_segment,
        Damage::Zero { .. } => {
            let touches_last =
                commits.last().is_some_and(|(bytes, _)| bytes.start < touched.end && touched.start < bytes.end);
            is_last_segment && (is_live_copy || touches_last)
        }
        Damage::Flip { .. } | Damage::Truncate { .. } => false,
    };
    if !is_unprovable {
        return Ok(u64::MAX);
    }
    let first_touched = commits.iter().find(|(bytes, _)| bytes.end > touched.start);
    Ok(first_touched.map_or(u64::MAX, |(_, first_seq)| first_seq - 1))
}

/// The byte range of each commit in a valid segment, with the sequence number of its first event.
fn commits(segment: &[u8]) -> Vec<(Range<usize>, u64)> {
    let Ok(header) = SegmentHeader::parse(segment) else { return Vec::new() };
    Scan::new(segment, &header, true)
        .filter_map(|found| match found {
            Scanned::Commit(at, frame) => Some((at..at + frame.header().frame_len(), frame.header().first_seq)),
            Scanned::Damage(_) | Scanned::Torn(_) => None,
        })
        .collect()
}
