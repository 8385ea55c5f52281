//! The JSON form of a launch specification, in launch files and in the calls of a client.
//!
//! Each type here lists the fields and the names of one type of the model (`#[serde(remote)]`), so the form does not
//! depend on the serde attributes of the model, which serve `ecosystem.toml`. If a field of the model is missing here,
//! the crate does not compile. The golden files in `migrations/golden/launch-v1` have every field and every variant.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Duration,
};

use apm2_model::{
    signal::Signal,
    spec::{
        ProcessSpec,
        agent_kind::AgentKind,
        config::{
            agent::{AgentChoice, AgentConfig, OnContextFull},
            agent_budget::AgentBudgets,
            agent_loop::AgentLoop,
            agent_silence::AgentSilence,
            credentials::{CredentialConfig, CredentialSource},
            health::{ExpectedStatus, HealthCheck, HealthCheckConfig},
            log::LogConfig,
            restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
            shutdown::ShutdownConfig,
        },
        id::ProcessId,
        launch::LaunchSpec,
    },
};
use serde::{Deserialize, Serialize};

/// Defines the module `$name`, which serializes an `Option<$model>` in this form. For use with `#[serde(with)]`.
macro_rules! optional {
    ($name:ident, $form:ident, $model:ty) => {
        mod $name {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::*;

            #[derive(Serialize)]
            struct Borrowed<'a>(#[serde(serialize_with = "serialize_one")] &'a $model);

            #[derive(Deserialize)]
            struct Owned(#[serde(deserialize_with = "deserialize_one")] $model);

            fn serialize_one<S: Serializer>(value: &$model, serializer: S) -> Result<S::Ok, S::Error> {
                $form::serialize(value, serializer)
            }

            fn deserialize_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$model, D::Error> {
                $form::deserialize(deserializer).map(<$model>::from)
            }

            pub(super) fn serialize<S: Serializer>(value: &Option<$model>, serializer: S) -> Result<S::Ok, S::Error> {
                value.as_ref().map(Borrowed).serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$model>, D::Error> {
                Ok(Option::<Owned>::deserialize(deserializer)?.map(|Owned(value)| value))
            }
        }
    };
}

optional!(optional_health, HealthForm, HealthCheckConfig);
optional!(optional_credentials, CredentialForm, CredentialConfig);
optional!(optional_agent, AgentForm, Box<AgentConfig>);
optional!(optional_source, SourceForm, CredentialSource);

#[derive(Serialize, Deserialize)]
#[serde(remote = "LaunchSpec", deny_unknown_fields)]
pub(crate) struct LaunchForm {
    #[serde(with = "ProcessForm")]
    spec: ProcessSpec,
    #[serde(default)]
    base_env: Option<BTreeMap<String, String>>,
    #[serde(default)]
    umask: Option<u32>,
    #[serde(default, with = "optional_source")]
    credential_source: Option<CredentialSource>,
    #[serde(default, with = "apm2_model::duration::option")]
    silence_limit: Option<Duration>,
    #[serde(default)]
    group: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ProcessSpec", deny_unknown_fields)]
struct ProcessForm {
    id: ProcessId,
    name: String,
    command: String,
    #[serde(default)]
    args: Vec<String>,
    cwd: Option<PathBuf>,
    #[serde(default)]
    env: HashMap<String, String>,
    #[serde(default = "one")]
    instances: u32,
    #[serde(default, with = "RestartForm")]
    restart: RestartConfig,
    #[serde(default, with = "optional_health")]
    health: Option<HealthCheckConfig>,
    #[serde(default, with = "LogForm")]
    log: LogConfig,
    #[serde(default, with = "ShutdownForm")]
    shutdown: ShutdownConfig,
    #[serde(default, with = "optional_credentials")]
    credentials: Option<CredentialConfig>,
    #[serde(default)]
    stdin: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_agent")]
    agent: Option<Box<AgentConfig>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentConfig", default = "AgentConfig::default", deny_unknown_fields)]
struct AgentForm {
    #[serde(with = "ChoiceForm")]
    kind: AgentChoice,
    first_args: Vec<String>,
    resume_args: Vec<String>,
    #[serde(with = "OnContextFullForm")]
    on_context_full: OnContextFull,
    #[serde(with = "apm2_model::duration")]
    limit_wait_max: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    budget: AgentBudgets,
    #[serde(skip_serializing_if = "is_default")]
    silence: AgentSilence,
    #[serde(skip_serializing_if = "is_default", rename = "loop")]
    repetition: AgentLoop,
}

/// Whether a setting of an agent has its default, which is not written: earlier programs do not know the setting.
fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentChoice", rename_all = "kebab-case")]
enum ChoiceForm {
    Auto,
    Kind(#[serde(with = "AgentKindForm")] AgentKind),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentKind")]
enum AgentKindForm {
    #[serde(rename = "claude-code")]
    ClaudeCode,
    #[serde(rename = "codex")]
    Codex,
    #[serde(rename = "gemini")]
    Gemini,
    #[serde(rename = "opencode")]
    OpenCode,
    #[serde(rename = "qwen-code")]
    QwenCode,
    #[serde(rename = "custom")]
    Custom,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OnContextFull", rename_all = "kebab-case")]
enum OnContextFullForm {
    Fresh,
    Stop,
}

const fn one() -> u32 {
    1
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RestartConfig", default = "RestartConfig::default", deny_unknown_fields)]
struct RestartForm {
    #[serde(with = "PolicyForm")]
    policy: RestartPolicy,
    max_restarts: u32,
    #[serde(with = "apm2_model::duration")]
    restart_window: Duration,
    #[serde(with = "apm2_model::duration")]
    min_uptime: Duration,
    #[serde(with = "BackoffForm")]
    backoff: BackoffConfig,
    jitter_percent: u8,
    #[serde(with = "OnBootForm")]
    on_boot: OnBoot,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RestartPolicy", rename_all = "kebab-case")]
enum PolicyForm {
    Never,
    OnFailure,
    Always,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OnBoot", rename_all = "kebab-case")]
enum OnBootForm {
    AsBefore,
    Start,
    Stay,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BackoffConfig", rename_all = "snake_case", deny_unknown_fields)]
enum BackoffForm {
    Fixed {
        #[serde(with = "apm2_model::duration")]
        delay: Duration,
    },
    Linear {
        #[serde(with = "apm2_model::duration")]
        initial: Duration,
        #[serde(with = "apm2_model::duration")]
        step: Duration,
        #[serde(with = "apm2_model::duration")]
        max: Duration,
    },
    Exponential {
        #[serde(with = "apm2_model::duration")]
        initial: Duration,
        factor: u32,
        #[serde(with = "apm2_model::duration")]
        max: Duration,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HealthCheckConfig", default = "HealthCheckConfig::default", deny_unknown_fields)]
struct HealthForm {
    #[serde(with = "CheckForm")]
    check: HealthCheck,
    #[serde(with = "apm2_model::duration")]
    interval: Duration,
    #[serde(with = "apm2_model::duration")]
    timeout: Duration,
    #[serde(with = "apm2_model::duration")]
    initial_delay: Duration,
    #[serde(with = "apm2_model::duration")]
    grace_period: Duration,
    failure_threshold: u32,
    success_threshold: u32,
    env: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HealthCheck", rename_all = "snake_case")]
enum CheckForm {
    Http {
        url: String,
        #[serde(default)]
        expected_status: ExpectedStatus,
    },
    Tcp {
        address: String,
    },
    Unix {
        path: PathBuf,
    },
    Script {
        command: String,
        #[serde(default)]
        args: Vec<String>,
    },
    Liveness,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LogConfig", default = "LogConfig::default", deny_unknown_fields)]
struct LogForm {
    stdout: Option<PathBuf>,
    stderr: Option<PathBuf>,
    merge: bool,
    timestamps: bool,
    rotate_bytes: u64,
    #[serde(with = "apm2_model::duration")]
    rotate_age: Duration,
    compress: bool,
    total_bytes_max: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ShutdownConfig", default = "ShutdownConfig::default", deny_unknown_fields)]
struct ShutdownForm {
    signal: Signal,
    #[serde(with = "apm2_model::duration")]
    timeout: Duration,
    pre_stop: Vec<Vec<String>>,
    force_kill: bool,
    end_orphans: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CredentialConfig", default = "CredentialConfig::default", deny_unknown_fields)]
struct CredentialForm {
    profile: String,
    variables: BTreeMap<String, String>,
    reload_signal: Option<Signal>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CredentialSource", rename_all = "snake_case", deny_unknown_fields)]
enum SourceForm {
    File(PathBuf),
    Command(Vec<String>),
    Environment,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::{
        launch_file::{encode, golden},
        protocol::SentLaunch,
    };

    #[test]
    fn a_launch_is_sent_in_the_form_of_its_file() {
        for (name, launch) in golden::launches() {
            let file: Value = serde_json::from_slice(&encode(&launch).unwrap()).unwrap();
            assert_eq!(serde_json::to_value(SentLaunch(launch.clone())).unwrap(), file["launch"], "{name}");
            let sent: SentLaunch = serde_json::from_value(file["launch"].clone()).unwrap();
            assert_eq!(sent.0, launch, "{name}");
        }
    }
}
