//! Appends commits to the journal, and makes them durable.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{LedgerDir, WatchedJournal},
    file::{self},
    journal::next_segment::{begin_segment, make_ahead},
    journal::{
        JOURNAL_DIR, origin,
        segment::{SEGMENT_HEADER_LEN, aligned, segment_path},
        storage_backend::StorageBackend,
    },
};

/// The journal, open for appending. The leader of the group commit owns it.
pub(crate) struct JournalWriter {
    pub(super) dir: Arc<LedgerDir>,
    pub(super) journal: PathBuf,
    pub(super) backend: Arc<dyn StorageBackend>,
    pub(super) segment_bytes: u64,
    pub(super) ledger: Uuid,
    pub(super) file: File,
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) next_seq: u64,
    pub(super) chain: Chain,
    pub(super) ahead: Option<JoinHandle<io::Result<()>>>,
}

impl JournalWriter {
    /// Makes a journal without events below `dir`, in a directory that exists and is empty.
    pub(crate) fn create(
        dir: &Arc<LedgerDir>,
        ledger: Uuid,
        segment_bytes: u64,
        backend: Arc<dyn StorageBackend>,
    ) -> io::Result<Self> {
        let chain = Chain::genesis(ledger);
        let journal = dir.at().join(JOURNAL_DIR);
        // The origin file is written before the first segment, so that every copy of the journal contains it and is recognized as a copy.
        origin::note(&journal)?;
        let file = begin_segment(&journal, ledger, 1, 1, chain, segment_bytes, &*backend)?;
        Ok(Self {
            dir: Arc::clone(dir),
            journal,
            backend,
            segment_bytes,
            ledger,
            file,
            number: 1,
            len: segment_bytes,
            offset: SEGMENT_HEADER_LEN as u64,
            next_seq: 1,
            chain,
            ahead: None,
        })
    }

    /// The ledger's id.
    pub(crate) const fn ledger(&self) -> Uuid {
        self.ledger
    }

    /// The seq of the next event.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The chain after the last event.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Appends one commit, which holds the events up to `last_seq` and ends in `chain`, and makes it durable.
    ///
    /// After an error, which names the file, its state is not known: this writer must not be used again.
    pub(crate) fn append(&mut self, commit: &[u8], last_seq: u64, chain: Chain) -> io::Result<()> {
        let commit_len = aligned(commit.len()) as u64;
        if self.offset + commit_len > self.len {
            self.roll(commit_len)?;
        }
        self.write(commit).map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        // Data in a file without a durable name is not durable.
        let nlink = self.file.metadata()?.nlink();
        if nlink == 0 {
            self.dir.check_place()?;
            let lost = io::Error::new(io::ErrorKind::NotFound, "it was removed");
            return Err(self.dir.naming(&segment_path(&self.journal, self.number), &lost));
        }
        self.offset += commit_len;
        (self.next_seq, self.chain) = (last_seq + 1, chain);
        if nlink > 1 {
            self.unshare_now().map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        }
        self.prepare_ahead();
        Ok(())
    }

    /// Goes on in a copy of the segment, of which a hard link was made.
    fn unshare_now(&mut self) -> io::Result<()> {
        self.dir.check_place()?;
        let mut bytes = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        self.unshare(&bytes)
    }

    /// Has the name of the segment stand for a file of its own with these bytes.
    pub(super) fn unshare(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        // In one step for those who look whether the name still stands for the file that is written.
        self.dir.rewatch(|| {
            self.file = file::unshare(&path, &mut bytes, &self.journal)?;
            WatchedJournal::new(&self.journal, path.clone(), &self.file)
        })
    }

    /// Has the directory look whether the journal and this segment are still what their names stand for.
    pub(super) fn watch(&self) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        self.dir.rewatch(|| WatchedJournal::new(&self.journal, path, &self.file))
    }

    fn write(&self, commit: &[u8]) -> io::Result<()> {
        self.backend.write_all_at(&self.file, commit, self.offset)?;
        self.backend.sync_data(&self.file)
    }

    /// Goes on to the next segment, and gives back what the full one does not need.
    fn roll(&mut self, commit_len: u64) -> io::Result<()> {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            // It is made again below, in the foreground; what fails there counts.
            tracing::warn!(%error, "the next journal segment could not be made ahead");
        }
        // Before anything gets a name in it: the directory of this name may be another ledger's by now.
        self.dir.check_place()?;
        let needed = SEGMENT_HEADER_LEN as u64 + commit_len;
        let len = self.segment_bytes.max(needed);
        let (journal, number) = (&self.journal, self.number + 1);
        let file = begin_segment(journal, self.ledger, number, self.next_seq, self.chain, len, &*self.backend)
            .map_err(|error| self.dir.naming(&segment_path(journal, number), &error))?;
        let full = std::mem::replace(&mut self.file, file);
        // One that has another name by now is left as it is.
        if !file::is_shared(&full)?
            && let Err(error) = full.set_len(self.offset)
        {
            tracing::debug!(%error, "a full journal segment keeps its unused zeros");
        }
        self.number += 1;
        self.len = len;
        self.offset = SEGMENT_HEADER_LEN as u64;
        self.watch()
    }

    /// Begins to make the next segment, in the background, once this one is half full.
    fn prepare_ahead(&mut self) {
        if self.ahead.is_some() || self.offset < self.len / 2 {
            return;
        }
        let (journal, len) = (self.journal.clone(), self.segment_bytes);
        self.ahead = thread::Builder::new()
            .name("apm2-journal-ahead".to_owned())
            .spawn(move || make_ahead(&journal, len))
            .inspect_err(|error| tracing::warn!(%error, "no thread for the next journal segment"))
            .ok();
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            tracing::debug!(%error, "the next journal segment could not be made ahead");
        }
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}
