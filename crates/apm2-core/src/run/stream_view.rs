//! Read access to the stream of an instance without its runner.

use apm2_model::state::stream::Stream;

use crate::run::instance::SharedInstance;

/// The stream of a runner after its last commit. Reading it does not wait for a step of the run.
#[derive(Clone)]
pub(crate) struct StreamView(pub(super) SharedInstance);

impl StreamView {
    /// The state of the stream after all recorded events; `None` before the first event.
    pub(crate) fn stream(&self) -> Option<Stream> {
        self.0.facts().stream.as_deref().cloned()
    }

    /// Whether no run of the instance is open.
    pub(crate) fn has_exited(&self) -> bool {
        self.0.facts().state().has_exited()
    }

    /// The marker of the latest run, as text.
    pub(crate) fn marker(&self) -> String {
        self.0.facts().marker().to_string()
    }

    /// The value of the environment variable [`RUN_VARIABLE`](crate::os::marker::RUN_VARIABLE) in the processes of the
    /// latest run.
    pub(crate) fn run_variable(&self) -> String {
        self.0.facts().marker().variable()
    }
}
