//! Runs one health check of a process, by HTTP, TCP, Unix socket, script or liveness.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use apm2_model::{
    event::identity::ProcessIdentity,
    policy::health_monitor::ProbeResult,
    spec::{
        config::health::{DETAIL_CHARS_MAX, ExpectedStatus, HealthCheck},
        redact::known::Known,
    },
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use crate::{
    blocking,
    os::{
        hook,
        hook::Printed,
        procfs::{ProcessStatus, is_stopped, status_of},
    },
};

/// Polling interval while the checked process is stopped by a signal.
const STOPPED_POLL: Duration = Duration::from_millis(50);

/// The environment variable that passes the pid of the process to a check script.
const PID_VARIABLE: &str = "APM2_PID";

/// The process that is checked.
#[derive(Clone, Default)]
pub struct ProbeTarget {
    /// The main process; `None` if no process is running.
    pub process: Option<ProcessIdentity>,
    /// The working directory of a check script; `None` for the working directory of the supervisor.
    pub cwd: Option<PathBuf>,
    /// Environment variables for a check script, in addition to the inherited part of the supervisor's environment.
    pub env: Vec<(String, String)>,
    /// Variables whose values are masked in the output of a script if they are secrets.
    pub masked: Vec<(String, String)>,
}

impl fmt::Debug for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeTarget").field("process", &self.process).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

/// Runs one check within `limit`. Leaves no process behind. Secrets are masked in the result.
pub async fn probe(check: &HealthCheck, limit: Duration, target: &ProbeTarget) -> ProbeResult {
    let ProbeResult { healthy, detail } = probe_unmasked(check, limit, target).await;
    let known = Known::of(target.masked.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    ProbeResult { healthy, detail: known.redact_and_cut(&detail, DETAIL_CHARS_MAX) }
}

/// Like [`probe`], but returns the complete detail of the result, with secrets. For a caller that knows further secrets
/// and masks them before it shortens the text.
pub(crate) async fn probe_unmasked(check: &HealthCheck, limit: Duration, target: &ProbeTarget) -> ProbeResult {
    let outcome = match check {
        HealthCheck::Http { url, expected_status } => http(url, expected_status, limit).await,
        HealthCheck::Tcp { address } => tcp(address, limit).await,
        HealthCheck::Unix { path } => unix(path, limit).await,
        HealthCheck::Script { command, args } => script(command, args, limit, target).await,
        HealthCheck::Liveness => liveness(target.process, limit).await,
    };
    let healthy = outcome.is_ok();
    ProbeResult { healthy, detail: outcome.unwrap_or_else(|why| why) }
}

/// Whether the process exists and can run. Unhealthy if it is stopped (SIGSTOP) during the whole time limit. A process that a
/// debugger has stopped counts as healthy.
async fn liveness(process: Option<ProcessIdentity>, limit: Duration) -> Result<String, String> {
    let Some(process) = process else { return Err("it does not exist".to_owned()) };
    let began = Instant::now();
    loop {
        let looked = blocking::check(move || (status_of(&process), is_stopped(&process)));
        let is_stopped = match looked.await {
            Ok((ProcessStatus::Alive, is_stopped)) => is_stopped,
            Ok((ProcessStatus::Zombie(_), _)) => return Err("it has ended and is not reaped yet".to_owned()),
            Ok((ProcessStatus::Gone, _)) => return Err("it is gone".to_owned()),
            // A pidfd reports the end of the process, so a process that is hidden in `/proc` does not count as failed.
            Ok((ProcessStatus::Unverifiable, _)) => return Ok("it has not ended; /proc does not show it".to_owned()),
            Err(error) => return Err(format!("the check panicked: {error}")),
        };
        if !is_stopped {
            return Ok("it exists".to_owned());
        }
        if began.elapsed() >= limit {
            return Err(format!("it has been stopped (SIGSTOP) for {}", humantime::format_duration(limit)));
        }
        sleep(STOPPED_POLL.min(limit)).await;
    }
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
        // Only the HTTP status is used, so the body is not read.
        agent.get(&url).call().map(|response| response.status().as_u16())
    });
    match asking.await {
        Ok(Ok(status)) if expected.all().contains(&status) => Ok(format!("HTTP {status}")),
        Ok(Ok(status)) => Err(format!("HTTP {status} where {expected} was expected")),
        Ok(Err(error)) => Err(format!("HTTP: {error}")),
        Err(error) => Err(format!("the check panicked: {error}")),
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
    let mut hook = hook::command(command, args);
    if let Some(cwd) = &target.cwd {
        hook.current_dir(cwd);
    }
    hook.envs(target.env.iter().map(|(name, value)| (name, value)));
    if let Some(process) = target.process {
        hook.env(PID_VARIABLE, process.pid.to_string());
    }
    hook.stderr(Stdio::piped());
    let mut printed = Printed::default();
    match hook::run_into(hook, limit, &mut printed).await {
        Ok(()) => Ok(format!("{command} succeeded")),
        Err(why) => {
            // The last line is used, because scripts usually print the reason of a failure last.
            let last = last_line(&printed.stderr).or_else(|| last_line(&printed.stdout));
            Err(last.map_or_else(|| format!("{command}: {why}"), |last| format!("{command}: {why}: {last}")))
        }
    }
}

/// The last line that is not blank. A cut line is left out, because it may end with a part of a secret.
fn last_line(printed: &[u8]) -> Option<String> {
    let whole = if hook::is_cut(printed) { printed.rsplitn(2, |byte| *byte == b'\n').nth(1)? } else { printed };
    let text = String::from_utf8_lossy(whole);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
