//! Input of a start that is not part of the specification.

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd};

use apm2_model::spec::redact::known::Known;

/// Environment, umask, credentials and standard input of one start.
#[derive(Default)]
pub(crate) struct StartEnv {
    /// The base environment of the child; `None` for the allowed part of this process's environment.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The umask of the child (`umask(2)`); `None` for that of this process.
    pub(crate) umask: Option<u32>,
    /// Names of the credential variables, with their values.
    pub(crate) credentials: Vec<(String, OsString)>,
    /// Standard input, instead of the one in the specification.
    pub(crate) stdin: Option<OwnedFd>,
}

impl StartEnv {
    /// The values of the credentials, to be masked.
    pub(super) fn secrets(&self) -> Known {
        let values: Vec<_> = self.credentials.iter().map(|(_, value)| value.to_string_lossy()).collect();
        Known::default().with_credentials(values.iter().map(AsRef::as_ref))
    }
}
