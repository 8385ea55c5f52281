//! The end of the supervisor: a shutdown stops every instance, whatever its state; a leave keeps all processes running.

use std::time::Duration;

use apm2_model::{event::requester::Requester, policy::shutdown::ShutdownManager};
use humantime::format_duration;
use tokio::time::timeout;

use crate::{
    error::ProcessError,
    supervisor::{Supervisor, command::InstanceCommand, instance_handle::InstanceHandle, report::ShutdownReport},
};

/// How long an instance actor may take to answer beyond the stop timeout of its process: it may be in the middle of a start on
/// a slow disk.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Leaves what runs to the next supervisor. No start begins any more, and those under way are waited for, `deadline` at most:
    /// a process whose start is not on record could not be adopted. Gives whether all of them are over.
    ///
    /// Stops and changes are not waited for: the next supervisor finds them in the record.
    pub async fn leave(&self, deadline: Duration) -> bool {
        self.inner.starts.close();
        timeout(deadline, self.inner.starts.finish()).await.is_ok()
    }

    /// Stops all instances in parallel within `deadline`, and cancels restarts that are due. Nothing can be started any more.
    ///
    /// Every instance gets the stop, also one that does not run: it may be about to start. A start that is under way is completed
    /// and then stopped. No start begins after it. An instance that was to be started by a restart or a change is recorded as wanted.
    pub async fn shutdown(&self, deadline: Duration, request: &Requester) -> ShutdownReport {
        // Set before the instances are listed: a start checks it after its instance is in the table.
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
        // A change may have stopped an instance that it is about to start.
        if timeout(ANSWER_MARGIN, self.inner.changes.make_durable()).await.is_err() {
            report.problems.push(format!("a change is not through within {}", format_duration(ANSWER_MARGIN)));
        }
        report
    }
}

/// Stops an instance. Returns whether it ran.
async fn stop(handle: &InstanceHandle, command: InstanceCommand, limit: Duration) -> Result<bool, ProcessError> {
    let Ok(stopped) = timeout(limit, handle.ask(command)).await else {
        let late = format!("no answer within {}; it may still run", format_duration(limit));
        return Err(ProcessError::Io(std::io::Error::other(late)));
    };
    let has_exited = || handle.view.stream().is_none_or(|stream| stream.handle.state.has_exited());
    match stopped {
        Ok(()) => Ok(true),
        // It did not run, has ended meanwhile, or is not supervised any more.
        Err(ProcessError::InvalidState(_) | ProcessError::NotFound(_)) if has_exited() => Ok(false),
        Err(error) => Err(error),
    }
}
