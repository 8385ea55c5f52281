//! The phase of a stop.

use std::cmp::min;

use tokio::time::Instant;

/// The signal that was last sent to end the process group.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopPhase {
    /// No signal was sent.
    None,
    /// The first signal was sent, or will be sent after the pre-stop commands. At `stop_at` the stop signal follows, if the first
    /// signal was another one.
    Asked { until: Instant, force_kill: bool, stop_at: Option<Instant> },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// Each signal that the settings allow was sent. The process group is only watched.
    Spent,
}

impl StopPhase {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { until, stop_at, .. } => match stop_at {
                Some(stop_at) if *stop_at < *until => Some(*stop_at),
                Some(_) | None => Some(*until),
            },
            Self::Killed { until } => Some(*until),
            Self::None | Self::Spent => None,
        }
    }

    /// The stop phase with the earlier deadline of the two. A second stop never extends the first.
    pub(super) fn tightened(self, deadline: Instant, force_kill: bool) -> Self {
        match self {
            Self::Asked { until, force_kill, stop_at } => {
                Self::Asked { until: min(until, deadline), force_kill, stop_at }
            }
            Self::None | Self::Spent => Self::Asked { until: deadline, force_kill, stop_at: None },
            Self::Killed { .. } => self,
        }
    }
}
