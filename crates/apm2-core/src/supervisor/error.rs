//! The errors that several parts of the supervisor return.

use apm2_model::spec::launch::LaunchSpec;

use crate::error::ProcessError;

/// The error of a command that has to start a process whose launch specification is lost. The recorded events do not
/// contain the values of environment variables.
pub(crate) fn values_unknown(launch: &LaunchSpec) -> ProcessError {
    let name = &launch.spec.name;
    ProcessError::InvalidState(format!("{name}: the values it was launched with are not known; `up` gives them"))
}

pub(crate) fn not_found(what: &str) -> ProcessError {
    ProcessError::NotFound(what.to_owned())
}

/// The reason for which commands are refused during a shutdown.
pub(crate) const LEAVING: &str = "the supervisor is leaving";
