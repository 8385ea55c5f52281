//! Measures the CPU time and the memory of all processes of a run periodically.

use std::time::Duration;

use apm2_model::event::{identity::ProcessIdentity, kind::EventKind};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    blocking,
    os::usage::{Usage, usage},
};

/// Age of a run at its first measurement. A shorter run is not measured.
const FIRST_AFTER: Duration = Duration::from_secs(15);

/// Time between two measurements. Each measurement is recorded as an event.
const INTERVAL: Duration = Duration::from_secs(600);

/// Time between two measurements of an agent whose memory a budget limits. One look at `/proc` serves all of them.
const LIMITED_INTERVAL: Duration = Duration::from_secs(1);

/// The schedule of the measurements of a run, the measurement in progress, and the last result.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    due: Option<Instant>,
    /// When the next measurement is recorded.
    record_due: Option<Instant>,
    /// Whether a budget limits the memory, so that it is measured more often than it is recorded.
    is_limited: bool,
    running: Option<JoinHandle<Option<Usage>>>,
    last: Option<(Instant, Usage)>,
}

impl Sampler {
    /// The schedule for a run that began the time `age` ago. `is_limited` says that a budget limits its memory.
    pub(crate) fn started(age: Duration, is_limited: bool) -> Self {
        let record_due = Some(Instant::now() + FIRST_AFTER.saturating_sub(age));
        let due = if is_limited { Some(Instant::now() + LIMITED_INTERVAL) } else { record_due };
        Self { due, record_due, is_limited, ..Self::default() }
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a measurement of the run with this main process and this marker. It runs on a blocking thread, because it
    /// reads `/proc`.
    pub(crate) fn begin(&mut self, first: Option<ProcessIdentity>, marker: String) {
        self.due = Some(Instant::now() + if self.is_limited { LIMITED_INTERVAL } else { INTERVAL });
        self.running = first.map(|first| blocking::spawn(move || usage(&first, &marker)));
    }

    /// Waits for the result of the measurement in progress; `None` when no process of the run is left. Cancel safe.
    /// Must be called only while a measurement is in progress.
    pub(crate) async fn result(&mut self) -> Option<Usage> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let measured = running.await;
        self.running = None;
        measured.inspect_err(|error| tracing::warn!(%error, "a measurement broke off")).ok().flatten()
    }

    /// The event that records a measurement; `None` for one that is not to be recorded.
    pub(crate) fn conclude(&mut self, usage: Usage) -> Option<EventKind> {
        let now = Instant::now();
        if self.record_due.is_some_and(|due| now < due) {
            return None;
        }
        self.record_due = Some(now + INTERVAL);
        // The first measurement covers the time since the start of the run.
        let (since, used) = match self.last {
            Some((at, before)) => (now - at, usage.cpu.saturating_sub(before.cpu)),
            None => (usage.age, usage.cpu),
        };
        self.last = Some((now, usage));
        let centipercent = used.as_nanos().saturating_mul(10_000) / since.as_nanos().max(1);
        Some(EventKind::Sampled {
            cpu_centipercent: u32::try_from(centipercent).unwrap_or(u32::MAX),
            memory_bytes: usage.memory_bytes,
            processes: Some(usage.processes),
        })
    }
}
