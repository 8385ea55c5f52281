//! Programs that a supervisor runs for itself: checks, commands before a stop, and those that print credentials. They are
//! nobody's business but its own, and never outlive their time.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

use crate::process::{Signal, child, group, spawner::allowed_variables};

/// What is kept of what such a program prints, in bytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// The command, in a session of its own, with the allowed part of our environment.
pub(crate) fn command<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(allowed_variables());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    child::isolate(&mut command);
    command
}

/// Runs the command within `limit`, and kills what is left of its group. Gives what it printed.
///
/// # Errors
/// In words, when it cannot be run, fails, or takes too long.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<Vec<u8>, String> {
    let child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let mut guard = Guard { group: child.id(), child };
    let ended = timeout(limit, guard.outcome()).await;
    guard.clear();
    match ended {
        Ok(Ok((status, printed))) if status.success() => Ok(printed),
        Ok(Ok((status, _))) => Err(format!("failed: {status}")),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Err(_) => Err(format!("took longer than {}", humantime::format_duration(limit))),
    }
}

/// A program with its group, which is gone when this is.
struct Guard {
    /// The id of its group, until that is cleared.
    group: Option<u32>,
    child: Child,
}

impl Guard {
    async fn outcome(&mut self) -> std::io::Result<(std::process::ExitStatus, Vec<u8>)> {
        let mut printed = Vec::new();
        if let Some(stdout) = self.child.stdout.take() {
            stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut printed).await?;
        }
        Ok((self.child.wait().await?, printed))
    }

    /// Kills what is left of the group, each member by its start time.
    fn clear(&mut self) {
        let Some(group) = self.group.take() else { return };
        for member in group::members(group).unwrap_or_default() {
            if let Err(error) = member.signal(Signal::KILL) {
                tracing::debug!(%error, "what a program of our own left could not be killed");
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.clear();
    }
}
