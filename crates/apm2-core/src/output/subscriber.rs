//! Passes output to a subscriber as soon as it is read.

use std::sync::{Arc, Mutex, PoisonError};

use apm2_model::event::kind::OutputSource;
use tokio::sync::mpsc;

/// Capacity of a subscription, in chunks. When the subscription is full, reading stops, and the process blocks when its
/// pipe is full.
const CHUNKS_WAITING_MAX: usize = 64;

/// A chunk of output, as it was read from the pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// The output from which the chunk was read.
    pub source: OutputSource,
    /// The data of the chunk: at least one byte, and at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// Passes output to the latest subscriber. Without a subscriber, the output is dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputSubscriber(Arc<Mutex<Option<mpsc::Sender<OutputChunk>>>>);

impl OutputSubscriber {
    /// Creates a new subscription, which replaces an earlier one.
    pub(crate) fn subscribe(&self) -> mpsc::Receiver<OutputChunk> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        self.set(Some(sender));
        receiver
    }

    /// Sends a chunk to the subscriber. Waits while the queue of the subscriber is full.
    pub(crate) async fn deliver(&self, source: OutputSource, bytes: &[u8]) {
        let Some(subscriber) = self.get() else { return };
        let chunk = OutputChunk { source, bytes: bytes.to_vec() };
        if subscriber.send(chunk).await.is_err() && self.get().is_some_and(|now| now.same_channel(&subscriber)) {
            self.set(None);
        }
    }

    fn get(&self) -> Option<mpsc::Sender<OutputChunk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, subscriber: Option<mpsc::Sender<OutputChunk>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = subscriber;
    }
}
