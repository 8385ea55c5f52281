//! [`MigrationPlan`]: what a migration would do.

use std::{fs, path::Path, sync::Arc};

use crate::{
    append::segment_sealer::{FullSegment, SegmentSealer},
    dir::{LedgerDir, without_journal},
    error::OpenError,
    file,
    journal::{
        JOURNAL_DIR,
        plain_segment::PlainSegment,
        reader::header_damage,
        segment::{FORMAT_VERSION, SegmentHeader},
        segment_file::{SegmentFile, all_segment_files, plain_header},
        unsynced::{open_error, segment_error},
    },
    limits::SEGMENT_BYTES,
    migrate::error::MigrateError,
    read::cancel::Cancel,
};

/// Segments that are sealed in memory, to estimate the size of all.
const SAMPLE_SEGMENTS: usize = 4;

/// What [`migrate`](crate::migrate()) would do with a ledger, and what that would save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationPlan {
    /// The oldest format of a segment.
    pub format: u32,
    /// Number of segments that would be sealed.
    pub to_seal: u64,
    /// Bytes of the journal's segments now.
    pub bytes_before: u64,
    /// Bytes of the journal's segments after the migration, estimated: the first segments are sealed in memory.
    pub bytes_after: u64,
    /// Bytes of new files before the old ones are removed, estimated.
    pub bytes_written: u64,
}

impl MigrationPlan {
    /// Whether a segment has a format before the current one. Otherwise the migration does nothing.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.format < FORMAT_VERSION
    }
}

/// Computes what [`migrate`](crate::migrate()) would do with the ledger in `dir`. Takes no lock and writes nothing. Damage is
/// found in the headers and in the segments that are sampled only.
///
/// # Errors
/// When there is no ledger, or the ledger has a newer format, cannot be read, or is damaged where it was read.
pub fn migration_plan(dir: &Path) -> Result<MigrationPlan, MigrateError> {
    crate::dir::prepare(dir, false)?;
    let dir = Arc::new(LedgerDir::open(dir)?);
    plan(&dir).map_err(|error| error.naming_paths_of(&dir))
}

pub(crate) fn plan(dir: &Arc<LedgerDir>) -> Result<MigrationPlan, MigrateError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let all = all_segment_files(&journal).map_err(OpenError::io(&journal))?;
    let Some(last) = all.last() else { return Err(without_journal(dir).into()) };
    let mut format = FORMAT_VERSION;
    for file in all.iter().filter(|file| !file.is_sealed) {
        format = format.min(header_of(dir, file)?.version);
    }
    let mut unsealed: Vec<SegmentFile> = FullSegment::all(&journal)
        .map_err(OpenError::io(&journal))?
        .into_iter()
        .filter_map(|full| (!full.is_sealed).then_some(full.plain))
        .collect();
    // A last segment of an older format is followed by one of the current format, and then it is full.
    let ends_old = !last.is_sealed && header_of(dir, last)?.version < FORMAT_VERSION;
    if ends_old {
        unsealed.push(last.clone());
    }
    let estimate = Estimate::of(dir, &unsealed, last.number)?;
    let kept: Vec<&SegmentFile> =
        all.iter().filter(|file| file.is_sealed || (file.number == last.number && !ends_old)).collect();
    let begun_bytes = if ends_old { SEGMENT_BYTES } else { 0 };
    Ok(MigrationPlan {
        format,
        to_seal: estimate.segments,
        bytes_before: bytes_of(&all.iter().collect::<Vec<_>>())?,
        bytes_after: bytes_of(&kept)? + estimate.sealed_bytes + begun_bytes,
        bytes_written: estimate.sealed_bytes + begun_bytes,
    })
}

/// Bytes of the segments in the directory `journal`.
pub(crate) fn journal_bytes(journal: &Path) -> Result<u64, OpenError> {
    let all = all_segment_files(journal).map_err(OpenError::io(journal))?;
    bytes_of(&all.iter().collect::<Vec<_>>())
}

fn bytes_of(files: &[&SegmentFile]) -> Result<u64, OpenError> {
    let len = |file: &&SegmentFile| Ok(fs::symlink_metadata(&file.path).map_err(OpenError::io(&file.path))?.len());
    files.iter().map(len).sum()
}

/// The header of a plain segment.
pub(crate) fn header_of(dir: &LedgerDir, file: &SegmentFile) -> Result<SegmentHeader, OpenError> {
    let header = plain_header(&file.path).map_err(segment_error(file.number, 1, &file.path))?;
    header.map_err(|error| open_error(dir, file.number, error))
}

/// What sealing would make of some plain segments.
struct Estimate {
    /// Number of the segments that have events.
    segments: u64,
    sealed_bytes: u64,
}

impl Estimate {
    fn of(dir: &Arc<LedgerDir>, unsealed: &[SegmentFile], last: u64) -> Result<Self, MigrateError> {
        let mut sealer = SegmentSealer::new(Arc::clone(dir), Cancel::default());
        let (mut segments, mut plain_bytes) = (0, 0_u64);
        let (mut sampled_bytes, mut sampled_sealed) = (0_u64, 0_u64);
        for (at, file) in unsealed.iter().enumerate() {
            let is_sampled = at < SAMPLE_SEGMENTS;
            let is_last = file.number == last;
            if !is_sampled && !is_last {
                segments += 1;
                plain_bytes += bytes_of(&[file])?;
                continue;
            }
            let bytes = file::read(&file.path).map_err(OpenError::io(&file.path))?;
            let segment = PlainSegment::parse(bytes, is_last, false)
                .map_err(|error| OpenError::Damaged(header_damage(file.number, error, 1)))?;
            if segment.is_empty() {
                continue;
            }
            segments += 1;
            let used = segment.used_bytes();
            plain_bytes += used;
            if is_sampled {
                match sealer.build(segment) {
                    Ok(sealed) => {
                        sampled_bytes += used;
                        sampled_sealed += sealed.bytes.len() as u64;
                    }
                    // A last segment may end in a torn commit, which the opening cuts off.
                    Err(_) if is_last => {}
                    Err(source) => return Err(MigrateError::Seal { number: file.number, source }),
                }
            }
        }
        let scaled = u128::from(plain_bytes) * u128::from(sampled_sealed) / u128::from(sampled_bytes.max(1));
        let sealed_bytes = if sampled_bytes == 0 { plain_bytes } else { u64::try_from(scaled).unwrap_or(u64::MAX) };
        Ok(Self { segments, sealed_bytes })
    }
}
