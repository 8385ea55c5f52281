//! Tests of specifications and launches: which ones can be built, which are refused, and what `Debug` shows.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    spec::{
        builder::{ProcessSpecBuilder, SpecError},
        config::agent::AgentConfig,
        launch::{LaunchSpec, with_id, with_instances},
        validate::{INSTANCES_MAX, check},
    },
    testing::ID,
};

fn minimal() -> ProcessSpecBuilder {
    ProcessSpec::builder().name("web").command("server")
}

fn launch() -> LaunchSpec {
    LaunchSpec::new(minimal().id(ID).build())
}

#[test]
fn each_part_that_is_set_is_built() {
    let restart = RestartConfig { max_restarts: 3, ..RestartConfig::default() };
    let health = HealthCheckConfig { failure_threshold: 9, ..HealthCheckConfig::default() };
    let log = LogConfig { merge: true, ..LogConfig::default() };
    let shutdown = ShutdownConfig { force_kill: false, ..ShutdownConfig::default() };
    let credentials = CredentialConfig { profile: "prod".to_owned(), ..CredentialConfig::default() };
    let spec = minimal()
        .id(ID)
        .args(["dropped"])
        .args(["--port", "80"])
        .cwd("/srv")
        .env("A", "1")
        .env("B", "2")
        .instances(3)
        .restart(restart.clone())
        .health(health.clone())
        .log(log.clone())
        .shutdown(shutdown.clone())
        .credentials(credentials.clone())
        .stdin("/etc/in")
        .build();
    let expected = ProcessSpec {
        id: ID,
        name: "web".to_owned(),
        command: "server".to_owned(),
        args: vec!["--port".to_owned(), "80".to_owned()],
        cwd: Some(PathBuf::from("/srv")),
        env: [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        instances: 3,
        restart,
        health: Some(health),
        log,
        shutdown,
        credentials: Some(credentials),
        stdin: Some(PathBuf::from("/etc/in")),
        agent: None,
    };
    assert_eq!(spec, expected);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ProcessSpec>(&text).unwrap(), spec);
}

