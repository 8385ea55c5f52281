//! The bytes of a frame in the store: a [block](crate::journal::sealed::block) of compressed events, as in a sealed
//! segment.

use crate::{
    journal::{event_batch::EventBatch, sealed::block::Block},
    store::error::StoreError,
};

/// Parses and decompresses a frame. `first_seq` is the sequence number in its key.
pub(super) fn parse(first_seq: Option<u64>, bytes: &[u8]) -> Result<EventBatch, StoreError> {
    let block = Block::parse(bytes).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
    if Some(block.header().first_seq) == first_seq {
        Ok(block.into())
    } else {
        Err(StoreError::Inconsistent("a frame has the key of another frame".to_owned()))
    }
}
