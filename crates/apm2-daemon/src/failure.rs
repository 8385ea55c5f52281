//! The failure of a call, as sent to the client: kind, message and hint.

use apm2_core::process::ProcessError;

use apm2_ledger::AppendError;

use apm2_model::id_query::UnclearId;

use crate::protocol::FailureKind;

/// The failure of a call.
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        let kind = match &error {
            ProcessError::NotFound(_) => FailureKind::NoSuchProcess,
            ProcessError::AlreadyExists(what) => {
                let hint = Some("stop that process, or give this one another --name".to_owned());
                return Self { kind: FailureKind::Failed, message: what.clone(), hint };
            }
            ProcessError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<AppendError>()) => {
                FailureKind::Unusable
            }
            _ => FailureKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<UnclearId> for Failure {
    fn from(unclear: UnclearId) -> Self {
        let kind = match &unclear {
            UnclearId::Unknown(_) => FailureKind::NoSuchProcess,
            UnclearId::Ambiguous { .. } | UnclearId::OneInstance { .. } => FailureKind::Usage,
        };
        let (message, hint) = match &unclear {
            UnclearId::Unknown(text) => (
                format!("no process {text:?} is supervised"),
                "`apm2-ledger list` shows what there is; `up` or `run` supervises something".to_owned(),
            ),
            UnclearId::Ambiguous { candidates, .. } => {
                (unclear.to_string(), format!("it fits {}; write more of the id", candidates.join(", ")))
            }
            UnclearId::OneInstance { name, .. } => (unclear.to_string(), format!("name the process: {name}")),
        };
        Self { kind, message, hint: Some(hint) }
    }
}

pub(crate) fn client_gone() -> Failure {
    Failure::new(FailureKind::Failed, "the client has left")
}

/// The message of an error. The prefix for the kind of the error is left out where it adds no information.
pub(crate) fn error_text(error: ProcessError) -> String {
    match error {
        ProcessError::AlreadyExists(what) | ProcessError::InvalidState(what) => what,
        error => error.to_string(),
    }
}