#[test]
fn a_file_needs_the_required_fields_only() {
    let text = format!(r#"{{"id":"{ID}","name":"web","command":"server"}}"#);
    assert_eq!(serde_json::from_str::<ProcessSpec>(&text).unwrap(), minimal().id(ID).build());
    assert!(serde_json::from_str::<ProcessSpec>(&text.replace("name", "nane")).is_err());
    assert_ne!(minimal().build().id, minimal().build().id, "a specification without an id has a new one");
    assert_eq!(minimal().instances(0).build().instances, 1);
}

#[test]
fn what_cannot_be_executed_is_not_built() {
    let refusal = |builder: ProcessSpecBuilder| builder.try_build().unwrap_err();
    for builder in [ProcessSpec::builder().command("c"), ProcessSpec::builder().name("").command("c")] {
        assert_eq!(refusal(builder), SpecError::NoName);
    }
    for builder in [ProcessSpec::builder().name("n"), ProcessSpec::builder().name("n").command("")] {
        assert_eq!(refusal(builder), SpecError::NoCommand);
    }
    for name in ["", "A=B", "=", "A\0"] {
        let expected = if name == "A\0" { SpecError::Nul } else { SpecError::BadVariable };
        assert_eq!(refusal(minimal().env("GOOD", "1").env(name, "1")), expected, "{name:?}");
    }
    for builder in
        [minimal().env("A", "\0"), minimal().args(["good", "b\0d"]), ProcessSpec::builder().name("n").command("c\0")]
    {
        assert_eq!(refusal(builder), SpecError::Nul);
    }
}

#[test]
#[should_panic(expected = "process command is required")]
fn a_specification_without_a_command_panics_when_built() {
    let _ = ProcessSpec::builder().name("n").build();
}

#[test]
fn debug_shows_no_value() {
    let builder = minimal().args(["hunter2"]).env("SECRET_NAME", "hunter2").instances(4);
    let text = format!("{builder:?}");
    for part in ["web", "server", "SECRET_NAME", "4"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let base_env = Some(BTreeMap::from([("A".to_owned(), "hunter2".to_owned())]));
    let launch = LaunchSpec { base_env, group: Some("ecosystem".to_owned()), ..LaunchSpec::new(builder.build()) };
    let shown = format!("{launch:?}");
    assert!(shown.contains("web") && shown.contains("ecosystem"), "{shown}");
    for text in [text, shown.replace("\"hunter2\"", "")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_id_is_its_bytes() {
    assert_eq!(ID.as_bytes(), &[7; 16]);
    assert_eq!(ID.to_string(), "07070707-0707-0707-0707-070707070707");
    assert_eq!(ID.to_string().parse::<ProcessId>(), Ok(ID));
    assert!("07070707".parse::<ProcessId>().is_err());
    assert!(ProcessId::from_bytes([0; 16]).is_nil() && !ID.is_nil() && !ProcessId::new().is_nil());
}

#[test]
fn the_terminal_of_the_client_makes_no_other_launch() {
    let launch = launch();
    let base_env = Some(BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    assert!(launch.is_as(&launch));
    assert!(launch.is_as(&LaunchSpec { base_env, ..launch.clone() }));
    assert!(launch.is_as(&LaunchSpec { umask: Some(0o22), ..launch.clone() }));
    for other in [
        with_instances(&launch, 2),
        with_id(launch.clone(), ProcessId::from_bytes([8; 16])),
        LaunchSpec { silence_limit: Some(Duration::ZERO), ..launch.clone() },
        LaunchSpec { group: Some("g".to_owned()), ..launch.clone() },
    ] {
        assert!(!launch.is_as(&other), "{other:?}");
    }
    let three = with_instances(&LaunchSpec { group: Some("g".to_owned()), ..launch.clone() }, 3);
    assert_eq!((three.spec.instances, three.spec.id, three.group.as_deref()), (3, ID, Some("g")));
    assert_eq!(with_id(three, ProcessId::from_bytes([8; 16])).spec.id, ProcessId::from_bytes([8; 16]));
}

fn limit_wait(millis: u64) -> AgentConfig {
    AgentConfig { limit_wait_max: Duration::from_millis(millis), ..AgentConfig::default() }
}

/// A test case: a change of a valid launch, and a part of the resulting error; `None` where the launch stays valid.
type Change = (fn(&mut LaunchSpec), Option<&'static str>);

const CHANGES: [Change; 32] = [
    (|_| (), None),
    (|launch| launch.spec.name = "all".to_owned(), Some("every process")),
    (|launch| launch.spec.name = "-".to_owned(), Some("a name has 1 to 64")),
    (|launch| launch.spec.name = "alls".to_owned(), None),
    (|launch| launch.spec.instances = 0, Some("0 instances")),
    (|launch| launch.spec.instances = 2, None),
    (|launch| launch.spec.instances = INSTANCES_MAX, None),
    (|launch| launch.spec.instances = INSTANCES_MAX + 1, Some("1025 instances")),
    (|launch| launch.spec.restart.max_restarts = 1024, None),
    (|launch| launch.spec.restart.max_restarts = 1025, Some("max_restarts is 1025")),
    (|launch| launch.spec.restart.restart_window = Duration::ZERO, Some("restart_window")),
    (|launch| launch.spec.restart.min_uptime = Duration::ZERO, Some("min_uptime")),
    (
        |launch| {
            launch.spec.restart.max_restarts = 1;
            launch.spec.restart.min_uptime = Duration::ZERO;
        },
        Some("min_uptime"),
    ),
    (
        |launch| {
            launch.spec.restart.max_restarts = 0;
            launch.spec.restart.restart_window = Duration::ZERO;
            launch.spec.restart.min_uptime = Duration::ZERO;
        },
        None,
    ),
    (|launch| launch.spec.log.stdout = Some(PathBuf::from("/")), Some("log.stdout")),
    (|launch| launch.spec.log.rotate_bytes = 100, None),
    (|launch| launch.spec.log.rotate_bytes = 99, Some("rotate_bytes")),
    (|launch| launch.spec.log.total_bytes_max = 100, None),
    (|launch| launch.spec.log.total_bytes_max = 99, Some("total_bytes_max")),
    (|launch| launch.spec.log.rotate_age = Duration::from_millis(10), None),
    (|launch| launch.spec.log.rotate_age = Duration::from_millis(9), Some("rotate_age")),
    (|launch| launch.spec.health = Some(HealthCheckConfig::default()), None),
    (
        |launch| {
            launch.spec.health = Some(HealthCheckConfig { timeout: Duration::ZERO, ..HealthCheckConfig::default() })
        },
        Some("health.timeout"),
    ),
    (|launch| launch.spec.credentials = Some(CredentialConfig::default()), None),
    (
        |launch| {
            let variables = BTreeMap::from([("A=B".to_owned(), "key".to_owned())]);
            launch.spec.credentials = Some(CredentialConfig { variables, ..CredentialConfig::default() });
        },
        Some("credentials"),
    ),
    (|launch| launch.spec.agent = Some(Box::default()), None),
    (|launch| launch.spec.agent = Some(Box::new(limit_wait(10_000))), None),
    (|launch| launch.spec.agent = Some(Box::new(limit_wait(9_999))), Some("limit_wait_max")),
    (
        |launch| {
            launch.spec.agent = Some(Box::default());
            launch.spec.log.stdout = Some(PathBuf::from("/dev/null"));
        },
        Some("an agent needs a log"),
    ),
    (|launch| launch.umask = Some(0), None),
    (|launch| launch.group = Some(String::new()), None),
    (|launch| launch.silence_limit = Some(Duration::ZERO), None),
];

#[test]
fn each_limit_of_a_launch_is_kept() {
    for (number, (change, expected)) in CHANGES.iter().enumerate() {
        let mut changed = launch();
        change(&mut changed);
        match (check(&changed), expected) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => {
                assert!(
                    why.contains(part) && why.starts_with(&format!("{:?}: ", changed.spec.name)),
                    "{number}: {why}"
                );
            }
            (found, expected) => panic!("{number}: {found:?}, and not {expected:?}"),
        }
    }
}

proptest! {
    #[test]
    fn every_valid_name_can_be_launched(name in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
        prop_assume!(name != "all");
        let mut launch = launch();
        launch.spec.name = name;
        prop_assert_eq!(check(&launch), Ok(()));
    }
}
