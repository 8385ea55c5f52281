//! The credentials of a process: names of variables and the source of their values. The values are never in a specification.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{signal::Signal, spec::name::is_variable_name};

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

impl CredentialConfig {
    /// Refuses names of variables that no environment can have.
    ///
    /// # Errors
    /// The first name that is refused, and why.
    pub fn validate(&self) -> Result<(), String> {
        match self.variables.keys().find(|name| !is_variable_name(name)) {
            Some(name) => Err(format!(
                "credentials.variables: {name:?} cannot be the name of an environment variable; it must not be empty or contain \
                 '=' or a NUL byte"
            )),
            None => Ok(()),
        }
    }
}

/// Where the values of a profile come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialSource {
    /// A file with `KEY=VALUE` lines that no other user can read.
    File(PathBuf),
    /// A program, with its arguments, that prints them.
    Command(Vec<String>),
    /// The environment of the supervisor.
    Environment,
}
