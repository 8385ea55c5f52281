//! Read access to the stream of an instance without its runner.

use apm2_model::state::stream::Stream;

use crate::run::instance::SharedInstance;

/// The stream of a runner as of its last commit. Reading it never waits for a step of the run.
#[derive(Clone)]
pub(crate) struct StreamView(pub(super) SharedInstance);

impl StreamView {
    /// The fold of the recorded events; `None` before the first.
    pub(crate) fn stream(&self) -> Option<Stream> {
        self.0.facts().stream.as_deref().cloned()
    }

    /// The marker of the latest run, as text.
    pub(crate) fn marker(&self) -> String {
        self.0.facts().marker().to_string()
    }

    /// The value that the processes of the latest run have in [`RUN_VARIABLE`](crate::os::marker::RUN_VARIABLE).
    pub(crate) fn run_variable(&self) -> String {
        self.0.facts().marker().variable()
    }
}
