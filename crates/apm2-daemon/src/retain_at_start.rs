//! Moves old events into an archive before a daemon opens its ledger, if the settings of the ledger say so.

use std::path::Path;

use apm2_ledger::{OpenError, Options, RetainError, is_retention_due, retain};
use apm2_model::{causes::causes, clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Duration, Utc};

use crate::ledger_settings::settings;

/// The time before which events move into an archive; `None` when the settings of the ledger in `dir` name no age, or are not
/// readable.
fn before(dir: &Path) -> Option<DateTime<Utc>> {
    let settings = settings(dir).inspect_err(|error| {
        tracing::warn!(%error, "the settings of the ledger cannot be read; no events move into an archive");
    });
    let age = Duration::from_std(settings.ok()?.retain?).ok()?;
    SystemClock.now().wall().checked_sub_signed(age)
}

/// Moves events into an archive, if enough of them are old enough. An error is logged: the ledger is as before, or the
/// opening finishes the rest.
pub(crate) fn retain_at_start(dir: &Path) {
    let Some(before) = before(dir).filter(|before| is_due(dir, *before)) else { return };
    match retain(dir, before, &Options::default(), &mut |_| {}) {
        Ok(Some(done)) => {
            let (archive, first, last) = (done.archive, done.first_seq, done.last_seq);
            let (processes, files) = (done.processes.len(), done.files.len());
            tracing::warn!(%archive, first, last, processes, files, "old events moved into an archive, as the settings say");
        }
        // Another process has the ledger open. This daemon ends when it tries to open it.
        Ok(None) | Err(RetainError::Open(OpenError::Locked { .. })) => {}
        Err(error) => tracing::warn!(error = %causes(&error), "old events could not be moved into an archive"),
    }
}

/// Logs that events are due to move, when a daemon has run for so long that they became too old meanwhile.
pub(crate) fn remind(dir: &Path) {
    if before(dir).is_some_and(|before| is_due(dir, before)) {
        tracing::warn!(
            "old events are due to move into an archive, which the next daemon does when it starts: `apm2-ledger daemon --leave` \
             ends this one and leaves the processes running"
        );
    }
}

fn is_due(dir: &Path, before: DateTime<Utc>) -> bool {
    is_retention_due(dir, before).unwrap_or_else(|error| {
        let is_missing = matches!(error, RetainError::Open(OpenError::Missing { .. }));
        if !is_missing {
            tracing::warn!(error = %causes(&error), "it cannot be determined whether old events are due to move into an archive");
        }
        false
    })
}
