//! Measuring a process now and then: processor and memory of the process that the run began with.

use std::time::Duration;

use tokio::time::Instant;

use crate::process::{EventKind, ProcessIdentity, Usage, usage};

/// Age of a run at its first measurement: what is gone sooner is not worth an event.
const FIRST_AFTER: Duration = Duration::from_secs(15);

/// Time between two measurements. Each is an event that is kept.
const INTERVAL: Duration = Duration::from_secs(600);

/// When the next measurement is due, and what the last one said.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    due: Option<Instant>,
    last: Option<(Instant, Usage)>,
}

impl Sampler {
    /// For a run that is `age` old.
    pub(super) fn started(age: Duration) -> Self {
        Self { due: Some(Instant::now() + FIRST_AFTER.saturating_sub(age)), last: None }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Measures; `None` when the process is gone.
    pub(super) fn sample(&mut self, identity: Option<ProcessIdentity>) -> Option<EventKind> {
        let now = Instant::now();
        self.due = Some(now + INTERVAL);
        let usage = usage(&identity?)?;
        // The first one is measured over the whole life.
        let (since, used) = match self.last {
            Some((at, before)) => (now - at, usage.cpu.saturating_sub(before.cpu)),
            None => (usage.age, usage.cpu),
        };
        self.last = Some((now, usage));
        let centipercent = used.as_nanos().saturating_mul(10_000) / since.as_nanos().max(1);
        Some(EventKind::Sampled {
            cpu_centipercent: u32::try_from(centipercent).unwrap_or(u32::MAX),
            memory_bytes: usage.memory_bytes,
            processes: None,
        })
    }
}
