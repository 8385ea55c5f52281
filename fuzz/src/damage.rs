//! What can happen to the files of a ledger that nobody has open, and what must not be lost by it in silence.

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

/// What happens to one file. Places are taken modulo the file's length.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Damage {
    /// These bits of one byte are turned over.
    Flip {
        /// Which byte.
        at: u32,
        /// Which bits; none is as good as the first.
        bits: u8,
    },
    /// One sector is lost.
    Zero {
        /// A byte of it.
        at: u32,
    },
    /// The file ends here.
    Truncate {
        /// Its length.
        at: u32,
    },
    /// The file is gone.
    Remove,
}

impl Damage {
    /// Whether it is a single bit, which is always noticed.
    #[must_use]
    pub const fn is_one_bit(&self) -> bool {
        matches!(self, Self::Flip { bits, .. } if bits.count_ones() <= 1)
    }

    /// Does it to the file at `path`. Returns the bytes that were there and may be other now.
    ///
    /// # Errors
    /// Those of the file system.
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

/// The files below `dir` that are named like this, in order.
///
/// # Errors
/// Those of the file system.
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

/// Damages one segment of the journal in `dir`, chosen by `which`. Returns the number of events that must still be there
/// where nothing is said about the damage.
///
/// The end of a journal carries no proof of its own: a last commit with a sector of zeros looks like one that was never
/// finished, and a last segment that is gone like one that was never begun. All else must be noticed.
///
/// # Errors
/// Those of the file system.
pub fn damage_journal(dir: &Path, which: u8, damage: Damage) -> io::Result<u64> {
    let segments = files(&dir.join("journal"), &|path| path.extension().is_some_and(|extension| extension == "seg"))?;
    let number = usize::from(which) % segments.len().max(1);
    let Some(path) = segments.get(number) else { return Ok(0) };
    let commits = commits(&fs::read(path)?);
    let touched = damage.inflict(path)?;
    let is_last_segment = number + 1 == segments.len();
    let is_unprovable = match damage {
        Damage::Remove => is_last_segment,
        Damage::Zero { .. } => {
            is_last_segment
                && commits.last().is_some_and(|(bytes, _)| bytes.start < touched.end && touched.start < bytes.end)
        }
        Damage::Flip { .. } | Damage::Truncate { .. } => false,
    };
    if !is_unprovable {
        return Ok(u64::MAX);
    }
    let first_touched = commits.iter().find(|(bytes, _)| bytes.end > touched.start);
    Ok(first_touched.map_or(u64::MAX, |(_, first_seq)| first_seq - 1))
}

/// Where the commits of a sound segment are, and the seq of the first event of each.
fn commits(segment: &[u8]) -> Vec<(Range<usize>, u64)> {
    let Ok(header) = SegmentHeader::parse(segment) else { return Vec::new() };
    Scan::new(segment, &header, true)
        .filter_map(|found| match found {
            Scanned::Commit(at, frame) => Some((at..at + frame.header().frame_len(), frame.header().first_seq)),
            Scanned::Damage(_) | Scanned::Torn(_) => None,
        })
        .collect()
}
