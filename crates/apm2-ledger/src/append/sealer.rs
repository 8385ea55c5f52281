//! The sealing thread: it rewrites each full segment as a sealed segment.
//!
//! A sealed file gets its name only after it was written, synced, read back and compared with the plain file. The plain file
//! stays for [`SEALED_PLAIN_KEPT`] after that: a program that copies the directory, and listed it before, still finds the
//! segment. A crash at any point leaves the plain file, the sealed one, or both.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
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
        segment::FORMAT_VERSION,
        segment_file::{SegmentFile, all_segment_files, sealed_path},
    },
    limits::SEALED_PLAIN_KEPT,
    record::{RecordError, decode_event},
};

/// Name of a sealed segment that is being written.
const UNFINISHED: &str = "sealing.new";

/// Why a segment was not sealed. The plain segment stays.
#[derive(Debug, thiserror::Error)]
enum NotSealed {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("event {seq}: {source}")]
    Record { seq: u64, source: RecordError },
    #[error(transparent)]
    Build(#[from] SealError),
    #[error("the sealed file that was written cannot be read: {0}")]
    Written(#[from] SealedError),
    #[error("the sealed file that was written differs from the segment")]
    Differs,
    #[error("the segment ends in a torn commit, although a later segment exists")]
    Torn,
}

impl From<Damage> for NotSealed {
    fn from(damage: Damage) -> Self {
        Self::Read(damage.into())
    }
}

/// The sealing thread. Dropping the value lets the thread finish the segment that it is sealing, and waits for that.
pub(crate) struct Sealer {
    full: Sender<()>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Starts the thread. It first seals the segments that are full already.
    pub(crate) fn start(dir: Arc<LedgerDir>) -> io::Result<Self> {
        let (full, signals) = channel();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker { dir, is_stopped: Arc::clone(&is_stopped), states: HashMap::new() };
        let thread = thread::Builder::new().name("apm2-sealer".to_owned()).spawn(move || worker.run(&signals))?;
        Ok(Self { full, is_stopped, thread: Some(thread) })
    }

    /// Where the journal's writer signals that a segment is full.
    pub(crate) fn signal(&self) -> Sender<()> {
        self.full.clone()
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // The signal wakes the thread.
        if self.full.send(()).is_err() {
            tracing::debug!("the sealing thread has ended already");
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sealing thread panicked");
        }
    }
}

struct Worker {
    dir: Arc<LedgerDir>,
    is_stopped: Arc<AtomicBool>,
    /// The states of streams after the segment that was sealed last, [`SEALER_STATES_MAX`](crate::limits::SEALER_STATES_MAX) at most.
    states: HashMap<StreamId, Stream>,
}

impl Worker {
    fn run(mut self, signals: &Receiver<()>) {
        while !self.is_stopped.load(Ordering::Relaxed) {
            self.seal_all();
            if signals.recv().is_err() {
                return;
            }
        }
    }

    /// Seals the full segments that are not sealed yet, in order.
    fn seal_all(&mut self) {
        let journal = self.dir.at().join(JOURNAL_DIR);
        let files = match all_segment_files(&journal) {
            Ok(files) => files,
            Err(error) => return tracing::warn!(%error, "cannot list the full journal segments to seal them"),
        };
        let Some(last) = files.last().map(|file| file.number) else { return };
        for file in files.iter().filter(|file| !file.is_sealed && file.number < last) {
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            let is_sealed = files.iter().any(|other| other.number == file.number && other.is_sealed);
            let done = if is_sealed { self.remove_plain(&journal, file) } else { self.seal(&journal, file) };
            if let Err(error) = done {
                tracing::warn!(error = %causes(&error), number = file.number, "cannot seal a full journal segment");
                return;
            }
        }
    }

    fn seal(&mut self, journal: &Path, plain: &SegmentFile) -> Result<(), NotSealed> {
        let bytes = file::read(&plain.path)?;
        let segment =
            PlainSegment::parse(bytes, false, false).map_err(|error| header_damage(plain.number, error, 1))?;
        // Segments of format 1 stay as they are.
        if segment.header().version < FORMAT_VERSION {
            return Ok(());
        }
        let (built, chain) = self.build(segment)?;
        let unfinished = journal.join(UNFINISHED);
        let written = self.write(&unfinished, &built).and_then(|()| compare(&unfinished, chain));
        if let Err(error) = written {
            drop(fs::remove_file(&unfinished));
            return Err(error);
        }
        fs::rename(&unfinished, sealed_path(journal, plain.number))?;
        Ok(sync_dir(journal)?)
    }

    /// Removes the plain file of a segment that was sealed [`SEALED_PLAIN_KEPT`] ago or earlier.
    fn remove_plain(&self, journal: &Path, plain: &SegmentFile) -> Result<(), NotSealed> {
        let sealed = sealed_path(journal, plain.number);
        // A clock that was set back makes the age unknown; the plain file then stays for now.
        let age = fs::metadata(&sealed)?.modified()?.elapsed().unwrap_or_default();
        if age < SEALED_PLAIN_KEPT {
            return Ok(());
        }
        let bytes = file::read(&plain.path)?;
        let mut segment =
            PlainSegment::parse(bytes, false, false).map_err(|error| header_damage(plain.number, error, 1))?;
        while let Some(found) = segment.scan_next() {
            if let Scanned::Damage(damage) = found {
                return Err(damage.into());
            }
        }
        compare(&sealed, segment.chain())?;
        self.dir.check_place()?;
        Ok(fs::remove_file(&plain.path)?)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), NotSealed> {
        // No file is created before this check: the path of the ledger directory may refer to another ledger by now.
        self.dir.check_place()?;
        let mut file = file::create(path)?;
        file.write_all(bytes)?;
        Ok(file.sync_all()?)
    }

    /// The bytes of the sealed segment, and the hash chain value after its last event.
    fn build(&mut self, mut segment: PlainSegment) -> Result<(Vec<u8>, Chain), NotSealed> {
        let header = *segment.header();
        let mut builder = SealedBuilder::new(header.ledger, header.number, header.first_seq, header.chain_before)?;
        let mut states = SegmentStates::new(Arc::clone(&self.dir), header.first_seq, std::mem::take(&mut self.states));
        while let Some(found) = segment.scan_next() {
            let batch = match found {
                Scanned::Commit(at, frame) => segment.batch(at, frame),
                Scanned::Damage(damage) => return Err(damage.into()),
                Scanned::Torn(_) => return Err(NotSealed::Torn),
            };
            for (seq, bytes) in batch.iter() {
                let event = decode_event(seq, bytes).map_err(|source| NotSealed::Record { seq, source })?;
                builder.push(&event, bytes)?;
                states.apply(&event);
            }
        }
        if builder.chain_after() != segment.chain() {
            return Err(NotSealed::Differs);
        }
        let chain = builder.chain_after();
        let bytes = match states.encode() {
            Some(encoded) => builder.finish_with_states(encoded)?,
            None => builder.finish()?,
        };
        self.states = states.into_cache();
        Ok((bytes, chain))
    }
}

/// Reads the whole sealed segment at `path`. An equal hash chain value means that it has the same events.
fn compare(path: &Path, chain: Chain) -> Result<(), NotSealed> {
    let segment = SealedSegment::open(path)?;
    let mut damage = None;
    let found = segment.check(&mut |found| match found {
        Checked::Event(_) => {}
        Checked::Damage(error) => damage = Some(NotSealed::Written(error)),
        Checked::Erased { .. } | Checked::Undecodable { .. } => damage = Some(NotSealed::Differs),
    })?;
    match damage {
        Some(damage) => Err(damage),
        None if found != Some(chain) => Err(NotSealed::Differs),
        None => Ok(()),
    }
}
