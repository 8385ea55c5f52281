//! The sealing thread: it rewrites each full segment as a sealed segment, removes the plain file some time later, and writes the
//! catalogs of groups of sealed segments.
//!
//! The plain file stays for [`SEALED_PLAIN_KEPT`] after its segment was sealed: a program that copies the directory, and
//! listed it before, still finds the segment. Segments of format 1 are left to [`migrate`](crate::migrate()).

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use apm2_model::causes::causes;

use crate::{
    append::{
        catalog_writer::{remove_catalogs_of, remove_wrong_catalogs, write_missing_catalogs},
        segment_sealer::{FullSegment, SegmentSealError, SegmentSealer},
    },
    dir::LedgerDir,
    journal::{
        JOURNAL_DIR,
        sealed::error::SealedError,
        segment::FORMAT_VERSION,
        segment_file::{plain_header, sealed_path},
    },
    limits::SEALED_PLAIN_KEPT,
    read::cancel::Cancel,
};

/// The sealing thread. Dropping the value lets the thread finish the segment that it writes, and waits for that; a segment whose
/// earlier states are still being read stays plain.
pub(crate) struct Sealer {
    full: Sender<()>,
    stop: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Starts the thread. It first seals the segments that are full already.
    pub(crate) fn start(dir: Arc<LedgerDir>) -> io::Result<Self> {
        let (full, signals) = channel();
        let stop = Cancel::default();
        let segments = SegmentSealer::new(Arc::clone(&dir), stop.clone());
        let worker = Worker { dir, stop: stop.clone(), segments };
        let thread = thread::Builder::new().name("apm2-sealer".to_owned()).spawn(move || worker.run(&signals))?;
        Ok(Self { full, stop, thread: Some(thread) })
    }

    /// Where the journal's writer signals that a segment is full.
    pub(crate) fn signal(&self) -> Sender<()> {
        self.full.clone()
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.stop.set();
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
    stop: Cancel,
    segments: SegmentSealer,
}

impl Worker {
    fn run(mut self, signals: &Receiver<()>) {
        if let Err(error) = remove_wrong_catalogs(&self.dir, &self.stop) {
            tracing::warn!(%error, "cannot check the catalogs of sealed journal segments");
        }
        while !self.stop.is_set() {
            self.seal_all();
            if let Err(error) = write_missing_catalogs(&self.dir, &self.stop) {
                tracing::warn!(%error, "cannot write the catalogs of sealed journal segments; questions take longer without them");
            }
            if signals.recv().is_err() {
                return;
            }
        }
    }

    /// Seals the full segments that are not sealed yet, in order.
    fn seal_all(&mut self) {
        let journal = self.dir.at().join(JOURNAL_DIR);
        let all = match FullSegment::all(&journal) {
            Ok(all) => all,
            Err(error) => return tracing::warn!(%error, "cannot list the full journal segments to seal them"),
        };
        for full in all {
            if self.stop.is_set() {
                return;
            }
            let done = if full.is_sealed { self.remove_plain(&journal, &full) } else { self.seal(&full) };
            if let Err(error) = done
                && !self.stop.is_set()
            {
                let number = full.plain.number;
                tracing::warn!(error = %causes(&error), number, "cannot seal a full journal segment");
                // A damaged file of one segment does not prevent that the later ones are sealed.
                if !error.is_of_segment() {
                    return;
                }
            }
        }
    }

    fn seal(&mut self, full: &FullSegment) -> Result<(), SegmentSealError> {
        // Only the header of a segment of format 1 is read: it stays, and is seen again each time a segment is full.
        let header = plain_header(&full.plain.path).map_err(SegmentSealError::Unreadable)?;
        if header.is_ok_and(|header| header.version < FORMAT_VERSION) {
            return Ok(());
        }
        let segment = full.read()?;
        if segment.is_empty() {
            return Ok(());
        }
        self.segments.seal(segment).map(drop)
    }

    /// Removes the plain file of a segment that was sealed [`SEALED_PLAIN_KEPT`] ago or earlier. Seals the segment again instead if
    /// the sealed file is damaged.
    fn remove_plain(&mut self, journal: &Path, full: &FullSegment) -> Result<(), SegmentSealError> {
        // A clock that was set back makes the age unknown; the plain file then stays for now.
        let sealed = fs::metadata(sealed_path(journal, full.plain.number))?;
        let age = sealed.modified()?.elapsed().unwrap_or_default();
        if age < SEALED_PLAIN_KEPT {
            return Ok(());
        }
        match self.segments.remove_plain(full) {
            Err(SegmentSealError::Written(error)) if !matches!(error, SealedError::Io(_) | SealedError::Newer(_)) => {
                let number = full.plain.number;
                tracing::warn!(error = %causes(&error), number, "a sealed journal segment is damaged; sealing its plain file again");
                remove_catalogs_of(&self.dir, number)?;
                self.segments.seal_again(full)
            }
            done => done,
        }
    }
}
