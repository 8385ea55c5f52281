//! The limits of the ledger. The name of a constant says its unit.

use std::time::Duration;

/// Size limit of one encoded event. Most events have a few hundred bytes; an event with the specification of a process
/// that has long arguments is the largest.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

/// Size limit of one encoded process specification. The state of a stream is stored as one record, too, and holds the
/// specification and up to 2 × 1,024 restart times of up to 36 bytes each; the 80 KiB are for those.
pub const SPEC_BYTES_MAX: usize = RECORD_BYTES_MAX - 80 * 1024;

/// Limit of consecutive zero bytes in one encoded event. A disk sector (512 bytes) of a commit must never be all zeros:
/// recovery takes such a sector for one that was never written, and the damaged commit for a torn write.
pub const ZERO_RUN_BYTES_MAX: usize = 256;

/// Limit of events in one call of `append`. All events of one call become durable together.
pub const APPEND_EVENTS_MAX: usize = 1024;

/// Size limit of one append: the encoded events, each with its length in 4 bytes. An append of one event of the largest
/// size fits.
pub const APPEND_BYTES_MAX: usize = RECORD_BYTES_MAX + 4;

/// Size at which a group commit is closed: appends that wait are joined into one commit until its body has this size.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// Size limit of the events of one frame in the store before compression, unless it holds a single larger event. The
/// events of a supervisor take about a seventh of it when they are compressed. Frames are small because a sled node holds
/// about 16 frames, and sled moves nodes over 128 KiB to separate files that it never syncs.
pub const FRAME_BYTES_MAX: usize = 32 * 1024;

/// Size of a journal segment file, which is allocated, filled with zeros and synced before it is used. Opening a ledger
/// reads the whole last segment, so segments are small. When the disk is full, at least half an allocated segment is
/// left to record the exits of running processes.
pub const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;

/// Capacity of the queue of appends that wait for a commit. A further call of `append` blocks until the queue has room.
pub const APPEND_QUEUE_LEN: usize = 1024;

/// Capacity of the queue of messages to the indexing thread. Each has commits for about one frame of the store. When the
/// queue is full, an append blocks, for at most [`INDEXER_STALL`].
pub const INDEXER_QUEUE_LEN: usize = 64;

/// Number of events after which the states of the changed streams are written to the store as snapshots.
pub const SNAPSHOT_EVENTS: u64 = 10_000;

/// Number of idle streams whose state is held in memory for the next append. The state of a stream with a running
/// process or a scheduled restart is always held, and does not count. States over this limit are written to the store
/// as snapshots and dropped; the next append to such a stream reads its snapshot.
pub const STREAM_HEADS_MAX: usize = 1024;

/// Size of the states of streams that are in memory at the same time while the states of all streams at an earlier event are
/// read; the states of about 40,000 streams of ordinary commands. A ledger with more of them is read once for each such page. Twice as
/// much is in memory while two threads read.
pub const STATES_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Number of states of given streams that are read from the journal together, and are in memory at the same time.
pub(crate) const STATES_TOGETHER_MAX: usize = 64;

/// Number of frames after which sled is flushed. This limits the events that must be added to the store again after a
/// crash. It also limits the concurrent work in sled's thread pool, which can deadlock when it is full: a write holds
/// the lock of sled's segments and waits for a truncation, and every thread that could truncate waits for that lock.
pub const FLUSH_FRAMES: u64 = 32;

/// Number of small writes after each frame that make sled reclaim space: about four nodes are moved. With half as many, the
/// file of the store would be a tenth larger.
pub const RECLAIM_WRITES: u8 = 40;

/// How long opening a ledger waits for the lock of its directory. Other processes that only check the lock hold it for
/// a short time.
pub const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Interval at which a held lock is tried again, or a commit that another process may be writing is read again.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// How long an append waits while the queue of the indexing thread is full. After this time the ledger continues
/// without the store.
pub const INDEXER_STALL: Duration = Duration::from_secs(10);

/// How long closing a ledger waits for the indexing thread to add the last events to the store. The next opening of the
/// ledger adds the events that the store lacks.
pub const CLOSE_WAIT: Duration = Duration::from_secs(30);

/// How often a commit that another process may be writing is read again before it is reported as damaged.
pub const TAIL_READ_TRIES: u32 = 20;

/// Size of sled's cache. The default of sled is 1 GiB.
pub const STORE_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Free disk space below which no new process start is recorded, so that the exits of running processes can still be
/// recorded.
pub const DISK_FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Number of unusable stores that are kept under another name. Older ones are removed, since the journal holds all
/// their events.
pub const SET_ASIDE_MAX: usize = 3;

/// Number of events after which the extent mark is written again, when the next commits are sent to the indexing thread.
/// The extent mark is a file with the number of events that the ledger is known to hold.
pub const EXTENT_EVENTS: u64 = 1000;

/// Shortest time between two extent marks. Each is replaced with two fsync(2), which delay the appends of that time.
pub const EXTENT_PAUSE: Duration = Duration::from_secs(1);

/// Time after which the extent mark is written again if fewer than [`EXTENT_EVENTS`] events were appended since the
/// last time.
pub const EXTENT_INTERVAL: Duration = Duration::from_secs(60);

/// Events of one block of a sealed segment, in bytes before compression, unless a single event is larger. A read of one event
/// decompresses one block.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Entries of one page of a table in the footer of a sealed segment, in bytes before compression, unless a single entry is
/// larger. The question for one stream decompresses one page.
pub const PAGE_BYTES: usize = 16 * 1024;

/// A section of the footer of a sealed segment that is read as a whole, in bytes before compression: the table of blocks, and
/// the directory of the pages of a table.
pub const SECTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// States of streams that the sealing thread keeps in memory from one segment to the next.
pub const SEALER_STATES_MAX: usize = 1024;

/// How long the plain file of a segment is kept after the segment was sealed, for copies of the directory that are being made.
pub const SEALED_PLAIN_KEPT: Duration = Duration::from_secs(300);

/// Number of members of a catalog.
pub const CATALOG_MEMBERS: usize = 16;

/// The share of the sealed segments, in bytes, that must be old enough before events move into an archive without a request: one
/// part in this number.
pub(crate) const RETAIN_SHARE: u64 = 4;

/// Number of archives of a ledger. Each call of `retain` that moves segments adds one.
pub const ARCHIVES_MAX: usize = 4096;

/// The highest level of a catalog, which covers [`CATALOG_MEMBERS`] to the power of it segments.
pub const CATALOG_LEVEL_MAX: u32 = 5;
