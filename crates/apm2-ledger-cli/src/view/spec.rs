//! JSON view of a specification.
//!
//! Each type here lists the fields and the names of one type of the model (`#[serde(remote)]`), so the JSON does not depend on the serde
//! attributes of the model, which serve `ecosystem.toml`. A new field of the model is shown once it is listed here; a new variant does not
//! compile before.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{
        ProcessSpec,
        config::{
            agent::{AgentConfig, OnContextFull},
            agent_budget::AgentBudgets,
            agent_loop::AgentLoop,
            agent_silence::AgentSilence,
            credentials::CredentialConfig,
            health::{ExpectedStatus, HealthCheck, HealthCheckConfig},
            restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
            shutdown::ShutdownConfig,
        },
    },
};
use serde::Serialize;

/// A specification without secrets. It contains only the names of environment variables.
#[derive(Debug, Serialize)]
pub(crate) struct SpecView<'a> {
    name: &'a str,
    command: &'a str,
    args: &'a [String],
    cwd: Option<String>,
    env: Vec<&'a str>,
    instances: u32,
    #[serde(with = "RestartView")]
    restart: &'a RestartConfig,
    health: Option<Health<'a>>,
    #[serde(with = "ShutdownView")]
    shutdown: &'a ShutdownConfig,
    credentials: Option<Credentials<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentSettingsView<'a>>,
}

/// The settings of an agent.
#[derive(Debug, Serialize)]
struct AgentSettingsView<'a> {
    kind: String,
    first_args: &'a [String],
    resume_args: &'a [String],
    on_context_full: &'static str,
    #[serde(with = "apm2_model::duration")]
    limit_wait_max: Duration,
    account: Option<&'a str>,
    budget: &'a AgentBudgets,
    silence: &'a AgentSilence,
    #[serde(rename = "loop")]
    repetition: &'a AgentLoop,
}

impl<'a> From<&'a AgentConfig> for AgentSettingsView<'a> {
    fn from(config: &'a AgentConfig) -> Self {
        Self {
            kind: config.kind.to_string(),
            first_args: &config.first_args,
            resume_args: &config.resume_args,
            on_context_full: match config.on_context_full {
                OnContextFull::Fresh => "fresh",
                OnContextFull::Stop => "stop",
            },
            limit_wait_max: config.limit_wait_max,
            account: config.account.as_deref(),
            budget: &config.budget,
            silence: &config.silence,
            repetition: &config.repetition,
        }
    }
}

impl<'a> SpecView<'a> {
    pub(crate) fn new(spec: &'a ProcessSpec) -> Self {
        let mut env: Vec<_> = spec.env.keys().map(String::as_str).collect();
        env.sort_unstable();
        Self {
            name: &spec.name,
            command: &spec.command,
            args: &spec.args,
            cwd: spec.cwd.as_ref().map(|path| path.to_string_lossy().into_owned()),
            env,
            instances: spec.instances,
            restart: &spec.restart,
            health: spec.health.as_ref().map(Health),
            shutdown: &spec.shutdown,
            credentials: spec.credentials.as_ref().map(Credentials),
            stdin: spec.stdin.as_ref().map(|path| path.to_string_lossy().into_owned()),
            agent: spec.agent.as_deref().map(Into::into),
        }
    }
}

#[derive(Debug, Serialize)]
struct Health<'a>(#[serde(with = "HealthView")] &'a HealthCheckConfig);

#[derive(Debug, Serialize)]
struct Credentials<'a>(#[serde(with = "CredentialView")] &'a CredentialConfig);

#[derive(Serialize)]
#[serde(remote = "RestartConfig")]
struct RestartView {
    #[serde(with = "PolicyView")]
    policy: RestartPolicy,
    max_restarts: u32,
    #[serde(with = "apm2_model::duration")]
    restart_window: Duration,
    #[serde(with = "apm2_model::duration")]
    min_uptime: Duration,
    #[serde(with = "BackoffView")]
    backoff: BackoffConfig,
    jitter_percent: u8,
    #[serde(with = "OnBootView")]
    on_boot: OnBoot,
}

#[derive(Serialize)]
#[serde(remote = "RestartPolicy", rename_all = "kebab-case")]
enum PolicyView {
    Never,
    OnFailure,
    Always,
}

#[derive(Serialize)]
#[serde(remote = "OnBoot", rename_all = "kebab-case")]
enum OnBootView {
    AsBefore,
    Start,
    Stay,
}

#[derive(Serialize)]
#[serde(remote = "BackoffConfig", rename_all = "snake_case")]
enum BackoffView {
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

#[derive(Serialize)]
#[serde(remote = "HealthCheckConfig")]
struct HealthView {
    #[serde(with = "CheckView")]
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

#[derive(Serialize)]
#[serde(remote = "HealthCheck", rename_all = "snake_case")]
enum CheckView {
    Http { url: String, expected_status: ExpectedStatus },
    Tcp { address: String },
    Unix { path: PathBuf },
    Script { command: String, args: Vec<String> },
    Liveness,
}

#[derive(Serialize)]
#[serde(remote = "ShutdownConfig")]
struct ShutdownView {
    signal: Signal,
    #[serde(with = "apm2_model::duration")]
    timeout: Duration,
    pre_stop: Vec<Vec<String>>,
    force_kill: bool,
    end_orphans: bool,
}

#[derive(Serialize)]
#[serde(remote = "CredentialConfig")]
struct CredentialView {
    profile: String,
    variables: BTreeMap<String, String>,
    reload_signal: Option<Signal>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(spec: &ProcessSpec) -> Value {
        serde_json::to_value(SpecView::new(spec)).unwrap()
    }

