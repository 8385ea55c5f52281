//! Seals one full segment: rewrites it as a sealed segment beside the plain file, and later removes the plain file.
//!
//! The sealing thread and the migration use it. A sealed file gets its name only after it was written, synced, read back
//! and compared with the plain file. A crash at any point leaves the plain file, the sealed one, or both.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_model::{causes::causes, event::stream_id::StreamId, state::stream::Stream};

use crate::{
    append::segment_states::SegmentStates,
    chain::Chain,
    dir::LedgerDir,
    error::{Damage, ReadError},
    file::{self, sync_dir},
    journal::{
        JOURNAL_DIR,
        plain_segment::PlainSegment,
        reader::header_damage,
        scan::Scanned,
        sealed::{
            builder::SealedBuilder,
            check::Checked,
            error::{SealError, SealedError},
            reader::SealedSegment,
        },
        segment_file::{SegmentFile, all_segment_files, sealed_path, segment_files, start_of},
    },
    read::{cancel::Cancel, reader::Reader},
    record::{RecordError, decode_event, peek_stream},
};

/// Name of a sealed segment that is being written.
const UNFINISHED: &str = "sealing.new";

/// Why a segment was not sealed. The plain segment stays.
#[derive(Debug, thiserror::Error)]
pub enum SegmentSealError {
    /// An I/O error, for example a full disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The plain file cannot be read.
    #[error("the plain file cannot be read")]
    Unreadable(#[source] io::Error),
    /// The plain segment is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be decoded.
    #[error("event {seq}: {source}")]
    Record {
        /// Sequence number of the event.
        seq: u64,
        /// The decoding error.
        source: RecordError,
    },
    /// The sealed segment cannot be built.
    #[error(transparent)]
    Build(#[from] SealError),
    /// The sealed file cannot be read back.
    #[error("the sealed file that was written cannot be read: {0}")]
    Written(#[from] SealedError),
    /// The sealed file does not contain the events of the segment.
    #[error("the sealed file that was written differs from the segment")]
    Differs,
    /// A full segment must end with a complete commit.
    #[error("the segment ends in a torn commit, although a later segment exists")]
    Torn,
}

impl SegmentSealError {
    /// Whether the error shows damaged data, and not only a file that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        match self {
            Self::Read(error) => error.is_integrity(),
            Self::Record { .. } | Self::Torn => true,
            Self::Io(_) | Self::Unreadable(_) | Self::Build(_) | Self::Written(_) | Self::Differs => false,
        }
    }

    /// Whether the error concerns this segment alone. Another one, such as a full disk, occurs for the next segments, too.
    pub(crate) const fn is_of_segment(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

impl From<Damage> for SegmentSealError {
    fn from(damage: Damage) -> Self {
        Self::Read(damage.into())
    }
}

/// The plain file of a full segment: of one before the last.
#[derive(Debug)]
pub(crate) struct FullSegment {
    pub(crate) plain: SegmentFile,
    /// Whether a sealed file of the segment exists, too.
    pub(crate) is_sealed: bool,
}

impl FullSegment {
    /// The plain files of all full segments in the directory `journal`, in order.
    pub(crate) fn all(journal: &Path) -> io::Result<Vec<Self>> {
        let files = all_segment_files(journal)?;
        let Some(last) = files.last().map(|file| file.number) else { return Ok(Vec::new()) };
        let plain = files.iter().filter(|file| !file.is_sealed && file.number < last);
        let is_sealed = |number| files.iter().any(|file| file.number == number && file.is_sealed);
        Ok(plain.map(|plain| Self { is_sealed: is_sealed(plain.number), plain: plain.clone() }).collect())
    }

    /// Reads the plain file.
    pub(crate) fn read(&self) -> Result<PlainSegment, SegmentSealError> {
        let bytes = file::read(&self.plain.path).map_err(SegmentSealError::Unreadable)?;
        Ok(PlainSegment::parse(bytes, false, false).map_err(|error| header_damage(self.plain.number, error, 1))?)
    }
}

/// A sealed segment in memory.
#[derive(Debug)]
pub(crate) struct SealedBytes {
    pub(crate) bytes: Vec<u8>,
    /// The hash chain value after the last event.
    chain: Chain,
}

/// Seals segments in ascending order.
pub(crate) struct SegmentSealer {
    dir: Arc<LedgerDir>,
    journal: PathBuf,
    /// The states of streams after the segment that was sealed last, [`SEALER_STATES_MAX`](crate::limits::SEALER_STATES_MAX) at most.
    states: HashMap<StreamId, Stream>,
    /// The number of the segment after the one that was sealed last. The states are those before its first event.
    next_number: u64,
    /// Ends the reading of earlier states. The segment is not sealed then.
    cancel: Cancel,
}

impl SegmentSealer {
    pub(crate) fn new(dir: Arc<LedgerDir>, cancel: Cancel) -> Self {
        let journal = dir.at().join(JOURNAL_DIR);
        Self { dir, journal, states: HashMap::new(), next_number: 1, cancel }
    }

    /// Writes the sealed file of a full segment. Returns its path. The plain file stays.
    pub(crate) fn seal(&mut self, segment: PlainSegment) -> Result<PathBuf, SegmentSealError> {
        let number = segment.header().number;
        let sealed = self.build(segment)?;
        let unfinished = self.journal.join(UNFINISHED);
        let path = sealed_path(&self.journal, number);
        let named = self
            .write(&unfinished, &sealed.bytes)
            .and_then(|()| compare(&unfinished, sealed.chain))
            .and_then(|()| Ok(fs::rename(&unfinished, &path)?));
        if let Err(error) = named {
            drop(fs::remove_file(&unfinished));
            return Err(error);
        }
        sync_dir(&self.journal)?;
        Ok(path)
    }

    /// Builds the sealed segment in memory. Writes nothing.
    pub(crate) fn build(&mut self, mut segment: PlainSegment) -> Result<SealedBytes, SegmentSealError> {
        let header = *segment.header();
        let mut before = std::mem::take(&mut self.states);
        // After a segment that was left out, the states are those before that segment.
        if header.number != self.next_number {
            before.clear();
        }
        self.add_states_before(&segment, &mut before)?;
        let mut builder = SealedBuilder::new(header.ledger, header.number, header.first_seq, header.chain_before)?;
        let mut states = SegmentStates::new(before);
        while let Some(found) = segment.scan_next() {
            let batch = match found {
                Scanned::Commit(at, frame) => segment.batch(at, frame),
                Scanned::Damage(damage) => return Err(damage.into()),
                Scanned::Torn(_) => return Err(SegmentSealError::Torn),
            };
            for (seq, bytes) in batch.iter() {
                let event = decode_event(seq, bytes).map_err(|source| SegmentSealError::Record { seq, source })?;
                builder.push(&event, bytes)?;
                states.apply(&event);
            }
        }
        let chain = builder.chain_after();
        if chain != segment.chain() {
            return Err(SegmentSealError::Differs);
        }
        let bytes = match states.encode() {
            Some(encoded) => builder.finish_with_states(encoded)?,
            None => builder.finish()?,
        };
        (self.states, self.next_number) = (states.into_cache(), header.number + 1);
        Ok(SealedBytes { bytes, chain })
    }

    /// Adds the states, before its first event, of the streams with events in the segment that are not in `states`. Adds none
    /// when one cannot be read; the segment is then sealed without states.
    fn add_states_before(
        &self,
        segment: &PlainSegment,
        states: &mut HashMap<StreamId, Stream>,
    ) -> Result<(), SegmentSealError> {
        let missing = continued_streams(segment).filter(|id| !states.contains_key(id)).collect();
        let reader = Reader::of_segments(Arc::clone(&self.dir)).cancelled_by(self.cancel.clone());
        match reader.states_before(&missing, segment.header().first_seq) {
            Ok(found) => states.extend(found),
            Err(error @ ReadError::Cancelled) => return Err(error.into()),
            Err(error) => tracing::debug!(error = %causes(&error), "the states before a segment cannot be read"),
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SegmentSealError> {
        // No file is created before this check: the path of the ledger directory may refer to another ledger by now.
        self.dir.check_place()?;
        let mut file = file::create(path)?;
        file.write_all(bytes)?;
        Ok(file.sync_all()?)
    }

    /// Writes the sealed file of a segment again, if the next segment continues the plain file.
    pub(crate) fn seal_again(&mut self, full: &FullSegment) -> Result<(), SegmentSealError> {
        let mut segment = full.read()?;
        while let Some(Scanned::Commit(..)) = segment.scan_next() {}
        let next = start_of(&segment_files(&self.journal)?, full.plain.number + 1);
        if next.is_none_or(|next| next.chain_before != segment.chain()) {
            return Err(SegmentSealError::Differs);
        }
        self.seal(full.read()?).map(drop)
    }

    /// Removes the plain file of a sealed segment, after it has compared both files.
    pub(crate) fn remove_plain(&self, full: &FullSegment) -> Result<(), SegmentSealError> {
        let mut segment = full.read()?;
        while let Some(found) = segment.scan_next() {
            if let Scanned::Damage(damage) = found {
                return Err(damage.into());
            }
        }
        compare(&sealed_path(&self.journal, full.plain.number), segment.chain())?;
        self.dir.check_place()?;
        Ok(fs::remove_file(&full.plain.path)?)
    }
}

/// The streams with events in the segment that do not begin in it. Events that cannot be read are left out.
fn continued_streams(segment: &PlainSegment) -> impl Iterator<Item = StreamId> {
    let mut seen = HashMap::new();
    for batch in segment.commits() {
        for (seq, bytes) in batch.iter() {
            if let Ok(stream) = peek_stream(bytes) {
                seen.entry(stream).or_insert_with(|| decode_event(seq, bytes).is_ok_and(|event| event.version > 1));
            }
        }
    }
    seen.into_iter().filter_map(|(stream, is_continued)| (is_continued && !stream.is_system()).then_some(stream))
}

/// Reads the whole sealed segment at `path`. An equal hash chain value means that it has the same events.
fn compare(path: &Path, chain: Chain) -> Result<(), SegmentSealError> {
    let segment = SealedSegment::open(path)?;
    let mut damage = None;
    let found = segment.check(&mut |found| match found {
        Checked::Event(_) => {}
        Checked::Damage(error) => damage = Some(SegmentSealError::Written(error)),
        Checked::Erased { .. } | Checked::Undecodable { .. } => damage = Some(SegmentSealError::Differs),
    })?;
    match damage {
        Some(damage) => Err(damage),
        None if found != Some(chain) => Err(SegmentSealError::Differs),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::{
        clock::SystemClock,
        event::{NewEvent, actor::Actor, kind::EventKind, timestamp::Clock as _},
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    use super::*;
    use crate::{ledger::Ledger, options::Options};

    #[test]
    fn a_sealer_that_is_stopped_reads_no_earlier_states_and_seals_nothing() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let options = Options { segment_bytes: 4096, seal: false, ..Options::default() };
        let ledger = Ledger::open_with(dir.path(), &options).unwrap();
        let spec = ProcessSpec::builder().name("p").command("c").build();
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let event = |kind| {
            let (actor, stamp) = (Actor::System, SystemClock.now());
            NewEvent { stream, run: 0, actor, reason: None, cause: None, stamp, kind }
        };
        ledger.append(stream, 0, vec![event(EventKind::Registered { spec: RedactedSpec::new(&spec) })]).unwrap();
        for version in 1..60 {
            ledger.append(stream, version, vec![event(EventKind::BudgetReset)]).unwrap();
        }
        ledger.close().unwrap();
        let dir = Arc::new(LedgerDir::open(dir.path()).unwrap());
        let full = FullSegment::all(&dir.at().join(JOURNAL_DIR)).unwrap().remove(1);
        let stop = Cancel::default();
        stop.set();
        let stopped = SegmentSealer::new(Arc::clone(&dir), stop).seal(full.read().unwrap());
        assert!(matches!(stopped, Err(SegmentSealError::Read(ReadError::Cancelled))), "{stopped:?}");
        let path = SegmentSealer::new(Arc::clone(&dir), Cancel::default()).seal(full.read().unwrap()).unwrap();
        assert!(SealedSegment::open(&path).unwrap().has_states().unwrap());
    }
}
