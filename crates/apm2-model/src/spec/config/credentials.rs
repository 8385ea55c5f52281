//! The credentials of a process: names of variables and the source of their values. The values are never in a specification.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{signal::Signal, spec::name::is_variable_name};

/// Binds a credential profile to the environment of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialConfig {
    /// The name of the credential profile. Default: the empty name, which no profile has.
    pub profile: String,
    /// Maps an environment variable to a key in the profile. Default: empty.
    pub variables: BTreeMap<String, String>,
    /// The signal that makes the process read rotated credentials. Default: none, so the process must be restarted to
    /// use them.
    pub reload_signal: Option<Signal>,
}

impl CredentialConfig {
    /// Refuses variable names that cannot be in an environment (environ(7)).
    ///
    /// # Errors
    /// The first refused name, with the reason.
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

/// The source of the values of a credential profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialSource {
    /// A file with `KEY=VALUE` lines. Other users must not be able to read the file.
    File(PathBuf),
    /// A program, with its arguments, that prints `KEY=VALUE` lines.
    Command(Vec<String>),
    /// The environment of the supervisor.
    Environment,
}
