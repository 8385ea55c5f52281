//! Decides which instances a new supervisor starts. This module does no I/O.
//!
//! The new supervisor starts a process that the shutdown of the earlier supervisor stopped, or that ended because the
//! machine went down: such an end was not caused by the process. It does not start a process that an operator stopped,
//! that has finished, or whose restarts were given up.

use crate::{
    event::timestamp::Timestamp,
    spec::{config::restart::OnBoot, launch::LaunchSpec},
    state::stream::{FollowUp, Stream},
};

/// The data about the start of a new supervisor on which its decisions depend.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// The seq of the event that records the start of the supervisor. It is recorded as the cause of the process starts
    /// at boot.
    pub cause: Option<u64>,
    /// The last time at which an earlier supervisor is known to have run. The end of a process that the new supervisor
    /// finds happened after this time.
    pub watched_until: Option<Timestamp>,
    /// Returns whether a process must not be started, whatever its `on_boot` setting is. By default, it returns false
    /// for each process.
    pub stays: fn(&LaunchSpec) -> bool,
}

impl Default for Boot {
    fn default() -> Self {
        Self { cause: None, watched_until: None, stays: |_| false }
    }
}

impl Boot {
    /// The `on_boot` setting that applies to this process: `stay` where [`stays`](Self::stays) selects the process.
    #[must_use]
    pub fn on_boot(&self, launch: &LaunchSpec) -> OnBoot {
        if (self.stays)(launch) { OnBoot::Stay } else { launch.spec.restart.on_boot }
    }
}

/// The decision about one instance when a supervisor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtBoot {
    /// The new supervisor starts nothing. The restart policy decides as usual.
    Nothing,
    /// The new supervisor starts the instance.
    Start,
    /// The new supervisor does not start the instance, whatever its restart policy is.
    Stay,
}

/// Decides about an instance that an earlier supervisor left in the state `left`. At `now`, the instance does not run,
/// or its stop is in progress: the decision then applies after the stop.
pub fn at_boot(left: &Stream, on_boot: OnBoot, now: &Timestamp) -> AtBoot {
    let is_another_boot = left.asked_at.is_some_and(|asked| asked.boot_id != now.boot_id);
    let is_over = left.intent.is_none() && left.handle.state.has_exited();
    // The shutdown of the supervisor stopped the instance.
    let was_shut_down = left.wanted && is_over && left.follow_up == FollowUp::Nothing;
    // The supervisor ended before the stop of the instance was complete.
    let is_being_shut_down = left.wanted && left.stopping.is_some_and(|stop| !stop.is_left_to_policy());
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
