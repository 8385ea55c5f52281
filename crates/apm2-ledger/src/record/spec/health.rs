//! Serialization format of a health check.

use std::{collections::BTreeMap, time::Duration};

use apm2_model::{
    duration::millis,
    spec::config::health::{ExpectedStatus, HealthCheck, HealthCheckConfig},
};
use serde::{Deserialize, Serialize};

use crate::record::spec::path::{bytes, path};

#[derive(Serialize, Deserialize)]
pub(super) struct HealthV1 {
    check: CheckV1,
    interval_ms: u64,
    timeout_ms: u64,
    initial_delay_ms: u64,
    grace_period_ms: u64,
    failure_threshold: u32,
    success_threshold: u32,
}

#[derive(Serialize, Deserialize)]
enum CheckV1 {
    Http { url: String, expected_status: u16 },
    Tcp { address: String },
    Script { command: String, args: Vec<String> },
    Liveness,
    // Added in record version 3.
    HttpAny { url: String, statuses: Vec<u16> },
    Unix { path: Vec<u8> },
}

impl From<&HealthCheckConfig> for HealthV1 {
    fn from(config: &HealthCheckConfig) -> Self {
        let check = match config.check.clone() {
            HealthCheck::Http { url, expected_status } => match expected_status.all() {
                [status] => CheckV1::Http { url, expected_status: *status },
                statuses => CheckV1::HttpAny { url, statuses: statuses.to_vec() },
            },
            HealthCheck::Unix { path } => CheckV1::Unix { path: bytes(&path) },
            HealthCheck::Tcp { address } => CheckV1::Tcp { address },
            HealthCheck::Script { command, args } => CheckV1::Script { command, args },
            HealthCheck::Liveness => CheckV1::Liveness,
        };
        Self {
            check,
            interval_ms: millis(config.interval),
            timeout_ms: millis(config.timeout),
            initial_delay_ms: millis(config.initial_delay),
            grace_period_ms: millis(config.grace_period),
            failure_threshold: config.failure_threshold,
            success_threshold: config.success_threshold,
        }
    }
}

impl From<HealthV1> for HealthCheckConfig {
    fn from(record: HealthV1) -> Self {
        let check = match record.check {
            CheckV1::Http { url, expected_status } => {
                HealthCheck::Http { url, expected_status: ExpectedStatus::from(expected_status) }
            }
            CheckV1::HttpAny { url, statuses } => {
                HealthCheck::Http { url, expected_status: ExpectedStatus::from(statuses) }
            }
            CheckV1::Unix { path: bytes } => HealthCheck::Unix { path: path(bytes) },
            CheckV1::Tcp { address } => HealthCheck::Tcp { address },
            CheckV1::Script { command, args } => HealthCheck::Script { command, args },
            CheckV1::Liveness => HealthCheck::Liveness,
        };
        Self {
            check,
            interval: Duration::from_millis(record.interval_ms),
            timeout: Duration::from_millis(record.timeout_ms),
            initial_delay: Duration::from_millis(record.initial_delay_ms),
            grace_period: Duration::from_millis(record.grace_period_ms),
            failure_threshold: record.failure_threshold,
            success_threshold: record.success_threshold,
            env: BTreeMap::new(),
        }
    }
}
