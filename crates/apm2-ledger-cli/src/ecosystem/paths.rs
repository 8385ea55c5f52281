//! Paths and programs in an `ecosystem.toml`, which are relative to its directory.

use std::path::Path;

use apm2_model::spec::config::{
    health::{HealthCheck, HealthCheckConfig},
    log::LogConfig,
};

use crate::ecosystem::invalid_setting::InvalidSetting;

/// The log settings, with relative paths made absolute (relative to the directory of the file). Checks that the log
/// files can be written.
pub(crate) fn placed_log(log: LogConfig, dir: &Path) -> Result<LogConfig, InvalidSetting> {
    let log = log.placed_in(dir);
    apm2_core::log::check_targets(&log).map_err(|why| {
        let is_stderr = why.starts_with("log.stderr");
        InvalidSetting::at(if is_stderr { &["log", "stderr"] } else { &["log", "stdout"] })(why)
    })?;
    Ok(log)
}

/// The validated health check, with relative paths made absolute (relative to the directory of the file).
pub(crate) fn placed_health(mut health: HealthCheckConfig, dir: &Path) -> Result<HealthCheckConfig, InvalidSetting> {
    let keys: &[&str] = match &health.check {
        HealthCheck::Http { .. } => &["health", "check", "http", "url"],
        HealthCheck::Tcp { .. } => &["health", "check", "tcp", "address"],
        HealthCheck::Unix { .. } => &["health", "check", "unix", "path"],
        HealthCheck::Script { .. } => &["health", "check", "script", "command"],
        HealthCheck::Liveness => &["health", "check"],
    };
    health.check.validate().map_err(InvalidSetting::at(keys))?;
    match &mut health.check {
        HealthCheck::Script { command, .. } => *command = program(dir, command),
        HealthCheck::Unix { path } => *path = dir.join(&path),
        HealthCheck::Http { .. } | HealthCheck::Tcp { .. } | HealthCheck::Liveness => {}
    }
    health.validate().map_err(InvalidSetting::at(&["health"]))?;
    Ok(health)
}

/// Makes a relative path of a program absolute; it is relative to the directory of the file, like all paths in it.
pub(crate) fn program(dir: &Path, command: &str) -> String {
    if command.contains('/') && !command.starts_with('/') {
        dir.join(command).to_string_lossy().into_owned()
    } else {
        command.to_owned()
    }
}

/// Makes a relative path of the program in a command absolute, as `program` does. The arguments stay unchanged.
pub(crate) fn place_program(dir: &Path, words: &mut [String]) {
    if let Some(first) = words.first_mut() {
        *first = program(dir, first);
    }
}
