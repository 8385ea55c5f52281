//! Appends commits to the journal, and makes them durable.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, mpsc::Sender},
    thread::{self, JoinHandle},
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{LedgerDir, WatchedJournal},
    file::{self},
    journal::next_segment::{begin_segment, prepare_segment},
    journal::{
        JOURNAL_DIR,
        base::Base,
        origin,
        segment::{SEGMENT_HEADER_LEN, aligned, segment_path},
        storage_backend::StorageBackend,
    },
};

/// The journal, open for appending. The leader of the group commit owns the writer.
pub(crate) struct JournalWriter {
    pub(super) dir: Arc<LedgerDir>,
    pub(super) journal: PathBuf,
    pub(super) backend: Arc<dyn StorageBackend>,
    pub(super) segment_bytes: u64,
    pub(super) ledger: Uuid,
    /// The base of the journal; `None` when it begins with its first segment.
    pub(super) base: Option<Arc<Base>>,
    pub(super) file: File,
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) next_seq: u64,
    pub(super) chain: Chain,
    pub(super) ahead: Option<JoinHandle<io::Result<()>>>,
    /// Signalled when a segment is full.
    pub(super) full: Option<Sender<()>>,
}

impl JournalWriter {
    /// Creates a journal without events in the ledger directory `dir`. The journal directory must exist and be empty.
    pub(crate) fn create(
        dir: &Arc<LedgerDir>,
        ledger: Uuid,
        segment_bytes: u64,
        backend: Arc<dyn StorageBackend>,
    ) -> io::Result<Self> {
        let chain = Chain::genesis(ledger);
        let journal = dir.at().join(JOURNAL_DIR);
        // The origin file is written before the first segment. So every copy of the journal contains the file and is
        // recognized as a copy.
        origin::save(&journal)?;
        let file = begin_segment(&journal, ledger, 1, 1, chain, segment_bytes, &*backend)?;
        Ok(Self {
            dir: Arc::clone(dir),
            journal,
            backend,
            segment_bytes,
            ledger,
            base: None,
            file,
            number: 1,
            len: segment_bytes,
            offset: SEGMENT_HEADER_LEN as u64,
            next_seq: 1,
            chain,
            ahead: None,
            full: None,
        })
    }

    /// Sends a signal to `full` whenever a segment is full.
    pub(crate) fn signal_full(&mut self, full: Sender<()>) {
        self.full = Some(full);
    }

    /// The base of the journal; `None` when it begins with its first segment.
    pub(crate) const fn base(&self) -> Option<&Arc<Base>> {
        self.base.as_ref()
    }

    /// The ID of the ledger.
    pub(crate) const fn ledger(&self) -> Uuid {
        self.ledger
    }

    /// The sequence number of the next event.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash chain value after the last event.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Appends one commit and makes it durable. `last_seq` and `chain` are the sequence number and the hash chain value
    /// of its last event.
    ///
    /// After an error, the state of the journal on the disk is unknown, and this writer must not be used again. The
    /// error names the file.
    pub(crate) fn append(&mut self, commit: &[u8], last_seq: u64, chain: Chain) -> io::Result<()> {
        let commit_len = aligned(commit.len()) as u64;
        if self.offset + commit_len > self.len {
            self.roll(commit_len)?;
        }
        self.write(commit).map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        // A file without a durable directory entry is lost at a power failure. So a commit to a removed file is not
        // durable.
        let nlink = file::link_count(&self.file)?;
        if nlink == 0 {
            self.dir.check_place()?;
            let removed = io::Error::new(io::ErrorKind::NotFound, "the segment file was removed");
            return Err(self.dir.naming(&segment_path(&self.journal, self.number), &removed));
        }
        self.offset += commit_len;
        (self.next_seq, self.chain) = (last_seq + 1, chain);
        if nlink > 1 {
            self.unshare_now().map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        }
        self.prepare_next_segment();
        Ok(())
    }

