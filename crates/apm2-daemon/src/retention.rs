//! Periodically removes the logs of processes that are no longer supervised, set-aside launch files (launch files that the
//! daemon could not read), and what exceeds the limit in the settings of the ledger.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use apm2_core::{
    blocking,
    log::{LogsDir, RemovedLogs, Retention},
    supervisor::Supervisor,
};
use apm2_ledger::LedgerDir;
use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use tokio::time;

use crate::{
    launches::LaunchFiles,
    ledger_settings,
    retain_at_start::remind,
    size_limit::{self, Freed},
    state::DaemonState,
};

/// Interval between two removals of old files.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Number of intervals between two messages that events are due to move into an archive.
const REMINDER_INTERVALS: u64 = 24;

/// Removes old files at every interval, until the daemon exits.
pub(crate) async fn keep(state: Arc<DaemonState>, retention: Retention) {
    let mut ticks = time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    for number in 0_u64.. {
        ticks.tick().await;
        let (supervisor, dir) = (state.supervisor.clone(), Arc::clone(state.ledger.dir()));
        let swept = blocking::spawn(move || {
            sweep(&supervisor, &dir, retention);
            limit_size(&supervisor, &dir);
            if number > 0 && number.is_multiple_of(REMINDER_INTERVALS) {
                remind(dir.named());
            }
        });
        let swept = swept.await;
        if let Err(error) = swept {
            tracing::error!(%error, "the removal of old logs failed");
        }
    }
}

fn sweep(supervisor: &Supervisor, dir: &Arc<LedgerDir>, retention: Retention) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(SystemClock.now().wall_ns).unwrap_or(0));
    let logs = logs_in(dir).sweep(retention, now, &|name, instance| is_supervised(supervisor, name, instance));
    match logs {
        Ok(removed) => removed.iter().for_each(|RemovedLogs { instance, bytes }| {
            tracing::warn!(%instance, bytes, "the logs of an instance that is not supervised any more are removed");
        }),
        Err(error) => tracing::warn!(%error, "logs cannot be listed; they stay"),
    }
    match LaunchFiles::new(dir).sweep(now, retention.age_max) {
        Ok(removed) => removed.iter().for_each(|path| {
            tracing::warn!(path = %path.display(), "a launch that was set aside is removed");
        }),
        Err(error) => tracing::warn!(%error, "launches that were set aside cannot be listed; they stay"),
    }
}

/// Removes the oldest archives and logs while the ledger exceeds its limit.
fn limit_size(supervisor: &Supervisor, dir: &Arc<LedgerDir>) {
    let settings = ledger_settings::settings(dir.at()).inspect_err(|error| {
        tracing::warn!(%error, "the settings of the ledger cannot be read; its size is not limited");
    });
    let Some(max_bytes) = settings.ok().and_then(|settings| settings.max_bytes) else { return };
    let is_used = |name: &str, instance| is_supervised(supervisor, name, instance);
    match size_limit::free(dir, &logs_in(dir), max_bytes, &is_used) {
        Ok(Freed { removed, excess }) => {
            for (name, bytes) in removed {
                tracing::warn!(%name, bytes, max_bytes, "removed, because the ledger is larger than its settings allow");
            }
            if excess > 0 {
                tracing::warn!(
                    max_bytes,
                    excess,
                    "the ledger is larger than its settings allow, and nothing else is removed: events that are in no archive, and \
                     logs of supervised processes, stay"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "the files of the ledger cannot be listed; its size is not limited"),
    }
}

/// Removes the logs of the process `name`, or of all processes, except those that are supervised.
///
/// # Errors
/// The logs cannot be listed.
pub(crate) async fn purge(
    supervisor: &Supervisor,
    dir: &LedgerDir,
    name: Option<String>,
) -> io::Result<Vec<RemovedLogs>> {
    let (supervisor, logs) = (supervisor.clone(), logs_in(dir));
    let purged = blocking::spawn(move || {
        logs.purge(name.as_deref(), &|name, instance| is_supervised(&supervisor, name, instance))
    });
    purged.await.map_err(io::Error::other)?
}

fn logs_in(dir: &LedgerDir) -> LogsDir {
    LogsDir::new(dir.at().join(LOGS_DIR))
}

/// Whether logs belong to a supervised instance. An instance that a `scale` call is about to remove still counts as
/// supervised.
fn is_supervised(supervisor: &Supervisor, name: &str, instance: u32) -> bool {
    supervisor.launches().iter().any(|launch| launch.spec.name == name && instance < launch.spec.instances)
}

/// The directory of log files in the ledger directory.
pub(crate) const LOGS_DIR: &str = "logs";
