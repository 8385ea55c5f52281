//! Every limit of the ledger, with its unit in its name.

use std::time::Duration;

/// One event's bytes. An event is a few hundred bytes; a specification with long arguments is the largest.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

/// What a specification may take of an event: its event is a record, and so is the fold of its stream, which remembers two
/// times 1,024 restarts of up to 36 bytes beside it.
pub const SPEC_BYTES_MAX: usize = RECORD_BYTES_MAX - 80 * 1024;

/// Zero bytes in a row in one event. A whole sector of them in the last commit would look as if it had never been written,
/// and damage to that commit like a torn write.
pub const ZERO_RUN_BYTES_MAX: usize = 256;

/// Events in one call of `append`: what becomes durable together.
pub const APPEND_EVENTS_MAX: usize = 1024;

/// Bytes of one append, with the 4 that each event's length takes: room for one event of the largest kind.
pub const APPEND_BYTES_MAX: usize = RECORD_BYTES_MAX + 4;

/// Body of one commit in the journal: what waits is made durable together up to this much.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// Body of one frame in the store, unless a single event is larger. Small, since sled keeps about 16 of them in a node
/// and moves nodes over 128 KiB to files that it never syncs.
pub const FRAME_BYTES_MAX: usize = 4 * 1024;

/// A journal segment as it is made ahead: zeros, allocated and synced. Each opening reads the last segment completely,
/// and a full disk leaves at least half of one for the exits of what runs.
pub const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;

/// Appends that wait to be committed. Further callers wait for a place.
pub const APPEND_QUEUE_LEN: usize = 1024;

/// Commits that wait for the store. An append waits when it is this far behind, for [`INDEXER_STALL`] at most.
pub const INDEXER_QUEUE_LEN: usize = 4096;

/// Events after which the heads of the streams that changed are kept as a snapshot.
pub const SNAPSHOT_EVENTS: u64 = 10_000;

/// Streams whose heads are held for the next append, beside those that something is going on in. Beyond it their folds are
/// kept in the store, and the heads are dropped; one that is wanted again is read from there.
pub const STREAM_HEADS_MAX: usize = 1024;

/// Frames after which the store writes out what it holds in memory. Little has to be fed again after a crash, and little
/// is under way at once in sled's thread pool, which can wait for itself for ever when it is crowded: a write that holds
/// the lock of its segments waits for a truncation, and all threads that could truncate wait for that lock.
pub const FLUSH_FRAMES: u64 = 32;

/// How long an opener waits for another process to let go of the ledger: readers hold it for moments.
pub const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Time between two looks at a held lock, or at a commit that is being written.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// How long an append waits for a store that takes nothing more, before the ledger goes on without it.
pub const INDEXER_STALL: Duration = Duration::from_secs(10);

/// How long a close waits for the store to have everything. What it lacks then is fed at the next opening.
pub const CLOSE_WAIT: Duration = Duration::from_secs(30);

/// Looks at a commit that another process may be writing, before it counts as damaged.
pub const TAIL_READ_TRIES: u32 = 20;

/// Memory that sled may use for its cache, in bytes (its default is 1 GiB).
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Free space below which no new start is recorded, so that the exits of what runs still can be.
pub const DISK_FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Stores that were set aside and are kept; older ones are removed. The journal holds all that they held.
pub const SET_ASIDE_MAX: usize = 3;

/// Events after which the extent mark is written again.
pub const EXTENT_EVENTS: u64 = 1000;

/// Time after which the extent mark is written again where fewer events were recorded.
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
