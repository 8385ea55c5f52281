//! The tables of an `ecosystem.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_model::spec::config::{
    agent::AgentConfig,
    credentials::{CredentialConfig, CredentialSource},
    health::HealthCheckConfig,
    log::LogConfig,
    restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
    shutdown::ShutdownConfig,
};
use serde::Deserialize;

use crate::{
    commands::backoff::BackoffArg,
    ecosystem::{ledger_table::LedgerTable, paths::place_program},
};

/// The content of an ecosystem file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EcosystemFile {
    #[serde(default)]
    pub(crate) process: Vec<ProcessTable>,
    #[serde(default)]
    pub(crate) profile: BTreeMap<String, Profile>,
    #[serde(default)]
    pub(crate) ledger: Option<LedgerTable>,
}

/// A table `[[process]]`: one supervised process.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessTable {
    pub(crate) name: String,
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) cwd: Option<PathBuf>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default = "one")]
    pub(crate) instances: u32,
    #[serde(default)]
    pub(crate) restart: RestartTable,
    #[serde(default)]
    pub(crate) health: Option<HealthCheckConfig>,
    #[serde(default)]
    pub(crate) log: LogConfig,
    #[serde(default)]
    pub(crate) shutdown: ShutdownConfig,
    #[serde(default)]
    pub(crate) credentials: Option<CredentialConfig>,
    #[serde(default, with = "apm2_model::duration::option")]
    pub(crate) silence_limit: Option<Duration>,
    #[serde(default)]
    pub(crate) stdin: Option<PathBuf>,
    #[serde(default)]
    pub(crate) agent: Option<AgentConfig>,
}

const fn one() -> u32 {
    1
}

/// The table `restart = { … }`. It has the fields of the restart settings; in addition, the back-off can be written as
/// one text.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RestartTable {
    policy: Option<RestartPolicy>,
    max_restarts: Option<u32>,
    #[serde(with = "apm2_model::duration::option")]
    restart_window: Option<Duration>,
    #[serde(with = "apm2_model::duration::option")]
    min_uptime: Option<Duration>,
    backoff: Option<Backoff>,
    jitter_percent: Option<u8>,
    on_boot: Option<OnBoot>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a back-off is \"1s\", \"1s..1m\", \"linear:1s+500ms..1m\", or a table: \
                 { fixed = { delay }}, { linear = { initial, step, max }} or { exponential = { initial, factor, max }}"
)]
enum Backoff {
    Word(String),
    Table(BackoffConfig),
}

impl RestartTable {
    pub(crate) fn into_config(self) -> Result<RestartConfig, String> {
        let default = RestartConfig::default();
        let backoff = match self.backoff {
            None => default.backoff,
            Some(Backoff::Table(backoff)) => backoff,
            Some(Backoff::Word(word)) => word.parse::<BackoffArg>().map_err(|why| format!("restart.backoff: {why}"))?.0,
        };
        Ok(RestartConfig {
            policy: self.policy.unwrap_or(default.policy),
            max_restarts: self.max_restarts.unwrap_or(default.max_restarts),
            restart_window: self.restart_window.unwrap_or(default.restart_window),
            min_uptime: self.min_uptime.unwrap_or(default.min_uptime),
            backoff,
            jitter_percent: self.jitter_percent.unwrap_or(default.jitter_percent),
            on_boot: self.on_boot.unwrap_or(default.on_boot),
        })
    }
}

/// A table `[profile.NAME]`, which has exactly one of three fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    command: Option<Vec<String>>,
    #[serde(default)]
    environment: bool,
}

impl Profile {
    pub(crate) fn source(&self, dir: &Path) -> Result<CredentialSource, String> {
        match (&self.file, &self.command, self.environment) {
            (Some(file), None, false) => Ok(CredentialSource::File(dir.join(file))),
            (None, Some(command), false) if !command.is_empty() => {
                let mut words = command.clone();
                place_program(dir, &mut words);
                Ok(CredentialSource::Command(words))
            }
            (None, None, true) => Ok(CredentialSource::Environment),
            _ => Err("its profile needs one of file = \"…\", command = [\"…\"] and environment = true".to_owned()),
        }
    }
}
