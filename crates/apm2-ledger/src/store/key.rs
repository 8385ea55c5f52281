//! The keys of the store. A key begins with one byte for its kind. Numbers in a key are big-endian, so that sled's
//! order of keys is the order of the numbers.
//!
//! | key | value |
//! |---|---|
//! | `f` first seq | a frame |
//! | `w` process, instance, window | empty: this stream has an event in this window of [`WINDOW_EVENTS`] sequence numbers |
//! | `t` minute, first seq | empty: the frame with this first seq has an event of this minute |
//! | `n` name, 0xff, process | empty: the process has or had this name |
//! | `p` process, instance | the snapshot of the state of this stream, a cache |
//! | `mhead` | version, ledger id, last seq, chain |
//! | `mbase` | the last seq that is in an archive and not in the store, and the chain after it; absent without archives |
//! | `msnapshot` | the seq up to which the snapshots of all streams are complete |
//!
//! The keys `w`, `t` and `n` are computed from the events, see [`index`](crate::store::index).

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};

pub(crate) const FRAME: u8 = b'f';

pub(crate) const STREAM: u8 = b'w';

pub(crate) const MINUTE: u8 = b't';

pub(crate) const NAME: u8 = b'n';

pub(crate) const SNAPSHOT: u8 = b'p';

pub(crate) const META_HEAD: &[u8] = b"mhead";

pub(crate) const META_BASE: &[u8] = b"mbase";

pub(crate) const META_SNAPSHOT: &[u8] = b"msnapshot";

/// Terminates the name in a key of kind `n`. No byte of UTF-8 text has this value.
const NAME_END: u8 = 0xff;

const NANOS_PER_MINUTE: i64 = 60_000_000_000;

pub(crate) fn frame(first_seq: u64) -> Vec<u8> {
    [&[FRAME][..], &first_seq.to_be_bytes()].concat()
}

pub(crate) fn frame_seq(key: &[u8]) -> Option<u64> {
    last_seq(key)
}

/// The common prefix of the keys of kind `tag` for `stream`.
pub(crate) fn stream_prefix(tag: u8, stream: StreamId) -> Vec<u8> {
    [&[tag][..], stream.process_id.as_bytes(), &stream.instance.to_be_bytes()].concat()
}

/// Sequence numbers of one window. A key for each window in place of each frame makes the index several times smaller:
/// sled stores about 16 keys in a node, and writes a node again for every few keys that are added to it.
const WINDOW_EVENTS: u64 = 8192;

/// The window that contains the sequence number `seq`.
pub(crate) const fn window_of(seq: u64) -> u64 {
    seq / WINDOW_EVENTS
}

/// The first sequence number of a window.
pub(crate) const fn window_start(window: u64) -> u64 {
    window.saturating_mul(WINDOW_EVENTS)
}

pub(crate) fn stream(stream: StreamId, window: u64) -> Vec<u8> {
    let mut key = stream_prefix(STREAM, stream);
    key.extend_from_slice(&window.to_be_bytes());
    key
}

/// Parses a key of kind `w` into its stream and window. A key of kind `p` has no window, and gives 0 for it.
pub(crate) fn parse_stream(key: &[u8]) -> Option<(StreamId, u64)> {
    let (process_id, rest) = key.get(1..)?.split_first_chunk()?;
    let (instance, rest) = rest.split_first_chunk()?;
    let first_seq = rest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let process_id = ProcessId::from_bytes(*process_id);
    Some((StreamId { process_id, instance: u32::from_be_bytes(*instance) }, first_seq))
}

/// The minute of a wall-clock time in nanoseconds since 1970. The top bit is inverted, so that the unsigned order of
/// minutes is the order of time, also before 1970.
pub(crate) const fn minute_of(wall_ns: i64) -> u64 {
    wall_ns.div_euclid(NANOS_PER_MINUTE).cast_unsigned() ^ (1 << 63)
}

pub(crate) fn minute(minute: u64, first_seq: u64) -> Vec<u8> {
    [&[MINUTE][..], &minute.to_be_bytes(), &first_seq.to_be_bytes()].concat()
}

pub(crate) fn minute_seq(key: &[u8]) -> Option<u64> {
    last_seq(key)
}

pub(crate) fn name_prefix(name: &str) -> Vec<u8> {
    [&[NAME][..], name.as_bytes(), &[NAME_END]].concat()
}

pub(crate) fn name(name: &str, process: ProcessId) -> Vec<u8> {
    let mut key = name_prefix(name);
    key.extend_from_slice(process.as_bytes());
    key
}

pub(crate) fn name_process(key: &[u8]) -> Option<ProcessId> {
    key.last_chunk().map(|bytes| ProcessId::from_bytes(*bytes))
}

fn last_seq(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_read_back_and_keep_their_order(a in any::<([u8; 16], u32, u64)>(), b in any::<([u8; 16], u32, u64)>()) {
            let id = |(process, instance, _): ([u8; 16], u32, u64)| StreamId { process_id: ProcessId::from_bytes(process), instance };
            prop_assert_eq!(parse_stream(&stream(id(a), a.2)), Some((id(a), a.2)));
            prop_assert_eq!(a.cmp(&b), stream(id(a), a.2).cmp(&stream(id(b), b.2)));
            prop_assert_eq!(frame_seq(&frame(a.2)), Some(a.2));
            prop_assert_eq!(a.2.cmp(&b.2), frame(a.2).cmp(&frame(b.2)));
        }

        #[test]
        fn minutes_keep_the_order_of_time(a in any::<i64>(), b in any::<i64>()) {
            prop_assume!(a <= b);
            prop_assert!(minute_of(a) <= minute_of(b));
        }
    }
}
