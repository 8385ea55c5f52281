//! A view of the stream of an instance for others than its runner.

use apm2_model::state::stream::Stream;

use crate::run::instance::Shared;

/// The stream of a runner as of its last commit, for others to look at. Waits for no step.
#[derive(Clone)]
pub(crate) struct StreamView(pub(super) Shared);

impl StreamView {
    /// The fold of the recorded events; `None` before the first.
    pub(crate) fn stream(&self) -> Option<Stream> {
        self.0.facts().stream.as_deref().cloned()
    }

    /// The text of the marker of the latest run.
    pub(crate) fn marker(&self) -> String {
        self.0.facts().marker().to_string()
    }

    /// What the processes of the latest run have as [`RUN_VARIABLE`](crate::os::group::RUN_VARIABLE).
    pub(crate) fn run_variable(&self) -> String {
        self.0.facts().marker().variable()
    }
}
