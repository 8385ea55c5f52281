//! Tests of the text forms of settings, and of refused settings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    signal::Signal,
    spec::config::{
        credentials::{CredentialConfig, CredentialSource},
        health::{ExpectedStatus, HealthCheck, HealthCheckConfig, INTERVAL_MIN},
        log::{LogConfig, NOWHERE, is_nowhere},
        restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
        shutdown::ShutdownConfig,
    },
};

/// Asserts that the value has this JSON text, and that the text reads back as the same value.
fn has_form<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, text: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), text);
    assert_eq!(&serde_json::from_str::<T>(text).unwrap(), value);
}

#[test]
fn a_restart_policy_has_one_text_form() {
    for (policy, text) in
        [(RestartPolicy::Never, "never"), (RestartPolicy::OnFailure, "on-failure"), (RestartPolicy::Always, "always")]
    {
        assert_eq!(policy.to_string(), text);
        assert_eq!(text.parse(), Ok(policy));
        has_form(&policy, &format!("{text:?}"));
        assert_eq!(format!("{policy:>10}|").len(), 11);
    }
    for text in ["", "Never", "on_failure", "always "] {
        let refusal = text.parse::<RestartPolicy>().unwrap_err();
        assert!(refusal.contains(&format!("{text:?}")) && refusal.contains("on-failure"), "{refusal}");
    }
}

#[test]
fn a_boot_setting_has_one_text_form() {
    for (on_boot, text) in [(OnBoot::AsBefore, "as-before"), (OnBoot::Start, "start"), (OnBoot::Stay, "stay")] {
        assert_eq!(on_boot.to_string(), text);
        has_form(&on_boot, &format!("{text:?}"));
        assert_eq!(format!("{on_boot:>9}|").len(), 10);
    }
}

/// Each delay is computed from the delay of the attempt before it, up to the limit.
#[test]
fn a_back_off_grows_step_by_step() {
    let seconds = Duration::from_secs;
    let (initial, max) = (seconds(3), seconds(40));
    let linear = BackoffConfig::Linear { initial, step: seconds(5), max };
    let exponential = BackoffConfig::Exponential { initial, factor: 3, max };
    let (mut added, mut multiplied) = (initial, initial);
    for attempt in 1..20 {
        assert_eq!(linear.delay(attempt), added, "{attempt}");
        assert_eq!(exponential.delay(attempt), multiplied, "{attempt}");
        assert_eq!(BackoffConfig::Fixed { delay: initial }.delay(attempt), initial);
        added = max.min(added + seconds(5));
        multiplied = max.min(multiplied * 3);
    }
    assert_eq!(linear.delay(0), initial, "an attempt before the first counts as the first");
    assert_eq!((added, multiplied), (max, max));
    assert_eq!(BackoffConfig::default().delay(1), seconds(1));
    assert_eq!(BackoffConfig::default().delay(4), seconds(8));
    assert_eq!(BackoffConfig::default().delay(7), seconds(60));
}

#[test]
fn absent_settings_have_their_documented_values() {
    let restart: RestartConfig = serde_json::from_str("{}").unwrap();
    assert_eq!((restart.policy, restart.max_restarts, restart.jitter_percent), (RestartPolicy::OnFailure, 10, 0));
    assert_eq!((restart.restart_window, restart.min_uptime), (Duration::from_secs(600), Duration::from_secs(10)));
    let shutdown: ShutdownConfig = serde_json::from_str("{}").unwrap();
    assert_eq!((shutdown.signal, shutdown.timeout), (Signal::TERM, Duration::from_secs(10)));
    assert!(shutdown.force_kill && shutdown.end_orphans && shutdown.pre_stop.is_empty());
    let health: HealthCheckConfig = serde_json::from_str("{}").unwrap();
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(30), Duration::from_secs(5)));
    assert_eq!((health.failure_threshold, health.success_threshold), (3, 1));
    assert_eq!((health.initial_delay, health.grace_period), (Duration::ZERO, Duration::ZERO));
    let log: LogConfig = serde_json::from_str("{}").unwrap();
    assert_eq!((log.rotate_bytes, log.total_bytes_max), (10 * 1024 * 1024, 100 * 1024 * 1024));
    assert_eq!((log.rotate_age, log.merge, log.compress), (Duration::from_secs(86_400), false, false));
    has_form(&CredentialSource::Environment, r#""environment""#);
}

