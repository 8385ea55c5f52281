//! The commands that are run before a process is asked to stop.

use std::{path::PathBuf, time::Duration};

use tokio::time::Instant;

use crate::process::{helper, redact_text};

/// How one command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreStopResult {
    /// The command, secrets masked.
    pub(crate) command: String,
    /// Whether it ended with 0, in time.
    pub(crate) succeeded: bool,
    /// How it ended.
    pub(crate) detail: String,
}

/// Runs the commands one after another, all of them within `limit`. `pid` tells them the process, as `APM2_PID`.
pub(crate) async fn run_pre_stop(
    commands: Vec<Vec<String>>,
    cwd: Option<PathBuf>,
    pid: u32,
    limit: Duration,
) -> Vec<PreStopResult> {
    let began = Instant::now();
    let mut results = Vec::new();
    for words in commands {
        let Some((program, args)) = words.split_first() else { continue };
        let left = limit.saturating_sub(began.elapsed());
        let recorded = redact_text(&words.join(" "));
        if left.is_zero() {
            let detail = "not run: no time was left".to_owned();
            results.push(PreStopResult { command: recorded, succeeded: false, detail });
            continue;
        }
        let mut command = helper::command(program, args);
        command.env("APM2_PID", pid.to_string());
        if let Some(cwd) = &cwd {
            command.current_dir(cwd);
        }
        let ended = helper::run(command, left).await;
        let succeeded = ended.is_ok();
        let detail = ended.map_or_else(|why| why, |_| "succeeded".to_owned());
        results.push(PreStopResult { command: recorded, succeeded, detail });
    }
    results
}
