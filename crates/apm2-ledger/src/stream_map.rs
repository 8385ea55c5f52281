//! [`StreamMap`]: a hash map with an entry for each stream.
//!
//! A replay looks a stream up for each event. With the hasher of the standard library, that is an eighth of its time.

use std::collections::HashMap;

use apm2_model::event::stream_id::StreamId;

/// A hash map with stream ids as its keys.
pub(crate) type StreamMap<V> = HashMap<StreamId, V, foldhash::fast::RandomState>;
