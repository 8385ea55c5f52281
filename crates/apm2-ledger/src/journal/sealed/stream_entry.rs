//! What the footer of a sealed segment knows of one stream.
//!
//! ```text
//! key     process id 16, instance 4, big-endian, so that the order of the bytes is that of the streams
//! value   number of events 8, last version 8, and a bit for each block of the segment, the first block in the lowest bit of
//!         the first byte: whether the stream has an event in it
//! ```

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};

use crate::journal::sealed::fields::Fields;

/// One stream that has events in the segment. Erased events do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// The stream.
    pub stream: StreamId,
    /// How many events of it the segment has.
    pub events: u64,
    /// The version of the last of them.
    pub last_version: u64,
    /// The numbers of the blocks that have them, from 0, in order.
    pub blocks: Vec<usize>,
}

impl StreamEntry {
    /// The key of a stream in the tables of streams and states.
    pub(crate) fn key(stream: StreamId) -> Vec<u8> {
        [&stream.process_id.as_bytes()[..], &stream.instance.to_be_bytes()].concat()
    }

    /// The stream with this key.
    pub(crate) fn parse_key(key: &[u8]) -> Option<StreamId> {
        let mut fields = Fields(key);
        let stream = StreamId {
            process_id: ProcessId::from_bytes(fields.array()?),
            instance: u32::from_be_bytes(fields.array()?),
        };
        fields.0.is_empty().then_some(stream)
    }

    /// The value in a segment of so many blocks.
    pub(crate) fn value(&self, block_count: usize) -> Vec<u8> {
        let mut bits = vec![0u8; block_count.div_ceil(8)];
        for block in &self.blocks {
            if let Some(byte) = bits.get_mut(block / 8) {
                *byte |= 1 << (block % 8);
            }
        }
        [&self.events.to_le_bytes()[..], &self.last_version.to_le_bytes(), &bits].concat()
    }

    /// The entry with this key and value, in a segment of so many blocks.
    pub(crate) fn parse(key: &[u8], value: &[u8], block_count: usize) -> Option<Self> {
        let mut fields = Fields(value);
        let (stream, events, last_version) = (Self::parse_key(key)?, fields.u64()?, fields.u64()?);
        let bits = fields.0;
        if bits.len() != block_count.div_ceil(8) {
            return None;
        }
        let is_set = |block: &usize| bits.get(block / 8).is_some_and(|byte| byte >> (block % 8) & 1 == 1);
        let blocks = (0..bits.len() * 8).filter(is_set).collect::<Vec<_>>();
        let fits = blocks.last().is_some_and(|last| *last < block_count);
        fits.then_some(Self { stream, events, last_version, blocks })
    }
}