    /// Continues in a copy of the current segment, because another hard link to the segment was created.
    fn unshare_now(&mut self) -> io::Result<()> {
        self.dir.check_place()?;
        let mut bytes = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        self.unshare(&bytes)
    }

    /// Replaces the current segment by a new file with the content `bytes`.
    pub(super) fn unshare(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        // Readers check whether the segment path still refers to the file that is written. The file and the watched
        // identity are therefore replaced under one lock.
        self.dir.rewatch(|| {
            self.file = file::unshare(&path, &mut bytes, &self.journal)?;
            WatchedJournal::new(&self.journal, path.clone(), &self.file)
        })
    }

    /// Registers the journal directory and the current segment for the check that their paths still refer to the same
    /// files.
    pub(super) fn watch(&self) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        self.dir.rewatch(|| WatchedJournal::new(&self.journal, path, &self.file))
    }

    fn write(&self, commit: &[u8]) -> io::Result<()> {
        self.backend.write_all_at(&self.file, commit, self.offset)?;
        self.backend.sync_data(&self.file)
    }

    /// Starts the next segment, and truncates the full segment to the length that it uses.
    fn roll(&mut self, commit_len: u64) -> io::Result<()> {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            // The file is created again below, in this thread. If that also fails, the error is returned.
            tracing::warn!(%error, "the next journal segment could not be created in advance");
        }
        // No file is created before this check: the path of the ledger directory may refer to another ledger by now.
        self.dir.check_place()?;
        let needed = SEGMENT_HEADER_LEN as u64 + commit_len;
        let len = self.segment_bytes.max(needed);
        let (journal, number) = (&self.journal, self.number + 1);
        let file = begin_segment(journal, self.ledger, number, self.next_seq, self.chain, len, &*self.backend)
            .map_err(|error| self.dir.naming(&segment_path(journal, number), &error))?;
        let full = std::mem::replace(&mut self.file, file);
        // The segment may have another hard link, for example from a backup. Such a file is not truncated.
        if !file::is_shared(&full)?
            && let Err(error) = full.set_len(self.offset)
        {
            tracing::debug!(%error, "a full journal segment could not be truncated");
        }
        if self.full.as_ref().is_some_and(|full| full.send(()).is_err()) {
            tracing::debug!("the sealing thread has ended; the full journal segment stays plain");
        }
        self.number += 1;
        self.len = len;
        self.offset = SEGMENT_HEADER_LEN as u64;
        self.watch()
    }

    /// Begins the segment after the current one.
    pub(super) fn begin_next(&mut self) -> io::Result<()> {
        self.roll(0)
    }

    /// Begins a segment of the current format version after the current segment. A current segment without commits is
    /// replaced, since a full segment has at least one.
    pub(crate) fn begin_current_format(&mut self) -> io::Result<()> {
        if self.offset > SEGMENT_HEADER_LEN as u64 {
            return self.roll(0);
        }
        self.dir.check_place()?;
        let (journal, number, len) = (&self.journal, self.number, self.segment_bytes);
        self.file = begin_segment(journal, self.ledger, number, self.next_seq, self.chain, len, &*self.backend)
            .map_err(|error| self.dir.naming(&segment_path(journal, number), &error))?;
        self.len = len;
        self.watch()
    }

    /// Starts a background thread that creates the next segment file, once the current segment is half full.
    fn prepare_next_segment(&mut self) {
        if self.ahead.is_some() || self.offset < self.len / 2 {
            return;
        }
        let (journal, len) = (self.journal.clone(), self.segment_bytes);
        self.ahead = thread::Builder::new()
            .name("apm2-journal-ahead".to_owned())
            .spawn(move || prepare_segment(&journal, len))
            .inspect_err(
                |error| tracing::warn!(%error, "could not start the thread that creates the next journal segment"),
            )
            .ok();
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            tracing::debug!(%error, "the next journal segment could not be created in advance");
        }
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}
