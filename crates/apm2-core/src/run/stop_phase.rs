//! The phase of a stop.

use std::cmp::min;

use tokio::time::Instant;

/// What has been done so far to end the process group.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopPhase {
    /// Nothing was sent.
    None,
    /// The stop signal was sent, or will be after the pre-stop commands.
    Asked { until: Instant, force_kill: bool },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// Everything that is allowed was sent. The group is only watched.
    Spent,
}

impl StopPhase {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { until, .. } | Self::Killed { until } => Some(*until),
            Self::None | Self::Spent => None,
        }
    }

    /// The phase with the earlier of both deadlines: a second stop never extends the first.
    pub(super) fn tightened(self, deadline: Instant, force_kill: bool) -> Self {
        match self {
            Self::Asked { until, force_kill } => Self::Asked { until: min(until, deadline), force_kill },
            Self::None | Self::Spent => Self::Asked { until: deadline, force_kill },
            Self::Killed { .. } => self,
        }
    }
}