#[test]
fn statuses_are_a_number_or_a_list() {
    assert_eq!(ExpectedStatus::default().all(), [200]);
    has_form(&ExpectedStatus::from(204), "204");
    has_form(&ExpectedStatus::from(vec![200, 204]), "[200,204]");
    assert_eq!(serde_json::to_string(&ExpectedStatus::from(vec![503])).unwrap(), "503", "a list of one is that one");
    assert_eq!(ExpectedStatus::from(vec![204, 200]).all(), [204, 200]);
    assert_eq!(ExpectedStatus::from(vec![200, 204, 301]).to_string(), "200 or 204 or 301");
    assert_eq!(ExpectedStatus::from(404).to_string(), "404");
    assert!(serde_json::from_str::<ExpectedStatus>(r#""200""#).is_err());
}

fn script() -> HealthCheck {
    HealthCheck::Script { command: "check".to_owned(), args: Vec::new() }
}

/// A test case: a change of a valid script check, and a part of the resulting error; `None` where the check stays
/// valid.
type Change = (fn(&mut HealthCheckConfig), Option<&'static str>);

const CHANGES: [Change; 16] = [
    (|_| (), None),
    (|health| health.interval = INTERVAL_MIN, None),
    (|health| health.interval = INTERVAL_MIN - Duration::from_nanos(1), Some("health.interval")),
    (|health| health.timeout = Duration::from_nanos(1), None),
    (|health| health.timeout = Duration::ZERO, Some("health.timeout")),
    (|health| health.failure_threshold = 1, None),
    (|health| health.failure_threshold = 0, Some("threshold")),
    (|health| health.success_threshold = 0, Some("threshold")),
    (|health| health.check = HealthCheck::Liveness, None),
    (
        |health| {
            health.check = HealthCheck::Liveness;
            health.env.insert("A".to_owned(), "1".to_owned());
        },
        Some("health.env"),
    ),
    (|health| drop(health.env.insert("A".to_owned(), "1".to_owned())), None),
    (|health| drop(health.env.insert("A=".to_owned(), "1".to_owned())), Some("health.env")),
    (|health| drop(health.env.insert("A".to_owned(), "\0".to_owned())), Some("health.env")),
    (
        |health| health.check = HealthCheck::Script { command: String::new(), args: vec!["a".to_owned()] },
        Some("command"),
    ),
    (|health| health.grace_period = Duration::MAX, None),
    (|health| health.check = HealthCheck::Tcp { address: "nowhere".to_owned() }, Some("host:port")),
];

#[test]
fn each_limit_of_a_health_check_is_kept() {
    for (number, (change, expected)) in CHANGES.iter().enumerate() {
        let mut health = HealthCheckConfig { check: script(), ..HealthCheckConfig::default() };
        change(&mut health);
        match (health.validate(), expected) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part), "{number}: {why}"),
            (found, expected) => panic!("{number}: {found:?}, and not {expected:?}"),
        }
    }
}

#[test]
fn a_check_that_can_never_succeed_is_refused() {
    let http = |url: &str, statuses: Vec<u16>| HealthCheck::Http {
        url: url.to_owned(),
        expected_status: ExpectedStatus::from(statuses),
    };
    let url = "http://127.0.0.1:8080/";
    for (check, is_valid) in [
        (http(url, vec![100, 599]), true),
        (http(url, vec![]), false),
        (http(url, vec![200, 99]), false),
        (http(url, vec![600]), false),
        (http("nowhere", vec![200]), false),
        (HealthCheck::Tcp { address: "localhost:80".to_owned() }, true),
        (HealthCheck::Tcp { address: "localhost".to_owned() }, false),
        (HealthCheck::Unix { path: PathBuf::from("/run/x.sock") }, true),
        (HealthCheck::Unix { path: PathBuf::new() }, false),
        (script(), true),
        (HealthCheck::Liveness, true),
    ] {
        assert_eq!(check.validate().is_ok(), is_valid, "{check:?}");
    }
}

