//! Which instances a new supervisor starts. Pure.
//!
//! A process that was stopped by the shutdown of its supervisor, or that ended with the machine, is started again: its end had no cause
//! in the process. A process that an operator stopped, that has finished, or whose restarts were given up is not.

use crate::{
    event::timestamp::Timestamp,
    spec::{config::restart::OnBoot, launch::LaunchSpec},
    state::stream::{FollowUp, Stream},
};

/// What a new supervisor knows about its own start.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// The seq of the event that records it: the cause of what is started for it.
    pub cause: Option<u64>,
    /// The last time at which an earlier supervisor is known to have run: an end that is found now happened after that.
    pub watched_until: Option<Timestamp>,
    /// Whether a process is not started whatever its `on_boot` is. Default: no process.
    pub stays: fn(&LaunchSpec) -> bool,
}

impl Default for Boot {
    fn default() -> Self {
        Self { cause: None, watched_until: None, stays: |_| false }
    }
}

impl Boot {
    /// The `on_boot` that applies to this process.
    #[must_use]
    pub fn on_boot(&self, launch: &LaunchSpec) -> OnBoot {
        if (self.stays)(launch) { OnBoot::Stay } else { launch.spec.restart.on_boot }
    }
}

/// The decision about one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtBoot {
    /// No start by the boot: the restart policy decides as usual.
    Nothing,
    /// Start it.
    Start,
    /// Do not start it, whatever its restart policy is.
    Stay,
}

/// Decides about an instance that an earlier supervisor left as `left`, and that does not run at `now` or is being stopped. In the
/// latter case the decision is carried out after its end.
pub fn at_boot(left: &Stream, on_boot: OnBoot, now: &Timestamp) -> AtBoot {
    let is_another_boot = left.asked_at.is_some_and(|asked| asked.boot_id != now.boot_id);
    let is_over = left.intent.is_none() && left.handle.state.has_exited();
    // It was stopped by the shutdown of the supervisor.
    let was_shut_down = left.wanted && is_over && left.follow_up == FollowUp::Nothing;
    // The supervisor ended before the stop was complete.
    let is_being_shut_down = left.wanted && left.stopping.is_some_and(|stop| !stop.by_health);
    let is_due = matches!(left.follow_up, FollowUp::Restart { .. });
    let went_with_the_machine = left.wanted && is_another_boot && (left.is_open() || is_due);
    match on_boot {
        _ if left.unregistered => AtBoot::Nothing,
        OnBoot::Stay if went_with_the_machine => AtBoot::Stay,
        OnBoot::Stay => AtBoot::Nothing,
        OnBoot::AsBefore | OnBoot::Start if was_shut_down || is_being_shut_down || went_with_the_machine => {
            AtBoot::Start
        }
        OnBoot::Start if is_another_boot => AtBoot::Start,
        OnBoot::AsBefore | OnBoot::Start => AtBoot::Nothing,
    }
}

#[cfg(test)]
mod tests;
