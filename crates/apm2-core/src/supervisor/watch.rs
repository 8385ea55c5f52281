//! What an agent adapter makes of the output of an instance.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Launch;
use crate::{
    adapter::{Adapter, BlackBox},
    log::OutputMeter,
    process::{EventKind, Stamp},
};

/// How often an adapter is asked, at most.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// An adapter, and when it is asked next.
#[derive(Default)]
pub(super) struct Watch {
    adapter: Option<Box<dyn Adapter>>,
    meter: Option<Arc<OutputMeter>>,
    interval: Duration,
    due: Option<Instant>,
}

impl Watch {
    /// The black-box adapter where a limit on silence is set; else none.
    pub(super) fn new(launch: &Launch, meter: Option<Arc<OutputMeter>>) -> Self {
        let (Some(limit), Some(meter)) = (launch.silence_limit, meter) else { return Self::default() };
        let interval = (limit / 4).max(INTERVAL_MIN);
        Self { adapter: Some(Box::new(BlackBox::new(limit))), meter: Some(meter), interval, due: None }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn started(&mut self) {
        self.due = self.adapter.is_some().then(|| Instant::now() + self.interval);
    }

    pub(super) fn ended(&mut self) {
        self.due = None;
    }

    /// Asks the adapter.
    pub(super) fn observe(&mut self, now: &Stamp) -> Vec<EventKind> {
        self.due = Some(Instant::now() + self.interval);
        let (Some(adapter), Some(meter)) = (&mut self.adapter, &self.meter) else { return Vec::new() };
        let name = adapter.name();
        let seen = adapter.tick(&meter.read(now), now);
        seen.into_iter().map(|seen| EventKind::Observed { adapter: name.to_owned(), detail: seen.detail }).collect()
    }
}
