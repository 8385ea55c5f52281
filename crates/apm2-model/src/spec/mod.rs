//! What is to be run, and under which rules.

pub mod builder;
pub mod config;
pub mod id;
pub mod launch;
pub mod name;
pub mod redact;
pub mod validate;

use std::{collections::HashMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::{
    config::{
        credentials::CredentialConfig, health::HealthCheckConfig, log::LogConfig, restart::RestartConfig,
        shutdown::ShutdownConfig,
    },
    id::ProcessId,
};

/// A process specification: one program, run as one or more instances.
///
/// `Debug` shows no environment value and no secret-looking argument. Serialization does: it is the form of a
/// configuration file. What is recorded is a [`RedactedSpec`](crate::spec::redact::spec::RedactedSpec). Whatever the builder does not require may be absent, in what
/// an older program wrote too: a field that is added has a default.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// The id that history joins up under.
    pub id: ProcessId,
    /// A name for people; not empty (INV-0003).
    pub name: String,
    /// The program, looked up in `PATH` unless it holds a slash; not empty (INV-0004).
    pub command: String,
    /// Its arguments, without the program's own name.
    #[serde(default)]
    pub args: Vec<String>,
    /// The directory it starts in. Default: that of the supervisor.
    pub cwd: Option<PathBuf>,
    /// Variables added to the allowed part of the supervisor's environment.
    #[serde(default)]
    pub env: HashMap<String, String>,
    /// How many instances run; at least 1 (INV-0005).
    #[serde(default = "one")]
    pub instances: u32,
    /// When it is started again.
    #[serde(default)]
    pub restart: RestartConfig,
    /// How its health is checked. Default: not at all.
    pub health: Option<HealthCheckConfig>,
    /// Where its output is kept.
    #[serde(default)]
    pub log: LogConfig,
    /// How it is stopped.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// Which credentials it is given. Default: none.
    pub credentials: Option<CredentialConfig>,
    /// The file that is opened as its standard input at each start. Default: none, which is `/dev/null` (CTR-0009).
    #[serde(default)]
    pub stdin: Option<PathBuf>,
}

const fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests;