    #[test]
    fn the_json_of_a_specification_has_these_fields() {
        let mut spec = ProcessSpec::builder().name("a").command("serve").args(["x"]).build();
        spec.cwd = Some("/srv".into());
        spec.env = [("B".to_owned(), "hunter2".to_owned()), ("A".to_owned(), "hunter2".to_owned())].into();
        spec.stdin = Some("/srv/in".into());
        spec.restart = RestartConfig {
            policy: RestartPolicy::Always,
            max_restarts: 5,
            restart_window: Duration::from_secs(60),
            min_uptime: Duration::from_millis(1500),
            backoff: BackoffConfig::Fixed { delay: Duration::from_secs(2) },
            jitter_percent: 7,
            on_boot: OnBoot::Stay,
        };
        spec.health = Some(HealthCheckConfig {
            check: HealthCheck::Http { url: "http://localhost/".to_owned(), expected_status: vec![200, 204].into() },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            initial_delay: Duration::from_secs(3),
            grace_period: Duration::from_secs(4),
            failure_threshold: 5,
            success_threshold: 6,
            env: [("C".to_owned(), "c".to_owned())].into(),
        });
        spec.shutdown = ShutdownConfig {
            signal: Signal::INT,
            timeout: Duration::from_secs(3),
            pre_stop: vec![vec!["drain".to_owned(), "now".to_owned()]],
            force_kill: false,
            end_orphans: true,
        };
        spec.credentials = Some(CredentialConfig {
            profile: "p".to_owned(),
            variables: [("KEY".to_owned(), "key".to_owned())].into(),
            reload_signal: Signal::from_number(1),
        });
        let expected = json!({
            "name": "a", "command": "serve", "args": ["x"], "cwd": "/srv", "env": ["A", "B"], "instances": 1,
            "restart": {
                "policy": "always", "max_restarts": 5, "restart_window": "1m", "min_uptime": "1s 500ms",
                "backoff": { "fixed": { "delay": "2s" } }, "jitter_percent": 7, "on_boot": "stay",
            },
            "health": {
                "check": { "http": { "url": "http://localhost/", "expected_status": [200, 204] } },
                "interval": "1s", "timeout": "2s", "initial_delay": "3s", "grace_period": "4s",
                "failure_threshold": 5, "success_threshold": 6, "env": { "C": "c" },
            },
            "shutdown": {
                "signal": "SIGINT", "timeout": "3s", "pre_stop": [["drain", "now"]], "force_kill": false, "end_orphans": true,
            },
            "credentials": { "profile": "p", "variables": { "KEY": "key" }, "reload_signal": "SIGHUP" },
            "stdin": "/srv/in",
        });
        assert_eq!(view(&spec), expected);
    }

    #[test]
    fn the_json_of_a_specification_has_these_variants() {
        let (initial, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let with = |change: &dyn Fn(&mut ProcessSpec)| {
            let mut spec = ProcessSpec::builder().name("a").command("true").build();
            change(&mut spec);
            view(&spec)
        };
        for (backoff, expected) in [
            (
                BackoffConfig::Linear { initial, step: max, max },
                json!({ "linear": { "initial": "1s", "step": "1m", "max": "1m" } }),
            ),
            (
                BackoffConfig::Exponential { initial, factor: 3, max },
                json!({ "exponential": { "initial": "1s", "factor": 3, "max": "1m" } }),
            ),
        ] {
            assert_eq!(with(&|spec| spec.restart.backoff = backoff.clone())["restart"]["backoff"], expected);
        }
        for (check, expected) in [
            (HealthCheck::Tcp { address: "a:1".to_owned() }, json!({ "tcp": { "address": "a:1" } })),
            (HealthCheck::Unix { path: "/x".into() }, json!({ "unix": { "path": "/x" } })),
            (
                HealthCheck::Script { command: "c".to_owned(), args: Vec::new() },
                json!({ "script": { "command": "c", "args": [] } }),
            ),
            (HealthCheck::Liveness, json!("liveness")),
        ] {
            let health = HealthCheckConfig { check, ..HealthCheckConfig::default() };
            assert_eq!(with(&|spec| spec.health = Some(health.clone()))["health"]["check"], expected);
        }
        for (policy, expected) in [(RestartPolicy::Never, "never"), (RestartPolicy::OnFailure, "on-failure")] {
            assert_eq!(with(&|spec| spec.restart.policy = policy)["restart"]["policy"], expected);
        }
        for (on_boot, expected) in [(OnBoot::AsBefore, "as-before"), (OnBoot::Start, "start")] {
            assert_eq!(with(&|spec| spec.restart.on_boot = on_boot)["restart"]["on_boot"], expected);
        }
        let plain = with(&|_| ());
        assert_eq!(
            (&plain["health"], &plain["credentials"], &plain["cwd"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert!(plain.get("stdin").is_none(), "{plain}");
    }
}
