//! How far a stop has got.

use std::cmp::min;

use tokio::time::Instant;

/// What has been done so far to make the group go.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopPhase {
    /// Nothing.
    None,
    /// It was asked to.
    Asked { until: Instant, force_kill: bool },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// All that may be. Now it is only watched.
    Spent,
}

impl StopPhase {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { until, .. } | Self::Killed { until } => Some(*until),
            Self::None | Self::Spent => None,
        }
    }

    /// With the earlier of two deadlines: a second stop never makes the first one wait longer.
    pub(super) fn tightened(self, deadline: Instant, force_kill: bool) -> Self {
        match self {
            Self::Asked { until, force_kill } => Self::Asked { until: min(until, deadline), force_kill },
            Self::None | Self::Spent => Self::Asked { until: deadline, force_kill },
            Self::Killed { .. } => self,
        }
    }
}
