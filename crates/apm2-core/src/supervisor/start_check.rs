//! Checks whether a start can succeed, before a running process is stopped in order to be started again. A running
//! process is better than none.

use std::sync::Arc;

use apm2_model::{
    event::{
        NewEvent,
        kind::{EventKind, StartTrigger},
        requester::Requester,
        stream_id::StreamId,
    },
    spec::{
        launch::LaunchSpec,
        redact::{filter::redact_text, known::Known},
    },
};

use crate::{
    blocking, credentials,
    error::ProcessError,
    os::precheck,
    supervisor::{Supervisor, instance_handle::InstanceHandle},
};

impl Supervisor {
    /// Refuses a start of `launch` that would fail: its program, working directory, standard input or credentials are
    /// missing, its arguments or variables are too long, or its events could not be recorded.
    ///
    /// The start fetches the credentials again, because the preceding stop may take longer than the credentials are
    /// valid.
    pub(crate) async fn check_start(&self, launch: &Arc<LaunchSpec>, request: &Requester) -> Result<(), ProcessError> {
        let variables = match &launch.spec.credentials {
            Some(config) => {
                let source = launch.credential_source.as_ref();
                let resolved = credentials::resolve(source, config, launch.spec.cwd.as_deref()).await;
                resolved.map_err(|error| ProcessError::InvalidState(error.to_string()))?.into_variables()
            }
            None => Vec::new(),
        };
        let (supervisor, launch, request) = (self.clone(), Arc::clone(launch), request.clone());
        let checked = blocking::step(move || {
            precheck::check(&launch, &variables).map_err(|why| {
                let why = Known::of_spec(&launch.spec).mask(&redact_text(&why));
                ProcessError::InvalidState(format!("{why}; nothing was stopped"))
            })?;
            supervisor.check_start_record(&launch, request)
        });
        checked.await?
    }

    /// Like [`check_start`](Self::check_start), for an instance that is to be restarted. Checks only if the instance
    /// runs.
    pub(crate) async fn check_restart(&self, handle: &InstanceHandle, request: &Requester) -> Result<(), ProcessError> {
        let found =
            self.table().by_id(handle.id.process_id).map(|entry| (Arc::clone(&entry.launch), entry.is_launchable));
        match found {
            Some((launch, true)) if runs(handle) => self.check_start(&launch, request).await,
            _ => Ok(()),
        }
    }

    /// Refuses a start whose events do not fit on the disk of the ledger.
    fn check_start_record(&self, launch: &LaunchSpec, request: Requester) -> Result<(), ProcessError> {
        let services = &self.inner.services;
        let draft = NewEvent {
            stream: StreamId { process_id: launch.spec.id, instance: 0 },
            run: 1,
            actor: request.actor,
            reason: request.reason,
            cause: None,
            stamp: services.clock.now(),
            kind: EventKind::StartRequested { trigger: StartTrigger::Start },
        };
        Ok(services.store.recorder().check(&draft)?)
    }
}

/// Whether the instance has a process.
pub(crate) fn runs(handle: &InstanceHandle) -> bool {
    handle.view.stream().is_some_and(|stream| !stream.handle.state.has_exited())
}
