//! A start that waits for its credentials.

use apm2_model::event::{kind::StartTrigger, origin::EventOrigin};

use tokio::task::JoinHandle;

use crate::{credentials::profile::CredentialError, run::start_env::StartEnv};

/// A start whose credentials are being fetched. No event of this start is recorded yet.
pub(crate) struct PendingStart {
    pub(crate) origin: EventOrigin,
    pub(crate) trigger: StartTrigger,
    pub(crate) start_env: JoinHandle<Result<StartEnv, CredentialError>>,
}

impl Drop for PendingStart {
    fn drop(&mut self) {
        self.start_env.abort();
    }
}

/// Waits for the start environment of the pending start. Never returns if no start is pending. Cancel safe.
pub(crate) async fn fetched(pending: &mut Option<PendingStart>) -> Result<StartEnv, CredentialError> {
    let Some(pending) = pending else { return std::future::pending().await };
    match (&mut pending.start_env).await {
        Ok(start_env) => start_env,
        Err(error) => Err(CredentialError::Command(format!("broke off: {error}"))),
    }
}
