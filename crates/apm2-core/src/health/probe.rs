//! One health check, made.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{DETAIL_CHARS_MAX, ExpectedStatus, HealthCheck, ProbeResult};
use crate::blocking;
use crate::process::{helper, redact_text};

/// What a check is told of the process.
#[derive(Debug, Clone, Default)]
pub struct ProbeTarget {
    /// Whether the process exists.
    pub alive: bool,
    /// The directory that a script starts in; that of the supervisor without one.
    pub cwd: Option<PathBuf>,
}

/// Makes one check within `limit`. Leaves no process behind.
pub async fn probe(check: &HealthCheck, limit: Duration, target: &ProbeTarget) -> ProbeResult {
    let outcome = match check {
        HealthCheck::Http { url, expected_status } => http(url, expected_status, limit).await,
        HealthCheck::Tcp { address } => tcp(address, limit).await,
        HealthCheck::Unix { path } => unix(path, limit).await,
        HealthCheck::Script { command, args } => script(command, args, limit, target).await,
        HealthCheck::Liveness if target.alive => Ok("it exists".to_owned()),
        HealthCheck::Liveness => Err("it does not exist".to_owned()),
    };
    let healthy = outcome.is_ok();
    let detail = outcome.unwrap_or_else(|why| why);
    ProbeResult { healthy, detail: redact_text(&detail).chars().take(DETAIL_CHARS_MAX).collect() }
}

async fn http(url: &str, expected: &ExpectedStatus, limit: Duration) -> Result<String, String> {
    let url = url.to_owned();
    let asking = blocking::check(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        // The body is not read: the status is the answer.
        agent.get(&url).call().map(|response| response.status().as_u16())
    });
    match asking.await {
        Ok(Ok(status)) if expected.all().contains(&status) => Ok(format!("HTTP {status}")),
        Ok(Ok(status)) => Err(format!("HTTP {status} where {expected} was expected")),
        Ok(Err(error)) => Err(format!("HTTP: {error}")),
        Err(error) => Err(format!("the check broke off: {error}")),
    }
}

async fn tcp(address: &str, limit: Duration) -> Result<String, String> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(format!("{address} accepts")),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address} did not accept in time")),
    }
}

async fn unix(path: &Path, limit: Duration) -> Result<String, String> {
    let name = path.display();
    match timeout(limit, UnixStream::connect(path)).await {
        Ok(Ok(_)) => Ok(format!("{name} accepts")),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(_) => Err(format!("{name} did not accept in time")),
    }
}

async fn script(command: &str, args: &[String], limit: Duration, target: &ProbeTarget) -> Result<String, String> {
    let mut helper = helper::command(command, args);
    if let Some(cwd) = &target.cwd {
        helper.current_dir(cwd);
    }
    helper::run(helper, limit).await.map(|_| format!("{command} succeeded")).map_err(|why| format!("{command}: {why}"))
}
