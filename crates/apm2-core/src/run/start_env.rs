//! The input of a start that is not part of the specification.

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd};

use apm2_model::{event::agent::report::AgentReport, policy::joined::JoinedRequest, spec::redact::known::Known};

/// Environment, umask, credentials, standard input and arguments of one start.
#[derive(Default)]
pub(crate) struct StartEnv {
    /// The environment to which variables are added; `None` for the inherited part of this process's environment.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The umask of the child (umask(2)); `None` for the umask of this process.
    pub(crate) umask: Option<u32>,
    /// The names of the credential variables, with their values.
    pub(crate) credentials: Vec<(String, OsString)>,
    /// The standard input of this start; `None` for the file in the specification.
    pub(crate) stdin: Option<OwnedFd>,
    /// The arguments of this start; `None` for those in the specification.
    pub(crate) args: Option<Vec<String>>,
    /// A report that is recorded together with the request of the start.
    pub(crate) report: Option<Box<AgentReport>>,
    /// Requests that joined this start. They are recorded when the process runs.
    pub(crate) joined: Vec<JoinedRequest>,
}

impl StartEnv {
    /// The values of the credentials, which are masked in output and events.
    pub(super) fn secrets(&self) -> Known {
        let values: Vec<_> = self.credentials.iter().map(|(_, value)| value.to_string_lossy()).collect();
        Known::default().with_credentials(values.iter().map(AsRef::as_ref))
    }
}
