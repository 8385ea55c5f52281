//! The only place with sled: what is asked by seq, by stream, by time and by name.
//!
//! sled is never believed. Its `flush` is no fsync, it can lose its tail in silence, and it can panic on bytes it did not
//! expect; so it holds nothing that the journal does not hold, every frame carries its own checksum and numbering, and
//! its panics are caught here. At opening it is checked against the journal, see [`recovery`](crate::recovery).

pub(crate) mod error;

use std::{
    fs, io,
    ops::Deref,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use uuid::Uuid;

use crate::{
    chain::Chain,
    file,
    frame::Frame,
    index::{Digest, IndexedFrame},
    journal::{JOURNAL_DIR, origin},
    key,
    limits::{LOCK_WAIT, RETRY_INTERVAL, STORE_CACHE_BYTES},
    lock::Lock,
    record::{decode_stream, encode_stream, is_current_stream},
    store::error::StoreError,
};

/// The store's directory within the ledger's.
pub(crate) const STORE_DIR: &str = "sled";

/// Snapshots of sled's own that it would take for the newest although they were never finished.
const UNFINISHED: &str = ".generating";

/// The file of sled's that it locks.
const DB_FILE: &str = "db";

/// Where the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreHead {
    pub(crate) ledger: Uuid,
    pub(crate) seq: u64,
    pub(crate) chain: Chain,
}

impl StoreHead {
    fn to_bytes(self) -> Vec<u8> {
        [&self.ledger.as_bytes()[..], &self.seq.to_be_bytes(), &self.chain.0].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (ledger, rest) = bytes.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let chain = rest.first_chunk().filter(|_| rest.len() == 32)?;
        Some(Self { ledger: Uuid::from_bytes(*ledger), seq: u64::from_be_bytes(*seq), chain: Chain(*chain) })
    }
}

/// The frames and their indexes.
pub(crate) struct Store {
    /// Dropped before what it is in.
    db: sled::Db,
    files: Files,
}

/// The files that sled has, and with them the lock: a reader of the store keeps the ledger in use.
///
/// sled lets go of its files in threads of its own, a moment after it was dropped. Until then the directory stays open, since
/// its descriptor is a part of the path that those threads use.
struct Files {
    path: PathBuf,
    lock: Arc<Lock>,
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = wait_until_released(&self.path) {
            tracing::error!(%error, "the store keeps its files; the ledger stays locked as long as this process lives");
            std::mem::forget(Arc::clone(&self.lock));
        }
    }
}

/// The bytes of a frame, where sled keeps them.
pub(crate) struct FrameBytes(sled::IVec);

impl Deref for FrameBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Iterates over frames in order, which is faster than looking up each frame.
pub(crate) struct FrameScan {
    frames: sled::Iter,
    /// As long as sled is in use, the ledger is.
    _store: Arc<Store>,
}

impl FrameScan {
    /// The bytes of the next frame; `None` at the end of what the store has by now.
    pub(crate) fn next(&mut self) -> Result<Option<FrameBytes>, StoreError> {
        guarded(|| Ok(self.frames.next().transpose()?.map(|(_, bytes)| FrameBytes(bytes))))
    }
}

/// Kept folds in the order of their streams.
pub(crate) struct SnapshotScan {
    folds: sled::Iter,
    /// As long as sled is in use, the ledger is.
    _store: Arc<Store>,
}

impl SnapshotScan {
    /// The next stream and its fold, which is `None` where it cannot be read; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(StreamId, Option<Stream>)>, StoreError> {
        guarded(|| {
            let Some((key, bytes)) = self.folds.next().transpose()? else { return Ok(None) };
            let (id, _) =
                key::parse_stream(&key).ok_or_else(|| StoreError::Inconsistent("the key of a fold".to_owned()))?;
            Ok(Some((id, decode_stream(&bytes).ok().filter(|kept| kept.id == id))))
        })
    }
}

/// Runs `work`, and turns a panic of sled into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Panicked(text.unwrap_or("without a message").to_owned()))
    })
}

