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

    /// The number of the latest run; 0 before the first run.
    pub(crate) fn run(&self) -> u64 {
        self.0.facts().stream.as_deref().map_or(0, |stream| stream.run)
    }

    /// Whether run `run` is the latest one, and its end is not recorded.
    pub(crate) fn is_open(&self, run: u64) -> bool {
        let facts = self.0.facts();
        facts.stream.as_deref().is_some_and(|stream| stream.run == run && !stream.handle.state.has_exited())
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
