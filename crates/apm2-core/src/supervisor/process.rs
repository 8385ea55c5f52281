//! A handle to one supervised process with all its instances.

use std::time::Duration;

use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    spec::{ProcessSpec, id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{error::ProcessError, run::event_feed::EventSubscription, supervisor::Supervisor};

impl Supervisor {
    /// Supervises a process from now on without starting it. A supervised process with the same name is changed, as
    /// [`apply`](Self::apply) does.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub async fn supervise(&self, spec: ProcessSpec) -> Result<SupervisedProcess, ProcessError> {
        let (name, by) = (spec.name.clone(), Requester::default());
        self.apply(LaunchSpec::new(spec), &by).await?;
        let id = self.find_process(&name).map_err(|error| ProcessError::NotFound(error.to_string()))?;
        Ok(SupervisedProcess { supervisor: self.clone(), id, name, by })
    }

    /// The events of all supervised processes from now on. Events of the system stream are not included.
    #[must_use]
    pub fn events(&self) -> EventSubscription {
        self.inner.feed.subscribe(None)
    }
}

/// A handle to a supervised process. Dropping the handle stops nothing.
#[derive(Clone)]
pub struct SupervisedProcess {
    supervisor: Supervisor,
    id: ProcessId,
    name: String,
    by: Requester,
}

impl SupervisedProcess {
    /// The name of the process.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the process.
    #[must_use]
    pub const fn id(&self) -> ProcessId {
        self.id
    }

    /// The ids of the instances of the process.
    #[must_use]
    pub fn instances(&self) -> Vec<StreamId> {
        self.supervisor.streams_of(self.id)
    }

    /// The same handle, which records `requester` as the requester of its commands. By default, the requester is the
    /// system.
    #[must_use]
    pub fn requested_by(self, requester: Requester) -> Self {
        Self { by: requester, ..self }
    }

    /// The events of this process from now on.
    #[must_use]
    pub fn events(&self) -> EventSubscription {
        self.supervisor.inner.feed.subscribe(Some(self.id))
    }

    /// Starts all instances.
    ///
    /// # Errors
    /// Those of [`Supervisor::start`]. After an error of one instance, the later instances are not started.
    pub async fn start(&self) -> Result<(), ProcessError> {
        for id in self.instances() {
            self.supervisor.start(id, &self.by).await?;
        }
        Ok(())
    }

    /// Stops all running instances, each with its whole process group. If `timeout` is `None`, the stop timeout of the
    /// specification applies.
    ///
    /// # Errors
    /// Those of [`Supervisor::stop`]. After an error of one instance, the other instances are stopped nevertheless, and
    /// the first error is returned.
    pub async fn stop(&self, timeout: Option<Duration>) -> Result<(), ProcessError> {
        let mut stopped = Ok(());
        for id in self.instances() {
            if self.supervisor.is_busy(id) {
                stopped = stopped.and(self.supervisor.stop(id, timeout, &self.by).await);
            }
        }
        stopped
    }

    /// Waits until no instance runs or is about to be started. Returns the final states of all streams, by instance.
    ///
    /// # Errors
    /// Those of [`Supervisor::wait`].
    pub async fn wait(&self) -> Result<Vec<Stream>, ProcessError> {
        let mut ended = Vec::new();
        for id in self.instances() {
            ended.push(self.supervisor.wait(id).await?);
        }
        Ok(ended)
    }
}
