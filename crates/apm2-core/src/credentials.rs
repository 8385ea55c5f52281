//! Which credentials a process is given: names only, never a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::process::Signal;

/// Binds a credential profile to the environment of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialConfig {
    /// The profile that holds the values. Default: the empty name, which no profile has.
    pub profile: String,
    /// Environment variable -> key in the profile. Default: empty.
    pub variables: BTreeMap<String, String>,
    /// Signal that makes the process read rotated credentials. Default: none, a restart is needed.
    pub reload_signal: Option<Signal>,
}
