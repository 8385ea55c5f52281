//! A supervisor that has not taken over yet what an earlier one left: nothing can be started with it.

use apm2_model::{policy::boot::Boot, state::stream::Stream};

use crate::{
    error::ProcessError,
    supervisor::{Supervisor, past::Past, report::Recovery, services::Services},
};

/// A supervisor before its recovery. It becomes a [`Supervisor`] by recovery, or without one where the store has no events.
///
/// Has to be made within a tokio runtime with its I/O and time drivers.
pub struct Unrecovered(Supervisor);

impl Unrecovered {
    /// A supervisor of nothing, with these services.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self(Supervisor::new(services))
    }

    /// The processes of these streams that may be alive in another pid namespace, in words. Where there are any, there must be no
    /// recovery. Changes nothing.
    ///
    /// `supervisor_pid` gives the pid that the latest supervisor of the ledger had where it ran, and which has ended.
    #[must_use]
    pub fn out_of_sight(&self, streams: &[Stream], supervisor_pid: impl FnOnce() -> Option<u32>) -> Vec<String> {
        self.0.out_of_sight(streams, supervisor_pid)
    }

    /// Records of a stream that its run is not followed any more, and that nothing is started for it; `reason` says why.
    /// Returns it as it is then.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn disown(&self, stream: Stream, reason: &str) -> Result<Stream, ProcessError> {
        self.0.disown(stream, reason)
    }

    /// Takes over what an earlier supervisor left open, of all that is on record.
    ///
    /// What is alive is adopted, what has ended is closed by what can be learned of it, stops under way are finished, and
    /// restarts that are due are made. What ran when the supervisor or the machine was shut down runs again, as `on_boot` of each
    /// process says. `boot` holds what is known of that shutdown.
    pub async fn recover(self, boot: Boot, past: Past) -> (Supervisor, Recovery) {
        let recovery = self.0.recover(boot, past).await;
        (self.0, recovery)
    }

    /// A supervisor that knows what is launched and what is on record, and supervises nothing of it: it answers what it would do,
    /// and no order. To be made with a recorder that stores nothing. `is_ours` says whether what runs would be adopted, and not
    /// left alone.
    ///
    /// # Errors
    /// When it cannot be read what processes are launched with.
    pub fn survey(self, streams: Vec<Stream>, is_ours: bool) -> Result<Supervisor, ProcessError> {
        self.0.survey(streams, is_ours)?;
        Ok(self.0)
    }

    /// A supervisor for a store that has no events.
    #[must_use]
    pub fn without_past(self) -> Supervisor {
        self.0
    }
}