#[test]
fn debug_shows_the_names_of_variables_alone() {
    let env = BTreeMap::from([("CHECK_VARIABLE".to_owned(), "hunter2".to_owned())]);
    let text = format!("{:?}", HealthCheckConfig { env, check: script(), ..HealthCheckConfig::default() });
    assert!(text.contains("CHECK_VARIABLE") && text.contains("failure_threshold: 3"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

fn to(stdout: Option<&str>, stderr: Option<&str>) -> LogConfig {
    LogConfig { stdout: stdout.map(PathBuf::from), stderr: stderr.map(PathBuf::from), ..LogConfig::default() }
}

#[test]
fn outputs_are_merged_where_they_have_one_target() {
    for (log, is_merged) in [
        (to(None, None), false),
        (to(Some("a"), None), false),
        (to(Some("a"), Some("b")), false),
        (to(Some("a"), Some("a")), true),
        (LogConfig { merge: true, ..to(None, None) }, true),
        (LogConfig { merge: true, ..to(Some("a"), Some("b")) }, true),
    ] {
        assert_eq!(log.is_merged(), is_merged, "{log:?}");
    }
}

#[test]
fn only_files_are_named() {
    assert!(is_nowhere(Path::new(NOWHERE)) && !is_nowhere(Path::new("/dev")) && !is_nowhere(Path::new("")));
    let named = |log: &LogConfig| log.named().cloned().collect::<Vec<_>>();
    assert_eq!(named(&to(Some("a"), Some("b"))), [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(named(&to(Some(NOWHERE), Some("b"))), [PathBuf::from("b")]);
    assert_eq!(named(&to(None, None)), Vec::<PathBuf>::new());
}

#[test]
fn a_relative_target_is_placed_in_the_directory() {
    let placed = |target: &str| to(Some(target), None).placed_in(Path::new("/logs")).stdout.unwrap();
    for (target, expected) in
        [("none", NOWHERE), ("a.log", "/logs/a.log"), ("d/a.log", "/logs/d/a.log"), ("/a.log", "/a.log"), ("", "")]
    {
        assert_eq!(placed(target), Path::new(expected), "{target:?}");
    }
    let both = LogConfig { compress: true, ..to(Some("a"), Some("none")) };
    let expected = LogConfig { compress: true, ..to(Some("/logs/a"), Some(NOWHERE)) };
    assert_eq!(both.placed_in(Path::new("/logs")), expected);
    assert_eq!(to(None, None).placed_in(Path::new("/logs")), to(None, None));
}

#[test]
fn a_target_without_a_file_name_is_refused() {
    for (log, expected) in [
        (to(None, None), None),
        (to(Some("a"), Some("/b/c")), None),
        (to(Some(NOWHERE), None), None),
        (to(Some(""), None), Some("log.stdout is empty")),
        (to(Some("a"), Some("")), Some("log.stderr is empty")),
        (to(Some("/"), None), Some("log.stdout names no file")),
        (to(Some("a/.."), None), Some("log.stdout names no file")),
    ] {
        match (log.validate(), expected) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part), "{why}"),
            (found, expected) => panic!("{log:?}: {found:?}, and not {expected:?}"),
        }
    }
}

#[test]
fn a_variable_of_credentials_can_be_in_an_environment() {
    let config = |names: &[&str]| {
        let variables = names.iter().map(|name| ((*name).to_owned(), "key".to_owned())).collect();
        CredentialConfig { variables, ..CredentialConfig::default() }
    };
    assert_eq!(config(&[]).validate(), Ok(()));
    assert_eq!(config(&["API_KEY", "OTHER"]).validate(), Ok(()));
    for name in ["", "A=B", "A\0"] {
        let why = config(&["API_KEY", name]).validate().unwrap_err();
        assert!(why.contains(&format!("{name:?}")), "{why}");
    }
}
