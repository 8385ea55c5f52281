//! The limits of the account, and what of them has changed.

use apm2_model::event::agent::{
    class::FailureClass,
    event::{AgentEvent, LimitStatus},
    label::Label,
};

/// Limits that are kept. An account has a few windows.
const LIMITS_MAX: usize = 16;

/// A reset time that moved by less, in seconds, has not changed.
const RESET_SLACK_SECS: u64 = 60;

/// The state of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) status: LimitStatus,
    pub(crate) class: FailureClass,
    pub(crate) window: Option<Label>,
    pub(crate) used_percent: Option<u8>,
    pub(crate) resets_at: Option<i64>,
}

/// The last state of each limit.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<Limit>);

impl Limits {
    /// Whether a limit of this class refuses requests.
    pub(crate) fn is_rejected(&self, class: FailureClass) -> bool {
        self.0.iter().any(|limit| limit.class == class && limit.status == LimitStatus::Rejected)
    }

    /// Keeps `limit`. Returns an event if its status or its reset time differs from before.
    pub(crate) fn changed(&mut self, limit: Limit) -> Option<AgentEvent> {
        let before = self.0.iter().position(|known| known.class == limit.class && known.window == limit.window);
        if let Some(known) = before.and_then(|index| self.0.get(index)) {
            let is_same_time = match (known.resets_at, limit.resets_at) {
                (Some(known), Some(now)) => known.abs_diff(now) <= RESET_SLACK_SECS,
                (known, now) => known == now,
            };
            if known.status == limit.status && is_same_time {
                return None;
            }
        }
        if let Some(index) = before {
            self.0.remove(index);
        } else if self.0.len() >= LIMITS_MAX {
            self.0.remove(0);
        }
        self.0.push(limit.clone());
        let Limit { status, class, window, used_percent, resets_at } = limit;
        Some(AgentEvent::RateLimited { status, class, window, used_percent, resets_at })
    }
}
