//! Waits until the remaining output of an ended run is read.

use apm2_model::event::kind::OutputSource;
use tokio::sync::{oneshot, watch};

/// The final state of the outputs of an ended run.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// The outputs that another process still holds open.
    pub(crate) leaked: Vec<OutputSource>,
    /// The last lines of each output.
    pub(crate) tails: Vec<(OutputSource, Vec<String>)>,
}

/// The result of reading one output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReaderEnd {
    /// Whether a process outside the run holds the output open.
    pub(crate) is_leaked: bool,
    /// The last lines of the output. Secrets are masked.
    pub(crate) tail: Vec<String>,
}

/// The running readers of the outputs of one run.
pub(crate) struct OutputDrain {
    /// Set to `true` when the main process has ended.
    pub(crate) ended: watch::Sender<bool>,
    pub(crate) ends: Vec<(OutputSource, oneshot::Receiver<ReaderEnd>)>,
}

impl OutputDrain {
    /// A drain for a run without outputs.
    pub(crate) fn none() -> Self {
        Self { ended: watch::channel(false).0, ends: Vec::new() }
    }

    /// Informs the readers that the process has ended, and waits until each reader has read the remaining output of the
    /// process.
    ///
    /// Outputs that other processes hold open are read and discarded after that, so that these processes do not block.
    /// The wait is bounded, except for a subscriber that does not read.
    pub(crate) async fn finish(self) -> Drained {
        self.ended.send_replace(true);
        let mut drained = Drained::default();
        for (source, end) in self.ends {
            let Ok(ReaderEnd { is_leaked, tail }) = end.await else { continue };
            if is_leaked {
                drained.leaked.push(source);
            }
            drained.tails.push((source, tail));
        }
        drained
    }
}
