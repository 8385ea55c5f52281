//! The files of the journal's segments: their names, and what the header of one says.
//!
//! A segment is plain while commits are appended to it, and sealed some time after it is full. A sealed segment gets its
//! name before the plain file of the same number is removed. While both exist, the sealed one is read, or the plain one where
//! the sealed one is damaged.

use std::{
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{LedgerDir, without_journal},
    error::OpenError,
    file,
    journal::{
        JOURNAL_DIR,
        base::Base,
        sealed::{error::SealedError, file_part::FilePart, reader::SealedSegment},
        segment::{SEGMENT_HEADER_LEN, SEGMENT_SUFFIX, SegmentError, SegmentHeader, segment_path},
    },
};

const SEALED_SUFFIX: &str = "sealed";

/// The least number of digits in the name of a segment file.
const NUMBER_DIGITS: usize = 10;

/// One segment of the journal, by its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentFile {
    /// The number of the segment, from 1.
    pub(crate) number: u64,
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// Whether the file is a sealed segment.
    pub(crate) is_sealed: bool,
    /// Where the sealed segment is in the file, which is an archive then. `None` for a file of its own.
    pub(crate) place: Option<ArchivedPlace>,
}

/// Where a sealed segment is in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArchivedPlace {
    /// In bytes from the beginning of the archive.
    pub(crate) offset: u64,
    /// The length in bytes.
    pub(crate) len: u64,
}

/// What the header of a segment says about the events before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    /// The ID of the ledger.
    pub(crate) ledger: Uuid,
    /// The number of the segment.
    pub(crate) number: u64,
    /// The sequence number of its first event.
    pub(crate) first_seq: u64,
    /// The hash chain value before its first event.
    pub(crate) chain_before: Chain,
}

impl SegmentFile {
    /// Opens the sealed segment.
    pub(crate) fn open(&self) -> Result<SealedSegment, SealedError> {
        match self.place {
            None => SealedSegment::open(&self.path),
            Some(place) => SealedSegment::from_part(FilePart::of(file::open(&self.path)?, place.offset, place.len)),
        }
    }

    /// Reads the header of the file; the header of the plain file where that of a sealed one is damaged. The outer error is an
    /// I/O error.
    pub(crate) fn start(&self) -> io::Result<Result<SegmentStart, SegmentError>> {
        if self.is_sealed {
            let start = sealed_start(self.open());
            return match &start {
                Ok(Ok(_) | Err(SegmentError::Newer(_))) => start,
                Ok(Err(SegmentError::Header)) | Err(_) => match plain_header(&self.plain_path()) {
                    Ok(Ok(header)) => Ok(Ok(SegmentStart::from(header))),
                    Ok(Err(_)) | Err(_) => start,
                },
            };
        }
        match plain_header(&self.path) {
            // The plain file is removed once the segment is sealed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let journal = self.path.parent().unwrap_or(Path::new(""));
                sealed_start(SealedSegment::open(&sealed_path(journal, self.number)))
            }
            read => Ok(read?.map(SegmentStart::from)),
        }
    }

    /// The path of the plain file of the segment, which may have been removed.
    pub(crate) fn plain_path(&self) -> PathBuf {
        segment_path(self.path.parent().unwrap_or(Path::new("")), self.number)
    }
}

/// The file of segment `number`, of `files` in ascending order.
pub(crate) fn file_of(files: &[SegmentFile], number: u64) -> Option<&SegmentFile> {
    files.binary_search_by_key(&number, |file| file.number).ok().and_then(|at| files.get(at))
}

/// The start of segment `number`; `None` when it is not in `files`, or when its header cannot be read.
pub(crate) fn start_of(files: &[SegmentFile], number: u64) -> Option<SegmentStart> {
    file_of(files, number)?.start().ok()?.ok()
}

/// The header of a plain segment file. The outer error is an I/O error.
pub(crate) fn plain_header(path: &Path) -> io::Result<Result<SegmentHeader, SegmentError>> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
    file::open(path)?.take(SEGMENT_HEADER_LEN as u64).read_to_end(&mut bytes)?;
    Ok(SegmentHeader::parse(&bytes))
}

fn sealed_start(opened: Result<SealedSegment, SealedError>) -> io::Result<Result<SegmentStart, SegmentError>> {
    match opened {
        Ok(segment) => Ok(Ok(SegmentStart::from(&segment))),
        Err(SealedError::Io(error)) => Err(error),
        Err(SealedError::Newer(version)) => Ok(Err(SegmentError::Newer(version))),
        Err(_) => Ok(Err(SegmentError::Header)),
    }
}

