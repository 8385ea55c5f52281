//! Runs the pre-stop commands of a process, which run before the stop signal is sent.

use std::path::PathBuf;

use apm2_model::spec::redact::known::Known;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::os::hook;

/// The result of one pre-stop command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreStopResult {
    /// The command with its arguments. Secrets are masked.
    pub(crate) command: String,
    /// Whether the command ended in time with exit code 0.
    pub(crate) succeeded: bool,
    /// How the command ended, in words.
    pub(crate) detail: String,
}

/// The running pre-stop commands of one stop. They are ended when this value is dropped.
#[derive(Debug)]
pub(crate) struct PreStop {
    running: JoinHandle<Vec<PreStopResult>>,
    until: watch::Sender<Instant>,
}

impl PreStop {
    /// Runs the commands one after another. `until` is the deadline for all commands together. Each command gets `pid`
    /// in its environment variable `APM2_PID`. The values in `known` are masked in the results.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn begin(
        commands: Vec<Vec<String>>,
        cwd: Option<PathBuf>,
        pid: u32,
        known: Known,
        until: Instant,
    ) -> Self {
        let (until, reached) = watch::channel(until);
        Self { running: tokio::spawn(run(commands, cwd, pid, known, reached)), until }
    }

    /// Shortens the deadline. The result of a command that does not end in time says so.
    pub(crate) fn shorten_deadline(&self, until: Instant) {
        self.until.send_if_modified(|before| {
            let is_earlier = until < *before;
            *before = until.min(*before);
            is_earlier
        });
    }

    /// Waits for the results. Cancel safe; do not call it again after it has returned.
    pub(crate) async fn done(&mut self) -> Vec<PreStopResult> {
        (&mut self.running).await.unwrap_or_default()
    }
}

impl Drop for PreStop {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn run(
    commands: Vec<Vec<String>>,
    cwd: Option<PathBuf>,
    pid: u32,
    known: Known,
    mut until: watch::Receiver<Instant>,
) -> Vec<PreStopResult> {
    let mut results = Vec::new();
    for words in commands {
        let Some((program, args)) = words.split_first() else { continue };
        let recorded = known.redact_args(words.clone()).join(" ");
        let left = until.borrow().saturating_duration_since(Instant::now());
        if left.is_zero() {
            let detail = "not run: no time was left".to_owned();
            results.push(PreStopResult { command: recorded, succeeded: false, detail });
            continue;
        }
        let mut command = hook::command(program, args);
        command.env("APM2_PID", pid.to_string());
        if let Some(cwd) = &cwd {
            command.current_dir(cwd);
        }
        let ended = tokio::select! {
            biased;
            ended = hook::run(command, left) => ended,
            () = reached(&mut until) => Err("cut short: no time was left".to_owned()),
        };
        let succeeded = ended.is_ok();
        let detail = ended.map_or_else(|why| why, |_| "succeeded".to_owned());
        results.push(PreStopResult { command: recorded, succeeded, detail });
    }
    results
}

/// Waits for a deadline that may be shortened in the meantime.
async fn reached(until: &mut watch::Receiver<Instant>) {
    loop {
        let moment = *until.borrow_and_update();
        tokio::select! {
            () = sleep_until(moment) => return,
            // The sender of the deadline is gone, so the results are not needed any more.
            changed = until.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A known value that contains a secret-like text is masked as a whole, because known values are masked before the
    /// filter is applied.
    #[tokio::test]
    async fn a_known_value_in_a_command_is_masked_whole() {
        let value = "my password=hunter2 and more";
        let known = Known::default().with_credentials([value]);
        let commands = vec![vec!["true".to_owned(), value.to_owned()]];
        let mut pre_stop = PreStop::begin(commands, None, 1, known, Instant::now() + Duration::from_secs(20));
        let results = pre_stop.done().await;
        assert_eq!(results.first().map(|result| &*result.command), Some("true <redacted>"), "{results:?}");
    }
}
