//! What a start is given beside the specification.

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd};

use apm2_model::spec::redact::known::Known;

/// What a start is given beside the specification.
#[derive(Default)]
pub(crate) struct StartEnv {
    /// The environment that the child's begins with; `None` for the allowed part of ours.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The mask of the files that it makes; `None` for ours.
    pub(crate) umask: Option<u32>,
    /// Values of credentials, by the names of their variables.
    pub(crate) credentials: Vec<(String, OsString)>,
    /// Its standard input, in the place of the specification's.
    pub(crate) stdin: Option<OwnedFd>,
}

impl StartEnv {
    /// The secrets among the values of credentials.
    pub(super) fn secrets(&self) -> Known {
        let values: Vec<_> = self.credentials.iter().map(|(_, value)| value.to_string_lossy()).collect();
        Known::default().with_credentials(values.iter().map(AsRef::as_ref))
    }
}
