//! Checks which launches a supervisor accepts.

use std::time::Duration;

use crate::spec::{
    config::{
        log::{LogConfig, is_nowhere},
        restart::{RESTARTS_REMEMBERED_MAX, RestartConfig},
    },
    launch::LaunchSpec,
    name::{EVERYTHING, check_name},
};

/// The smallest allowed size limit of a log file, in bytes. Rotating a smaller file takes longer than writing it.
const LOG_BYTES_MIN: u64 = 100;

/// The smallest allowed age limit of a log file.
const LOG_AGE_MIN: Duration = Duration::from_millis(10);

/// The greatest number of instances of one process.
pub const INSTANCES_MAX: u32 = 1024;

/// Checks whether a launch can be supervised. Does not consider other processes.
///
/// # Errors
/// The name of the process, the refused setting and the reason.
pub fn check(launch: &LaunchSpec) -> Result<(), String> {
    let refuse = |why: String| Err(format!("{:?}: {why}", launch.spec.name));
    if launch.spec.name == EVERYTHING {
        return refuse(
            "a process cannot have this name, which stands for every process; choose another one".to_owned(),
        );
    }
    check_name(&launch.spec.name).or_else(|error| refuse(error.to_string()))?;
    if launch.spec.instances == 0 || launch.spec.instances > INSTANCES_MAX {
        return refuse(format!("{} instances; there may be 1 to {INSTANCES_MAX}", launch.spec.instances));
    }
    let RestartConfig { max_restarts, restart_window, min_uptime, .. } = launch.spec.restart;
    if usize::try_from(max_restarts).map_or(true, |max| max > RESTARTS_REMEMBERED_MAX) {
        return refuse(format!("max_restarts is {max_restarts}; it may be {RESTARTS_REMEMBERED_MAX} at most"));
    }
    if max_restarts > 0 && (restart_window.is_zero() || min_uptime.is_zero()) {
        return refuse("restart_window and min_uptime are not zero: no restart would ever count".to_owned());
    }
    launch.spec.log.validate().or_else(refuse)?;
    let LogConfig { rotate_bytes, total_bytes_max, rotate_age, .. } = launch.spec.log;
    if rotate_bytes.min(total_bytes_max) < LOG_BYTES_MIN || rotate_age < LOG_AGE_MIN {
        return refuse(format!(
            "rotate_bytes and total_bytes_max are {LOG_BYTES_MIN} at least, and rotate_age {}",
            humantime::format_duration(LOG_AGE_MIN)
        ));
    }
    if launch.spec.agent.is_some() && launch.spec.log.stdout.as_deref().is_some_and(is_nowhere) {
        return refuse(
            "an agent needs a log of its stdout, from which its reports are read; leave out log.stdout".to_owned(),
        );
    }
    if let Some(agent) = &launch.spec.agent {
        agent.validate(launch.spec.restart.policy).or_else(refuse)?;
    }
    if let Some(health) = &launch.spec.health {
        health.validate().or_else(refuse)?;
    }
    launch.spec.credentials.as_ref().map_or(Ok(()), |credentials| credentials.validate().or_else(refuse))
}
