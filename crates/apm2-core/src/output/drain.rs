//! The output of a process, and where it goes: to files, or to whoever subscribed; what nobody subscribed to is dropped.

use apm2_model::event::kind::OutputSource;
use tokio::sync::{oneshot, watch};

/// What became of the outputs of a run.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// Those that somebody else holds.
    pub(crate) leaked: Vec<OutputSource>,
    /// The last lines of each.
    pub(crate) tails: Vec<(OutputSource, Vec<String>)>,
}

/// How the reading of an output ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Whether somebody who is not of the run holds it open.
    pub(crate) is_leaked: bool,
    pub(crate) tail: Vec<String>,
}

/// The readers of one run.
pub(crate) struct OutputDrain {
    pub(crate) ended: watch::Sender<bool>,
    pub(crate) ends: Vec<(OutputSource, oneshot::Receiver<End>)>,
}

impl OutputDrain {
    /// Readers of nothing.
    pub(crate) fn none() -> Self {
        Self { ended: watch::channel(false).0, ends: Vec::new() }
    }

    /// Tells the readers that the process is gone, and waits until each is through with what it left.
    ///
    /// The outputs that others hold are read on and dropped, so that nobody blocks on them. Bounded, but for a subscriber
    /// that does not read.
    pub(crate) async fn finish(self) -> Drained {
        self.ended.send_replace(true);
        let mut drained = Drained::default();
        for (source, end) in self.ends {
            let Ok(End { is_leaked, tail }) = end.await else { continue };
            if is_leaked {
                drained.leaked.push(source);
            }
            drained.tails.push((source, tail));
        }
        drained
    }
}
