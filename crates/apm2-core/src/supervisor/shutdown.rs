//! The end of the supervisor: a shutdown stops all instances; a leave ends the supervisor and keeps all processes
//! running.

use std::time::Duration;

use apm2_model::{event::requester::Requester, policy::shutdown::ShutdownManager};
use humantime::format_duration;
use tokio::time::timeout;

use crate::{
    error::ProcessError,
    supervisor::{Supervisor, command::InstanceCommand, instance_handle::InstanceHandle, report::ShutdownReport},
};

/// The time that an instance actor may take beyond the stop timeout of its process: it may be in the middle of a start
/// on a slow disk.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Ends the supervisor and leaves the running processes to the next supervisor. No new start begins. Waits until
    /// the starts in progress are complete, at most for `deadline`, because a process whose start is not recorded could
    /// not be adopted. Returns whether all starts are complete.
    ///
    /// Does not wait for stops and changes: the next supervisor finds them in the recorded events.
    pub async fn leave(&self, deadline: Duration) -> bool {
        self.inner.starts.close();
        timeout(deadline, self.inner.starts.finish()).await.is_ok()
    }

    /// Stops all instances in parallel within `deadline`, and cancels scheduled restarts. No instance can be started
    /// any more.
    ///
    /// Each instance gets the stop command, even if it does not run, because it may be about to start. A start in
    /// progress is completed, and the process is then stopped. If a restart or a change was about to start an instance,
    /// the events record that the instance should run.
    pub async fn shutdown(&self, deadline: Duration, request: &Requester) -> ShutdownReport {
        // The flag is set before the instances are listed. A start checks the flag after its instance is in the table.
        self.inner.starts.close();
        let handles: Vec<(String, Duration, InstanceHandle)> = {
            let table = self.table();
            let with_timeout = table.entries().flat_map(|entry| {
                let (name, timeout) = (&entry.launch.spec.name, entry.launch.spec.shutdown.timeout);
                entry.handles.iter().map(move |handle| (name.clone(), timeout, handle.clone()))
            });
            with_timeout.collect()
        };
        let manager = ShutdownManager::new(deadline);
        let stops: Vec<_> = handles
            .into_iter()
            .map(|(name, of_process, handle)| {
                let within = manager.timeout(of_process);
                let command = InstanceCommand::Stop(request.clone(), Some(within));
                (name, tokio::spawn(async move { stop(&handle, command, within.saturating_add(ANSWER_MARGIN)).await }))
            })
            .collect();
        let mut report = ShutdownReport::default();
        for (name, stop) in stops {
            match stop.await {
                Ok(Ok(true)) => report.stopped = report.stopped.saturating_add(1),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => report.problems.push(format!("{name}: {error}")),
                Err(error) => report.problems.push(format!("{name}: {error}")),
            }
        }
        // A change may have stopped an instance that the change is about to start again.
        if timeout(ANSWER_MARGIN, self.inner.changes.make_durable()).await.is_err() {
            report.problems.push(format!("a change is not through within {}", format_duration(ANSWER_MARGIN)));
        }
        report
    }
}

/// Stops an instance. Returns whether it was running.
async fn stop(handle: &InstanceHandle, command: InstanceCommand, limit: Duration) -> Result<bool, ProcessError> {
    let Ok(stopped) = timeout(limit, handle.ask(command)).await else {
        let late = format!("no answer within {}; it may still run", format_duration(limit));
        return Err(ProcessError::Io(std::io::Error::other(late)));
    };
    let has_exited = || handle.view.stream().is_none_or(|stream| stream.handle.state.has_exited());
    match stopped {
        Ok(()) => Ok(true),
        // The instance was not running, has ended in the meantime, or is not supervised any more.
        Err(ProcessError::InvalidState(_) | ProcessError::NotFound(_)) if has_exited() => Ok(false),
        Err(error) => Err(error),
    }
}