/// Waits for an earlier store of this process to let go of its files, which sled does in threads of its own, a moment
/// after it was dropped. No other process can have them: the ledger's lock is held.
fn wait_until_released(path: &Path) -> io::Result<()> {
    let file = match file::open(&path.join(DB_FILE)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        opened => opened?,
    };
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // In so many words, and not by closing it: a process that is being forked has a copy.
            Ok(()) => return Ok(flock(&file, FlockOperation::NonBlockingUnlock)?),
            Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK_WAIT => thread::sleep(RETRY_INTERVAL),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Gives the store files of its own in the place of those that a hard-linked copy has, too: sled writes into them.
fn unshare(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    for file in files(path)? {
        let mut opened = file::open(&file)?;
        if file::is_shared(&opened)? {
            file::unshare(&file, &mut opened, dir)?;
        }
    }
    Ok(())
}

/// Whether the store of the ledger in `dir` has files of the ledger that this one is a hard-linked copy of (`cp -al`). The
/// owner of that ledger may write them, and goes on doing so after the copy was made: they may hold more than the journal of the copy.
pub(crate) fn is_linked_copy(dir: &Path) -> io::Result<bool> {
    if !origin::is_copy(&dir.join(JOURNAL_DIR)) {
        return Ok(false);
    }
    for file in files(&dir.join(STORE_DIR))? {
        if fs::symlink_metadata(&file)?.nlink() > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses a store with an entry that is neither a regular file nor a directory: sled opens what has the name of a file of its
/// own, and waits for the other end of a FIFO.
fn check_entries(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            check_entries(&entry.path())?;
        } else if !kind.is_file() {
            let name = entry.file_name();
            let what = format!("{} is not a regular file", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
    }
    Ok(())
}

fn open_db(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::default()
        .path(path)
        .cache_capacity(STORE_CACHE_BYTES)
        // Its flusher swallows sync errors and panics when dropped: flushes are asked for.
        .flush_every_ms(None);
    guarded(|| Ok(config.open()?))
}

impl Store {
    /// Opens the store in `path`, which exists.
    pub(crate) fn open(path: &Path, lock: &Arc<Lock>) -> Result<Self, StoreError> {
        check_entries(path)?;
        wait_until_released(path)?;
        for entry in fs::read_dir(path)? {
            let file = entry?.path();
            if file.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
                fs::remove_file(file)?;
            }
        }
        unshare(path)?;
        let db = open_db(path)?;
        close_to_others(path)?;
        Ok(Self { db, files: Files { path: path.to_owned(), lock: Arc::clone(lock) } })
    }

    /// Makes an empty store in `path`, which does not exist. A crash half-way leaves nothing under that name: sled can
    /// not open what it had half made.
    pub(crate) fn create(path: &Path, lock: &Arc<Lock>) -> Result<Self, StoreError> {
        let making = path.with_extension("new");
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        let db = open_db(&making)?;
        guarded(|| Ok(db.flush()?))?;
        guarded(|| {
            drop(db);
            Ok(())
        })?;
        wait_until_released(&making)?;
        sync_files(&making)?;
        fs::rename(&making, path)?;
        Self::open(path, lock)
    }

    pub(crate) fn head(&self) -> Result<Option<StoreHead>, StoreError> {
        let Some(bytes) = guarded(|| Ok(self.db.get(key::META_HEAD)?))? else { return Ok(None) };
        let head = StoreHead::parse(&bytes).ok_or_else(|| StoreError::Inconsistent("its head".to_owned()))?;
        Ok(Some(head))
    }

    /// Adds the next frame, its index and the new head, in one batch.
    pub(crate) fn add(&self, ledger: Uuid, frame: &IndexedFrame) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(key::frame(frame.first_seq), frame.bytes.as_slice());
        for key in &frame.index {
            batch.insert(key.as_slice(), &[]);
        }
        let head = StoreHead { ledger, seq: frame.last_seq, chain: frame.chain };
        batch.insert(key::META_HEAD, head.to_bytes());
        guarded(|| Ok(self.db.apply_batch(batch)?))
    }

    /// The bytes of the last frame that begins at or before `seq`.
    pub(crate) fn frame_at(&self, seq: u64) -> Result<Option<FrameBytes>, StoreError> {
        let range = key::frame(0)..=key::frame(seq);
        let last = guarded(|| Ok(self.db.range(range).next_back().transpose()?))?;
        Ok(last.map(|(_, bytes)| FrameBytes(bytes)))
    }

    /// The frames after the one that begins at `first_seq`, in order.
    pub(crate) fn frames_after(self: &Arc<Self>, first_seq: u64) -> FrameScan {
        let frames = self.db.range(key::frame(first_seq.saturating_add(1))..=key::frame(u64::MAX));
        FrameScan { frames, _store: Arc::clone(self) }
    }

    /// The first seq of the first frame after the one that begins at `after` that has an event of `stream`.
    pub(crate) fn stream_frame_after(&self, stream: StreamId, after: u64) -> Result<Option<u64>, StoreError> {
        let range = key::stream(stream, after.saturating_add(1))..=key::stream(stream, u64::MAX);
        let first = guarded(|| Ok(self.db.range(range).next().transpose()?))?;
        Ok(first.and_then(|(key, _)| Some(key::parse_stream(&key)?.1)))
    }

    /// The first seq of the last frame, of those that begin at or before `seq`, that has an event of `stream`.
    pub(crate) fn stream_frame_at(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        let range = key::stream(stream, 0)..=key::stream(stream, seq);
        let last = guarded(|| Ok(self.db.range(range).next_back().transpose()?))?;
        Ok(last.and_then(|(key, _)| Some(key::parse_stream(&key)?.1)))
    }

    /// The streams whose process id begins with `prefix`, at most `most`.
    pub(crate) fn streams(&self, prefix: &[u8], most: usize) -> Result<Vec<StreamId>, StoreError> {
        let mut found: Vec<StreamId> = Vec::new();
        let mut from = [&[key::STREAM], prefix].concat();
        let whole = from.clone();
        while found.len() < most {
            let next = guarded(|| Ok(self.db.range(from.clone()..).next().transpose()?))?;
            let Some((key, _)) = next.filter(|(key, _)| key.starts_with(&whole)) else { break };
            let Some((stream, _)) = key::parse_stream(&key) else { break };
            found.push(stream);
            // Skips the rest of this stream's entries.
            from = key::stream(stream, u64::MAX);
        }
        Ok(found)
    }

    /// The processes that have had this name.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<ProcessId>, StoreError> {
        let prefix = key::name_prefix(name);
        let keys = self.keys(&prefix)?;
        Ok(keys.iter().filter(|key| key.len() == prefix.len() + 16).filter_map(|key| key::name_process(key)).collect())
    }

    /// The first seqs of the frames that have an event of a minute from `first` to `last`.
    pub(crate) fn frames_between(&self, first: u64, last: u64) -> Result<Vec<u64>, StoreError> {
        let range = key::minute(first, 0)..=key::minute(last, u64::MAX);
        guarded(|| {
            let keys = self.db.range(range).keys();
            keys.map(|key| Ok(key::minute_seq(&key?).unwrap_or(0))).collect()
        })
    }

    fn keys(&self, prefix: &[u8]) -> Result<Vec<sled::IVec>, StoreError> {
        guarded(|| self.db.scan_prefix(prefix).keys().map(|key| Ok(key?)).collect())
    }

    /// Keeps the folds of these streams, as they are after event `seq`.
    pub(crate) fn keep_snapshot(&self, seq: u64, streams: &[Arc<Stream>]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut are_all_kept = true;
        for stream in streams {
            match encode_stream(stream) {
                Ok(bytes) => batch.insert(key::stream_prefix(key::SNAPSHOT, stream.id), bytes),
                // It is replayed instead, from before the first event that it lacks: the mark stays where it is.
                Err(_) => are_all_kept = false,
            }
        }
        if are_all_kept {
            batch.insert(key::META_SNAPSHOT, seq.to_be_bytes().to_vec());
        }
        guarded(|| Ok(self.db.apply_batch(batch)?))
    }

    /// The event after which all folds were last kept; 0 before that. Later events may be folded in already.
    pub(crate) fn snapshot_seq(&self) -> Result<u64, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::META_SNAPSHOT)?))?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk().map(|seq| u64::from_be_bytes(*seq))).unwrap_or(0))
    }

    /// The kept fold of `stream`; `None` when there is none that this version can read.
    pub(crate) fn snapshot(&self, stream: StreamId) -> Result<Option<Stream>, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::stream_prefix(key::SNAPSHOT, stream))?))?;
        Ok(bytes.and_then(|bytes| decode_stream(&bytes).ok()).filter(|kept| kept.id == stream))
    }

    /// All kept folds; `None` when one of them cannot be read by this version.
    pub(crate) fn snapshots(&self) -> Result<Option<Vec<Stream>>, StoreError> {
        guarded(|| {
            let mut found = Vec::new();
            for value in self.db.scan_prefix([key::SNAPSHOT]).values() {
                match decode_stream(&value?) {
                    Ok(stream) => found.push(stream),
                    Err(_) => return Ok(None),
                }
            }
            Ok(Some(found))
        })
    }

    /// The kept folds one after the other, in the order of their streams.
    pub(crate) fn scan_snapshots(self: &Arc<Self>) -> SnapshotScan {
        SnapshotScan { folds: self.db.scan_prefix([key::SNAPSHOT]), _store: Arc::clone(self) }
    }

    /// Whether all kept folds are of the version that this program writes.
    pub(crate) fn are_snapshots_current(&self) -> Result<bool, StoreError> {
        guarded(|| {
            for bytes in self.db.scan_prefix([key::SNAPSHOT]).values() {
                if !is_current_stream(&bytes?) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Every frame in order.
    pub(crate) fn each_frame(
        &self,
        mut visit: impl FnMut(&Frame, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        guarded(|| {
            for entry in self.db.scan_prefix([key::FRAME]) {
                let (key, bytes) = entry?;
                let frame = Frame::parse(&bytes).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
                if key::frame_seq(&key) != Some(frame.header().first_seq) {
                    return Err(StoreError::Inconsistent("a frame under another's key".to_owned()));
                }
                visit(&frame, &bytes)?;
            }
            Ok(())
        })
    }

    /// The sum over all index entries as they are.
    pub(crate) fn index_digest(&self) -> Result<Digest, StoreError> {
        guarded(|| {
            let mut digest = Digest::default();
            for tag in [key::STREAM, key::MINUTE, key::NAME] {
                for key in self.db.scan_prefix([tag]).keys() {
                    digest.add(&key?);
                }
            }
            Ok(digest)
        })
    }

    /// Writes out what is held in memory. Not durable, see the head of this module.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        guarded(|| Ok(self.db.flush().map(|_| ())?))
    }

    /// Lets go of the files. sled may panic here, as anywhere.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.flush()?;
        let Self { db, files } = self;
        let closed = guarded(|| {
            drop(db);
            Ok(())
        });
        drop(files);
        closed
    }
}

/// sled makes its files as the umask has it, which belongs to the whole process: what it made is closed afterwards. Until
/// then the ledger's directory keeps others out.
pub(crate) fn close_to_others(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// The files below the store's directory.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { found.extend(files(&entry.path())?) } else { found.push(entry.path()) }
    }
    found.sort();
    Ok(found)
}

/// Brings all files of the store to the disk, which sled itself never does.
pub(crate) fn sync_files(path: &Path) -> io::Result<()> {
    for file in files(path)? {
        fs::File::open(file)?.sync_all()?;
    }
    fs::File::open(path)?.sync_all()
}
