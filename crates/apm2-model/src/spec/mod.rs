//! Specifications: which program is run, and with which settings.

pub mod agent_kind;
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
        agent::AgentConfig, credentials::CredentialConfig, health::HealthCheckConfig, log::LogConfig,
        restart::RestartConfig, shutdown::ShutdownConfig,
    },
    id::ProcessId,
};

/// A process specification: one program, run as one or more instances.
///
/// `Debug` shows no environment value and no secret-looking argument. Serialization writes all values, because a
/// configuration file has this form. Events record a [`RedactedSpec`](crate::spec::redact::spec::RedactedSpec) instead.
/// A field that the builder does not require may be absent, so that files of older versions can be read: each new field
/// has a default.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// The id of the process. All recorded runs of the process have it.
    pub id: ProcessId,
    /// The name of the process; not empty (INV-0003).
    pub name: String,
    /// The program of the process, looked up in `PATH` unless it contains a slash; not empty (INV-0004).
    pub command: String,
    /// The arguments of the program, without `argv[0]`.
    #[serde(default)]
    pub args: Vec<String>,
    /// The working directory. Default: that of the supervisor.
    pub cwd: Option<PathBuf>,
    /// Variables added to the part of the supervisor's environment that the process inherits.
    #[serde(default)]
    pub env: HashMap<String, String>,
    /// The number of instances; at least 1 (INV-0005).
    #[serde(default = "one")]
    pub instances: u32,
    /// The restart settings of the process.
    #[serde(default)]
    pub restart: RestartConfig,
    /// The health check. Default: none.
    pub health: Option<HealthCheckConfig>,
    /// Where the output of the process is stored.
    #[serde(default)]
    pub log: LogConfig,
    /// How the process is stopped.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// The credentials in the environment of the process. Default: none.
    pub credentials: Option<CredentialConfig>,
    /// The file that is opened as standard input at each start. Default: none, which means `/dev/null` (CTR-0009).
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// The settings of an AI coding agent. Default: none, and then the output is not interpreted.
    #[serde(default)]
    pub agent: Option<Box<AgentConfig>>,
}

impl ProcessSpec {
    /// The name of one instance: `name-instance` for a specification with several instances, else `name`.
    #[must_use]
    pub fn display_name(&self, instance: u32) -> String {
        if self.instances > 1 { format!("{}-{instance}", self.name) } else { self.name.clone() }
    }
}

const fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests;
