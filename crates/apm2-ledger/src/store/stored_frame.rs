//! The bytes of a frame in the store.
//!
//! A frame is a [block](crate::journal::sealed::block) of compressed events, as in a sealed segment. Stores that were
//! created by a program that knew only ledger format 1 also hold frames in the form of a [commit](crate::frame).

use crate::{
    frame::{Frame, FrameHeader},
    journal::{event_batch::EventBatch, sealed::block::Block},
    store::error::StoreError,
};

/// Parses and decompresses a frame. `first_seq` is the sequence number in its key.
pub(super) fn parse(first_seq: Option<u64>, bytes: &[u8]) -> Result<EventBatch, StoreError> {
    let batch = if FrameHeader::parse(bytes).is_ok() {
        Frame::parse(bytes)
            .map(|frame| EventBatch::from_commit(bytes.to_vec(), frame))
            .map_err(|error| error.to_string())
    } else {
        Block::parse(bytes).map(EventBatch::from).map_err(|error| error.to_string())
    };
    let batch = batch.map_err(StoreError::Inconsistent)?;
    if Some(batch.first_seq()) == first_seq {
        Ok(batch)
    } else {
        Err(StoreError::Inconsistent("a frame has the key of another frame".to_owned()))
    }
}
