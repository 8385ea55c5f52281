//! The phase of a stop.

use std::cmp::min;

use tokio::time::Instant;

/// The signal that was last sent to end the process group.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopPhase {
    /// No signal was sent.
    None,
    /// The stop signal was sent, or will be sent after the pre-stop commands.
    Asked { until: Instant, force_kill: bool },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// Each signal that the settings allow was sent. The process group is only watched.
    Spent,
}

impl StopPhase {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { until, .. } | Self::Killed { until } => Some(*until),
            Self::None | Self::Spent => None,
        }
    }

    /// The stop phase with the earlier deadline of the two. A second stop never extends the first.
    pub(super) fn tightened(self, deadline: Instant, force_kill: bool) -> Self {
        match self {
            Self::Asked { until, force_kill } => Self::Asked { until: min(until, deadline), force_kill },
            Self::None | Self::Spent => Self::Asked { until: deadline, force_kill },
            Self::Killed { .. } => self,
        }
    }
}
