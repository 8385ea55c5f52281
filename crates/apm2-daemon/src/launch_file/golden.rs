//! The launches in the golden files in `migrations/golden/launch-v1`. Together, they contain every field and every
//! variant. Each field is set explicitly, since a default may change.

use std::{collections::BTreeMap, time::Duration};

use apm2_model::{
    signal::Signal,
    spec::{
        ProcessSpec,
        agent_kind::AgentKind,
        config::{
            agent::{AgentChoice, AgentConfig, OnContextFull},
            agent_budget::{AgentBudget, AgentBudgets},
            agent_loop::AgentLoop,
            agent_silence::AgentSilence,
            credentials::{CredentialConfig, CredentialSource},
            health::{HealthCheck, HealthCheckConfig},
            log::LogConfig,
            reaction::Reaction,
            restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
            shutdown::ShutdownConfig,
        },
        launch::LaunchSpec,
    },
};

/// The launches, each with the name of its file.
pub(crate) fn launches() -> [(&'static str, LaunchSpec); 9] {
    [
        ("agent", agent()),
        ("worker", worker()),
        ("server", server()),
        ("dialed", checked("dialed", 4, HealthCheck::Tcp { address: "127.0.0.1:6379".into() })),
        ("socket", checked("socket", 5, HealthCheck::Unix { path: "/srv/invented/app.sock".into() })),
        ("alive", checked("alive", 6, HealthCheck::Liveness)),
        ("coding-agent", coding_agent(7, AgentChoice::Kind(AgentKind::ClaudeCode), OnContextFull::Stop)),
        ("coding-agent-auto", coding_agent(8, AgentChoice::Auto, OnContextFull::Fresh)),
        ("limited-agent", limited_agent()),
    ]
}

fn agent() -> LaunchSpec {
    let check = HealthCheck::Http { url: "http://127.0.0.1:8080/ready".into(), expected_status: 204.into() };
    let spec = ProcessSpec {
        id: id(1),
        name: "agent".into(),
        command: "sleep".into(),
        args: strings(&["1000", "--api-key=sk-invented-0001", "ä\u{2028}\"\\\n"]),
        cwd: Some("/srv/invented".into()),
        // There is only one variable, because the order in a hash map is random.
        env: [("API_TOKEN".to_owned(), "invented-token-2".to_owned())].into(),
        instances: 2,
        restart: RestartConfig {
            policy: RestartPolicy::OnFailure,
            max_restarts: 5,
            restart_window: Duration::from_secs(600),
            min_uptime: Duration::from_millis(20_500),
            backoff: BackoffConfig::Linear {
                initial: Duration::from_secs(1),
                step: Duration::from_millis(500),
                max: Duration::from_secs(60),
            },
            jitter_percent: 20,
            on_boot: OnBoot::Start,
        },
        health: Some(health(check, &[])),
        log: LogConfig {
            stdout: Some("/srv/invented/out.log".into()),
            stderr: Some("/dev/null".into()),
            merge: false,
            timestamps: true,
            rotate_bytes: 65_536,
            rotate_age: Duration::from_secs(7200),
            compress: true,
            total_bytes_max: 1_048_576,
        },
        shutdown: ShutdownConfig {
            signal: Signal::INT,
            timeout: Duration::from_secs(3),
            pre_stop: vec![strings(&["true", "now"])],
            force_kill: false,
            end_orphans: false,
        },
        credentials: Some(CredentialConfig {
            profile: "api".into(),
            variables: map(&[("ANTHROPIC_API_KEY", "key"), ("OTHER", "other")]),
            reload_signal: Some(Signal::from_number(34).unwrap()),
        }),
        stdin: Some("/srv/invented/prompt.md".into()),
        agent: None,
    };
    LaunchSpec {
        spec,
        base_env: Some(map(&[("HOME", "/home/invented"), ("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin")])),
        umask: Some(0o22),
        credential_source: Some(CredentialSource::File("/srv/invented/api.env".into())),
        silence_limit: Some(Duration::from_secs(300)),
        group: Some("/srv/invented/ecosystem.toml".into()),
    }
}

fn worker() -> LaunchSpec {
    let check = HealthCheck::Script { command: "check".into(), args: strings(&["-q"]) };
    let backoff =
        BackoffConfig::Exponential { initial: Duration::from_millis(250), factor: 3, max: Duration::from_secs(90) };
    let mut launch = checked("worker", 2, check.clone());
    launch.spec.health = Some(health(check, &[("CHECK_MODE", "quick"), ("CHECK_TOKEN", "invented-token-3")]));
    launch.spec.restart =
        RestartConfig { policy: RestartPolicy::Always, backoff, on_boot: OnBoot::Stay, ..launch.spec.restart };
    launch.spec.log.merge = true;
    launch.credential_source = Some(CredentialSource::Command(strings(&["print-credentials", "--all"])));
    launch
}

fn server() -> LaunchSpec {
    let statuses = vec![200, 204, 301].into();
    let check = HealthCheck::Http { url: "http://[::1]/".into(), expected_status: statuses };
    let mut launch = checked("server", 3, check);
    launch.spec.credentials =
        Some(CredentialConfig { profile: String::new(), variables: BTreeMap::new(), reload_signal: None });
    launch.credential_source = Some(CredentialSource::Environment);
    launch
}

fn coding_agent(number: u8, kind: AgentChoice, on_context_full: OnContextFull) -> LaunchSpec {
    let mut launch = checked("coding-agent", number, HealthCheck::Liveness);
    launch.spec.agent = Some(Box::new(AgentConfig {
        kind,
        first_args: strings(&["--session-id", "{session}"]),
        resume_args: strings(&["--resume", "{session}"]),
        on_context_full,
        limit_wait_max: Duration::from_secs(7200),
        ..AgentConfig::default()
    }));
    launch
}

/// An agent with budgets and all other limits.
fn limited_agent() -> LaunchSpec {
    let mut launch = coding_agent(9, AgentChoice::Auto, OnContextFull::Fresh);
    let budget = AgentBudget {
        input_tokens: Some(1),
        output_tokens: Some(2),
        total_tokens: Some(3),
        cost_micros: Some(2_500_000),
        turns: Some(5),
        tool_calls: Some(6),
        wall_time: Some(Duration::from_secs(7)),
    };
    let budget = AgentBudgets { run: budget, memory_bytes: Some(1 << 33), ..AgentBudgets::default() };
    let silence = AgentSilence { reaction: Reaction::Restart, ..AgentSilence::default() };
    if let Some(agent) = &mut launch.spec.agent {
        agent.account = Some("team".to_owned());
        agent.budget = budget;
        agent.silence = silence;
        agent.repetition = AgentLoop { calls: 9, reaction: Reaction::Stop };
    }
    launch
}

/// A launch without optional fields, except for a health check.
fn checked(name: &str, number: u8, check: HealthCheck) -> LaunchSpec {
    let spec = ProcessSpec {
        id: id(number),
        name: name.into(),
        command: "true".into(),
        args: Vec::new(),
        cwd: None,
        env: [].into(),
        instances: 1,
        restart: RestartConfig {
            policy: RestartPolicy::Never,
            max_restarts: 0,
            restart_window: Duration::ZERO,
            min_uptime: Duration::ZERO,
            backoff: BackoffConfig::Fixed { delay: Duration::from_millis(100) },
            jitter_percent: 0,
            on_boot: OnBoot::AsBefore,
        },
        health: Some(health(check, &[])),
        log: LogConfig {
            stdout: None,
            stderr: None,
            merge: false,
            timestamps: false,
            rotate_bytes: 10_485_760,
            rotate_age: Duration::from_secs(86_400),
            compress: false,
            total_bytes_max: 104_857_600,
        },
        shutdown: ShutdownConfig {
            signal: Signal::TERM,
            timeout: Duration::from_secs(10),
            pre_stop: Vec::new(),
            force_kill: true,
            end_orphans: true,
        },
        credentials: None,
        stdin: None,
        agent: None,
    };
    LaunchSpec { spec, base_env: None, umask: None, credential_source: None, silence_limit: None, group: None }
}

fn health(check: HealthCheck, env: &[(&str, &str)]) -> HealthCheckConfig {
    HealthCheckConfig {
        check,
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(2),
        initial_delay: Duration::from_secs(3540),
        grace_period: Duration::from_secs(30),
        failure_threshold: 4,
        success_threshold: 2,
        env: map(env),
    }
}

fn id(number: u8) -> apm2_model::spec::id::ProcessId {
    format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
