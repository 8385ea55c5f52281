//! Health checks. The settings and the evaluation of results are in `apm2-model`.

pub(crate) mod probe;

pub use apm2_model::{
    policy::health_monitor::{HealthMonitor, HealthVerdict, ProbeResult},
    spec::config::health::{DETAIL_CHARS_MAX, ExpectedStatus, HealthCheck, HealthCheckConfig, INTERVAL_MIN},
};

pub use crate::health::probe::{ProbeTarget, probe};