impl SegmentStart {
    /// Whether this is the start of the segment after `before`: of the same ledger, with the next number and the next event,
    /// and with its hash chain value where the trailer of `before` is sound.
    pub(crate) fn follows(&self, before: &SealedSegment) -> bool {
        let first_seq = before.header().last_seq().saturating_add(1);
        self.ledger == before.header().ledger
            && Some(self.number) == before.header().number.checked_add(1)
            && self.first_seq == first_seq
            && before.chain_after().map_or(true, |chain| chain == self.chain_before)
    }

    /// Whether this is the start of the first segment of a ledger.
    pub(crate) fn is_first(&self) -> bool {
        (self.number, self.first_seq, self.chain_before) == (1, 1, Chain::genesis(self.ledger))
    }

    /// Whether this is the start of the first segment of a journal with this base.
    pub(crate) fn is_after(&self, base: Option<&Base>) -> bool {
        let Some(base) = base else { return self.is_first() };
        (self.ledger, self.chain_before) == (base.ledger, base.chain())
            && Some(self.number) == base.number().checked_add(1)
            && Some(self.first_seq) == base.seq().checked_add(1)
    }
}

impl From<SegmentHeader> for SegmentStart {
    fn from(header: SegmentHeader) -> Self {
        let SegmentHeader { ledger, number, first_seq, chain_before, .. } = header;
        Self { ledger, number, first_seq, chain_before }
    }
}

impl From<&SealedSegment> for SegmentStart {
    fn from(segment: &SealedSegment) -> Self {
        let header = segment.header();
        let (ledger, number) = (header.ledger, header.number);
        Self { ledger, number, first_seq: header.first_seq, chain_before: header.chain_before }
    }
}

/// The path of sealed segment `number` in the directory `journal`.
pub(crate) fn sealed_path(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:010}.{SEALED_SUFFIX}"))
}

/// All segment files in the directory `journal` after its base, sorted by number; where a segment has a plain and a sealed file,
/// the sealed one. Files whose names are not segment file names are ignored.
pub(crate) fn segment_files(journal: &Path) -> io::Result<Vec<SegmentFile>> {
    let base = Base::read(journal)?.map_or(0, |base| base.number());
    let mut found = all_segment_files(journal)?;
    found.retain(|file| file.number > base);
    found.dedup_by_key(|file| file.number);
    Ok(found)
}

/// All segment files in the directory `journal`, sorted by number, a sealed file before the plain file of the same number.
pub(crate) fn all_segment_files(journal: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(journal)? {
        let name = entry?.file_name();
        if let Some((number, is_sealed)) = parse_name(name.as_bytes()) {
            found.push(SegmentFile { number, path: journal.join(name), is_sealed, place: None });
        }
    }
    found.sort_unstable_by_key(|file| (file.number, !file.is_sealed));
    Ok(found)
}

/// All segment files of the ledger in `dir`, as [`all_segment_files`] returns them.
///
/// # Errors
/// When there is no segment: [`OpenError::Missing`], or damage where other files show that there was a ledger. When the
/// directory cannot be read, which proves neither.
pub(crate) fn some_segments(dir: &LedgerDir) -> Result<Vec<SegmentFile>, OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    match all_segment_files(&journal) {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(without_journal(dir)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(without_journal(dir))
        }
        Err(error) => Err(OpenError::io(&journal)(error)),
    }
}

/// The number of the segment with this file name, and whether the file is a sealed segment. Reads the name byte by byte,
/// because a journal has many files, and each question lists them.
fn parse_name(name: &[u8]) -> Option<(u64, bool)> {
    let dot = name.iter().position(|byte| *byte == b'.')?;
    let (digits, suffix) = (name.get(..dot)?, name.get(dot + 1..)?);
    let is_sealed = suffix == SEALED_SUFFIX.as_bytes();
    let has_zero = digits.first() == Some(&b'0');
    let has_length = digits.len() == NUMBER_DIGITS || (digits.len() > NUMBER_DIGITS && !has_zero);
    if !has_length || !(is_sealed || suffix == SEGMENT_SUFFIX.as_bytes()) {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.map(|number| (number, is_sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_are_given_to_segments_are_parsed() {
        for number in [0, 1, 42, 9_999_999_999, 10_000_000_000, u64::MAX] {
            let names = [segment_path(Path::new(""), number), sealed_path(Path::new(""), number)];
            let parsed = names.map(|name| parse_name(name.as_os_str().as_bytes()));
            assert_eq!(parsed, [Some((number, false)), Some((number, true))], "{number}");
        }
        for name in [
            "",
            ".seg",
            "1.seg",
            "00000000001.seg",
            "0000000001",
            "0000000001.",
            "0000000001.seg.new",
            "0000000001.seal",
            "000000000a.seg",
            "+000000001.seg",
            "18446744073709551616.seg",
            "0000000001-0000000016.catalog",
        ] {
            assert_eq!(parse_name(name.as_bytes()), None, "{name}");
        }
    }
}
