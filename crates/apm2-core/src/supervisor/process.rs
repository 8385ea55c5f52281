//! A handle to one supervised process with all its instances.

use std::time::Duration;

use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    spec::{ProcessSpec, id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{error::ProcessError, run::event_feed::EventSubscription, supervisor::Supervisor};

impl Supervisor {
    /// Supervises a process from now on, under its name, without starting it. What is supervised under that name already is
    /// changed, as [`apply`](Self::apply) does.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub async fn supervise(&self, spec: ProcessSpec) -> Result<SupervisedProcess, ProcessError> {
        let (name, by) = (spec.name.clone(), Requester::default());
        self.apply(LaunchSpec::new(spec), &by).await?;
        let id = self.find_process(&name).map_err(|error| ProcessError::NotFound(error.to_string()))?;
        Ok(SupervisedProcess { supervisor: self.clone(), id, name, by })
    }

    /// The events of all supervised processes, from now on. The supervisor's own events are not among them.
    #[must_use]
    pub fn events(&self) -> EventSubscription {
        self.inner.feed.subscribe(None)
    }
}

/// A process under supervision. Dropping the handle stops nothing.
#[derive(Clone)]
pub struct SupervisedProcess {
    supervisor: Supervisor,
    id: ProcessId,
    name: String,
    by: Requester,
}

impl SupervisedProcess {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ProcessId {
        self.id
    }

    /// Its instances.
    #[must_use]
    pub fn instances(&self) -> Vec<StreamId> {
        self.supervisor.streams_of(self.id)
    }

    /// The same handle, which records `requester` as the one who asks. Without it, the system asks.
    #[must_use]
    pub fn requested_by(self, requester: Requester) -> Self {
        Self { by: requester, ..self }
    }

    /// Its events from now on.
    #[must_use]
    pub fn events(&self) -> EventSubscription {
        self.supervisor.inner.feed.subscribe(Some(self.id))
    }

    /// Starts all instances.
    ///
    /// # Errors
    /// Those of [`Supervisor::start`], of the first instance that has one; those after it are not started then.
    pub async fn start(&self) -> Result<(), ProcessError> {
        for id in self.instances() {
            self.supervisor.start(id, &self.by).await?;
        }
        Ok(())
    }

    /// Stops all instances that run, each with its whole group; within their own timeouts where none is given.
    ///
    /// # Errors
    /// Those of [`Supervisor::stop`], of the first instance that has one; the others are stopped all the same.
    pub async fn stop(&self, timeout: Option<Duration>) -> Result<(), ProcessError> {
        let mut stopped = Ok(());
        for id in self.instances() {
            if self.supervisor.is_busy(id) {
                stopped = stopped.and(self.supervisor.stop(id, timeout, &self.by).await);
            }
        }
        stopped
    }

    /// Waits until no instance runs or is due to, and returns the folds of all, by instance.
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
