//! What a new supervisor does with an instance that does not run. Pure.
//!
//! A process that was stopped because its supervisor was leaving, or that ended with the machine, is to run again: neither
//! says anything about the process. One that was stopped by an operator, has finished, or was given up is not.

use crate::{
    event::timestamp::Timestamp,
    spec::{config::restart::OnBoot, launch::LaunchSpec},
    state::stream::{FollowUp, Stream},
};

/// What a new supervisor is told of its own start.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// The seq of the event that records it: the cause of what is started for it.
    pub cause: Option<u64>,
    /// When a supervisor before this one is last known to have been there: an end that is found happened later.
    pub watched_until: Option<Timestamp>,
    /// Whether a process is to stay as it is, whatever its `on_boot` says. Default: none is.
    pub stays: fn(&LaunchSpec) -> bool,
}

impl Default for Boot {
    fn default() -> Self {
        Self { cause: None, watched_until: None, stays: |_| false }
    }
}

impl Boot {
    /// What is done with this process.
    #[must_use]
    pub fn on_boot(&self, launch: &LaunchSpec) -> OnBoot {
        if (self.stays)(launch) { OnBoot::Stay } else { launch.spec.restart.on_boot }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtBoot {
    /// What follows from its history and its policy.
    Nothing,
    /// It is started.
    Start,
    /// It is not started, whatever its policy says.
    Stay,
}

/// What is done about an instance of which `left` was left by an earlier supervisor, and which does not run at `now`, or is
/// being stopped: then once it has ended.
pub fn at_boot(left: &Stream, on_boot: OnBoot, now: &Timestamp) -> AtBoot {
    let is_another_boot = left.asked_at.is_some_and(|asked| asked.boot_id != now.boot_id);
    let is_over = left.intent.is_none() && left.handle.state.has_exited();
    // It was stopped, and neither by an operator nor by itself.
    let was_shut_down = left.wanted && is_over && left.follow_up == FollowUp::Nothing;
    // The supervisor ended before that was through.
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
