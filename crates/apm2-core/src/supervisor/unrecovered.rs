//! A supervisor that has not taken over the processes of an earlier supervisor yet. It cannot start any process.

use apm2_model::{policy::boot::Boot, state::stream::Stream};

use crate::{
    error::ProcessError,
    os::spawn_slot,
    supervisor::{Supervisor, past::Past, report::Recovery, services::Services},
};

/// A supervisor before its recovery. [`recover`](Self::recover) makes a [`Supervisor`] of it; for a store without
/// events, [`without_past`](Self::without_past) does.
///
/// Must be created within a tokio runtime with its I/O and time drivers.
pub struct Unrecovered(Supervisor);

impl Unrecovered {
    /// A supervisor without processes that uses these services.
    #[must_use]
    pub fn new(services: Services) -> Self {
        // The descriptors of adopted processes must not have the low numbers.
        spawn_slot::reserve();
        Self(Supervisor::new(services))
    }

    /// Texts about the processes of these streams that may be alive in another pid namespace. If there are any, the
    /// caller must not run the recovery. Changes nothing.
    ///
    /// `supervisor_pid` returns the pid of the latest supervisor of the ledger in its own pid namespace. This
    /// supervisor has ended.
    #[must_use]
    pub fn out_of_sight(&self, streams: &[Stream], supervisor_pid: impl FnOnce() -> Option<u32>) -> Vec<String> {
        self.0.out_of_sight(streams, supervisor_pid)
    }

    /// Records in a stream that its run is not observed any more and that no restart follows, with the reason `reason`.
    /// Returns the state of the stream after that.
    ///
    /// # Errors
    /// The events cannot be recorded.
    pub fn disown(&self, stream: Stream, reason: &str) -> Result<Stream, ProcessError> {
        self.0.disown(stream, reason)
    }

    /// Takes over the instances that an earlier supervisor left.
    ///
    /// Running processes are adopted. For processes that have ended, the end is recorded as far as it can be observed.
    /// Stops in progress are completed, and scheduled restarts are made. A process that ran when the supervisor or the
    /// machine was shut down is started again if its `on_boot` setting says so. `boot` describes this shutdown.
    pub async fn recover(self, boot: Boot, past: Past) -> (Supervisor, Recovery) {
        let recovery = self.0.recover(boot, past).await;
        (self.0, recovery)
    }

    /// A supervisor for a dry run. It has the launch specifications and the recorded streams, but supervises no
    /// process: it can only report what a change would do, and carries out no command. Its recorder must store nothing.
    /// `is_ours` says whether a recovery would adopt running processes.
    ///
    /// # Errors
    /// The launch specifications cannot be read.
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
