//! The handle of one instance: the part of its state that a user of the library sees. The state is computed from the
//! recorded events.

use chrono::{DateTime, Utc};

use crate::{
    clock::SystemClock,
    event::{
        Event,
        kind::{EventKind, StartTrigger},
        timestamp::Clock as _,
    },
    spec::ProcessSpec,
    state::{
        ProcessState,
        transition::{IllegalTransition, transition},
    },
};

/// One instance of a specification, in the state after its last event.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessHandle {
    /// The specification of the instance. In a handle that was replayed from events, environment values and secrets are
    /// redacted.
    pub spec: ProcessSpec,
    /// The number of the instance; less than `spec.instances` (INV-0010).
    pub instance: u32,
    /// The state of the instance. Only [`apply`](Self::apply) assigns it.
    pub state: ProcessState,
    /// The pid of the main process. `Some` exactly while `state.is_running()` (INV-0008).
    pub pid: Option<u32>,
    /// When the instance was last started; `None` if it was never started (INV-0009).
    pub started_at: Option<DateTime<Utc>>,
    /// The number of restarts by the policy in the whole history of the instance. Starts by an operator do not count.
    pub restart_count: u32,
    /// When the policy last restarted the instance.
    pub last_restart: Option<DateTime<Utc>>,
    /// Processor use at the last sample, in percent of one core.
    pub cpu_percent: Option<f32>,
    /// Resident memory at the last sample, in bytes.
    pub memory_bytes: Option<u64>,
    /// The number of processes that the last sample measured together; `None` where it measured the main process alone.
    pub processes: Option<u32>,
}

impl ProcessHandle {
    /// The handle of an instance that was never started, in the `Stopped` state.
    ///
    /// # Panics
    /// When `instance` is not less than `spec.instances` (INV-0010).
    #[must_use]
    pub fn new(spec: ProcessSpec, instance: u32) -> Self {
        assert!(instance < spec.instances, "instance {instance} of {} (INV-0010)", spec.instances);
        Self {
            spec,
            instance,
            state: ProcessState::Stopped { exit_code: None },
            pid: None,
            started_at: None,
            restart_count: 0,
            last_restart: None,
            cpu_percent: None,
            memory_bytes: None,
            processes: None,
        }
    }

    /// The name of the instance: `name-instance` for a specification with several instances, else `name`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.spec.display_name(self.instance)
    }

    /// Seconds since the start; `None` unless the instance is running.
    #[must_use]
    pub fn uptime_secs(&self) -> Option<i64> {
        self.uptime_secs_at(SystemClock.now().wall())
    }

    /// Seconds from the start to `now`; `None` unless the instance is running. Never negative, even if the clock was
    /// set back.
    #[must_use]
    pub fn uptime_secs_at(&self, now: DateTime<Utc>) -> Option<i64> {
        let started_at = self.started_at.filter(|_| self.state.is_running())?;
        Some((now - started_at).num_seconds().max(0))
    }

    /// Applies one event to the handle. No other function assigns the state.
    ///
    /// # Errors
    /// When [`transition`] refuses the event; the handle is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if let Some(next) = transition(&self.state, &event.kind)? {
            self.state = next;
            if !self.state.is_running() {
                self.pid = None;
                self.cpu_percent = None;
                self.memory_bytes = None;
                self.processes = None;
            }
        }
        match &event.kind {
            EventKind::SpecChanged { spec } => self.spec = (**spec).clone(),
            EventKind::Starting { identity: Some(identity), trigger } => {
                self.pid = Some(identity.pid);
                self.started_at = Some(event.stamp.wall());
                if let StartTrigger::Restart { .. } = trigger {
                    self.restart_count = self.restart_count.saturating_add(1);
                    self.last_restart = self.started_at;
                }
            }
            EventKind::Sampled { cpu_centipercent, memory_bytes, processes } => {
                self.cpu_percent = Some(percent(*cpu_centipercent));
                self.memory_bytes = Some(*memory_bytes);
                self.processes = *processes;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Converts hundredths of a percent to percent. The whole percents and the rest are converted separately, because only
/// 16-bit integers convert to `f32` without loss. More than 65,535 percent is shown as 65,535 percent.
fn percent(centipercent: u32) -> f32 {
    let whole = u16::try_from(centipercent / 100).unwrap_or(u16::MAX);
    let hundredths = u16::try_from(centipercent % 100).unwrap_or(0);
    f32::from(whole) + f32::from(hundredths) / 100.0
}

#[cfg(test)]
mod tests;
