//! The health of one run: the schedule of its checks, the check in progress, and the meaning of the results.

use apm2_model::{
    event::{identity::ProcessIdentity, timestamp::Timestamp},
    policy::health_monitor::{HealthMonitor, HealthVerdict, ProbeResult},
    spec::{config::health::HealthCheckConfig, launch::LaunchSpec},
};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    health::probe::{ProbeTarget, probe_unmasked},
    time::instant_in,
};

/// The health checks of a run. The default value makes no checks.
#[derive(Debug, Default)]
pub(crate) struct HealthTask {
    monitor: Option<HealthMonitor>,
    due: Option<Instant>,
    running: Option<JoinHandle<ProbeResult>>,
}

impl HealthTask {
    /// Schedules the checks of a run that was started at `started`.
    pub(crate) fn started(config: Option<HealthCheckConfig>, started: &Timestamp, now: &Timestamp) -> Self {
        let Some(config) = config else { return Self::default() };
        let mut health_task = Self { monitor: Some(HealthMonitor::new(config, *started)), due: None, running: None };
        health_task.plan_next(now);
        health_task
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a check of the process.
    pub(crate) fn begin(&mut self, launch: &LaunchSpec, process: Option<ProcessIdentity>) {
        self.due = None;
        let Some(health) = &launch.spec.health else { return };
        let (check, timeout) = (health.check.clone(), health.timeout);
        let of_all = launch.spec.env.iter().chain(&health.env);
        let masked = of_all.map(|(name, value)| (name.clone(), value.clone())).collect();
        let target = ProbeTarget { process, cwd: launch.spec.cwd.clone(), env: variables(launch, health), masked };
        self.running = Some(tokio::spawn(async move { probe_unmasked(&check, timeout, &target).await }));
    }

    /// Waits for the result of the check in progress. Cancel safe. Must be called only while a check is in progress.
    pub(crate) async fn result(&mut self) -> ProbeResult {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = running.await;
        self.running = None;
        result.unwrap_or_else(|error| ProbeResult { healthy: false, detail: format!("the check broke off: {error}") })
    }

    /// Processes a check result. Returns what the instance actor has to do.
    pub(crate) fn conclude(&mut self, result: &ProbeResult, now: &Timestamp) -> HealthVerdict {
        let Some(monitor) = &mut self.monitor else { return HealthVerdict::Nothing };
        let verdict = monitor.on_result(now, result);
        self.plan_next(now);
        verdict
    }

    fn plan_next(&mut self, now: &Timestamp) {
        self.due = self.monitor.as_ref().map(|monitor| instant_in(monitor.next_probe(now)));
    }
}

/// The environment of a check script: first that of its process, then its own variables. Later entries replace earlier
/// ones.
fn variables(launch: &LaunchSpec, health: &HealthCheckConfig) -> Vec<(String, String)> {
    let base = launch.base_env.iter().flatten();
    let all = base.chain(&launch.spec.env).chain(&health.env);
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Drop for HealthTask {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
