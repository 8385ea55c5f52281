//! Spawns a process according to a specification. The runner watches the process afterwards.

use std::{borrow::Borrow, collections::BTreeMap, env, ffi::OsString, io, path::Path, process::Stdio};

use apm2_model::{
    event::exit::{SpawnFailure, SpawnStage},
    spec::{ProcessSpec, redact::filter::redact_text},
};
use nix::errno::Errno;
use rustix::fs::{Access, access};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

use crate::{
    error::ProcessError,
    os::child::{self, ChildSetup},
};

/// Environment variables of this process that a child inherits. Others are not passed on, because the environment of a
/// supervisor may contain tokens and agent sockets that are not meant for the supervised processes.
const ENV_ALLOWED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    // The variables of the XDG base directories.
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
];

/// Prefix of the locale variables, which a child also inherits (locale(7)).
const ENV_PREFIX_ALLOWED: &str = "LC_";

/// A process that has just been spawned and is not watched yet.
///
/// It leads its own session and process group. Dropping this value neither kills nor waits for the process.
#[derive(Debug)]
pub struct SpawnedProcess {
    /// The child, with its stdout and stderr as pipes.
    pub child: Child,
    /// The pid of the process, which is also the id of its process group.
    pub pid: u32,
}

/// Spawns a process according to `spec`, with stdin from `/dev/null` and stdout and stderr piped (CTR-0009).
///
/// `spec.stdin` is ignored: only a [`ProcessRunner`](crate::run::runner::ProcessRunner) opens it.
///
/// Returns once the program has been executed. The caller has to read both pipes, or the process will block; a
/// [`ProcessRunner`](crate::run::runner::ProcessRunner) does that itself.
///
/// # Errors
/// [`ProcessError::SpawnFailed`] when the program is not found, cannot be executed or no process can be made
/// (CTR-0008); [`ProcessError::InvalidState`] outside of a tokio runtime.
///
/// # Panics
/// The tokio runtime was built without its I/O driver.
pub fn spawn(spec: impl Borrow<ProcessSpec>) -> Result<SpawnedProcess, ProcessError> {
    runtime()?;
    let spawned = spawn_with(spec.borrow(), SpawnOptions::default());
    spawned.map_err(|failure| ProcessError::SpawnFailed(failure.message))
}

/// Settings of a spawn that are not part of the specification.
pub(crate) struct SpawnOptions {
    /// The environment to which variables are added; `None` for the inherited part of this process's environment.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The set-up of the child between fork(2) and execve(2).
    pub(crate) child_setup: ChildSetup,
    /// Variables that override all other variables, including credentials.
    pub(crate) last_env: Vec<(String, OsString)>,
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self {
            base_env: None,
            child_setup: ChildSetup::default(),
            last_env: Vec::new(),
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
        }
    }
}

/// The current tokio runtime, on which a process is watched.
pub(crate) fn runtime() -> Result<Handle, ProcessError> {
    Handle::try_current().map_err(|_| ProcessError::InvalidState("no tokio runtime to run a process on".to_owned()))
}

/// Spawns `spec` with `options`. On failure, returns the step that failed and the reason.
pub(crate) fn spawn_with(spec: &ProcessSpec, options: SpawnOptions) -> Result<SpawnedProcess, SpawnFailure> {
    let SpawnOptions { base_env, child_setup, last_env, stdin, stdout, stderr } = options;
    let mut command = Command::new(&spec.command);
    command.args(&spec.args).env_clear().envs(environment(base_env.as_ref(), spec, &last_env));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    if let Some(cwd) = &spec.cwd {
        // The error of the spawn does not distinguish a missing directory from a missing program.
        check_cwd(cwd)?;
        command.current_dir(cwd);
    }
    child::isolate(&mut command, child_setup);
    let child = command.spawn().map_err(|error| not_spawned(spec, command.as_std(), &error))?;
    // The runtime returns `None` for the pid only after the child has been waited for.
    let pid = child.id().ok_or_else(|| failure(SpawnStage::Fork, &spec.command, &io::Error::other("no pid")))?;
    Ok(SpawnedProcess { child, pid })
}

/// The part of this process's environment that a child may inherit, without values that are not UTF-8. A client sends it to the
/// daemon as the base environment of the processes that it starts.
#[must_use]
pub fn allowed_variables() -> BTreeMap<String, String> {
    allowed_env().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// The umask of this process (umask(2)); `None` if `/proc` does not show it. A client sends it to the daemon for the processes
/// that it starts.
#[must_use]
pub fn current_umask() -> Option<u32> {
    // umask(2) returns the mask only when it sets another one, which would affect other threads.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

/// The environment of a process: `base`, overridden by the variables of `spec`, overridden by `last`.
pub(crate) fn environment(
    base: Option<&BTreeMap<String, String>>,
    spec: &ProcessSpec,
    last: &[(String, OsString)],
) -> BTreeMap<OsString, OsString> {
    let owned = |(name, value): (&String, &String)| (name.into(), value.into());
    let mut env: BTreeMap<OsString, OsString> = match base {
        Some(base) => base.iter().map(owned).collect(),
        None => allowed_env().collect(),
    };
    env.extend(spec.env.iter().map(owned));
    env.extend(last.iter().map(|(name, value)| (name.into(), value.clone())));
    env
}

fn allowed_env() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| ENV_ALLOWED.contains(&name) || name.starts_with(ENV_PREFIX_ALLOWED))
    })
}

pub(crate) fn check_cwd(cwd: &Path) -> Result<(), SpawnFailure> {
    let enterable = || {
        if !std::fs::metadata(cwd)?.is_dir() {
            return Err(io::Error::from(Errno::ENOTDIR));
        }
        access(cwd, Access::EXEC_OK).map_err(io::Error::from)
    };
    let what = format!("working directory {}", cwd.display());
    enterable().map_err(|error| failure(SpawnStage::WorkingDirectory, &what, &error))
}

/// The step of a failed spawn: errors about exceeded resource limits come from fork(2), all other errors from
/// execve(2).
fn stage_of(error: &io::Error) -> SpawnStage {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => SpawnStage::Fork,
        _ => SpawnStage::Exec,
    }
}

/// The description of a failed spawn of `spec` by `command`.
fn not_spawned(spec: &ProcessSpec, command: &std::process::Command, error: &io::Error) -> SpawnFailure {
    let (stage, what) = (stage_of(error), &spec.command);
    let search = crate::os::exec_failure::search_path(command);
    match crate::os::exec_failure::reason(what, spec.cwd.as_deref(), search.as_deref(), error) {
        Some(why) if stage == SpawnStage::Exec => {
            SpawnFailure { stage, errno: error.raw_os_error(), message: redact_text(&format!("{what}: {why}")) }
        }
        _ => failure(stage, what, error),
    }
}

pub(crate) fn failure(stage: SpawnStage, what: &str, error: &io::Error) -> SpawnFailure {
    let errno = error.raw_os_error();
    let why = errno.map_or_else(|| error.to_string(), |errno| Errno::from_raw(errno).desc().to_owned());
    SpawnFailure { stage, errno, message: redact_text(&format!("{what}: {why}")) }
}
