//! Making a process from a specification. What becomes of it afterwards is the runner's matter.

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

/// Variables of our own environment that a child gets to see, if they are set. No others: what is exported to a
/// supervisor (tokens, agent sockets) is not meant for everything that it runs.
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
    // The XDG base directories.
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
];

/// The beginning of further names that are allowed: the locale.
const ENV_PREFIX_ALLOWED: &str = "LC_";

/// A process that has just been spawned, and that nobody watches yet.
///
/// It leads its own session and process group. Dropping it neither kills nor waits for the process.
#[derive(Debug)]
pub struct SpawnedProcess {
    /// The child, with its stdout and stderr as pipes.
    pub child: Child,
    /// Its pid, which is also the id of its process group.
    pub pid: u32,
}

/// Spawns a process according to `spec`, owned or borrowed, with stdin null and stdout and stderr piped (CTR-0009).
///
/// `spec.stdin` is not looked at: the [`ProcessRunner`](crate::run::runner::ProcessRunner) opens it.
///
/// Returns once the program has been executed. Whoever calls it has to read both pipes, or the process will block; a
/// [`ProcessRunner`](crate::run::runner::ProcessRunner) does that by itself.
///
/// # Errors
/// [`ProcessError::SpawnFailed`] when the program is not found, cannot be executed or no process can be made
/// (CTR-0008); [`ProcessError::InvalidState`] outside of a tokio runtime.
///
/// # Panics
/// When the tokio runtime was built without its I/O driver.
pub fn spawn(spec: impl Borrow<ProcessSpec>) -> Result<SpawnedProcess, ProcessError> {
    runtime()?;
    let spawned = spawn_with(spec.borrow(), SpawnOptions::default());
    spawned.map_err(|failure| ProcessError::SpawnFailed(failure.message))
}

/// What a process is given beside its specification.
pub(crate) struct SpawnOptions {
    /// The environment that its own begins with; `None` for the allowed part of ours.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// What it goes through before it becomes its program.
    pub(crate) child_setup: ChildSetup,
    /// Variables that go before all others, values of credentials among them.
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

/// The runtime that a process is to be watched on.
pub(crate) fn runtime() -> Result<Handle, ProcessError> {
    Handle::try_current().map_err(|_| ProcessError::InvalidState("no tokio runtime to run a process on".to_owned()))
}

/// Spawns `spec` in these surroundings, and says in detail what went wrong if it did.
pub(crate) fn spawn_with(spec: &ProcessSpec, options: SpawnOptions) -> Result<SpawnedProcess, SpawnFailure> {
    let SpawnOptions { base_env, child_setup, last_env, stdin, stdout, stderr } = options;
    let mut command = Command::new(&spec.command);
    command.args(&spec.args).env_clear().envs(environment(base_env.as_ref(), spec, &last_env));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    if let Some(cwd) = &spec.cwd {
        // exec's error does not tell a missing directory from a missing program.
        check_cwd(cwd)?;
        command.current_dir(cwd);
    }
    child::isolate(&mut command, child_setup);
    let child = command.spawn().map_err(|error| not_spawned(spec, command.as_std(), &error))?;
    // `id` is `None` only once the child has been waited for.
    let pid = child.id().ok_or_else(|| failure(SpawnStage::Fork, &spec.command, &io::Error::other("no pid")))?;
    Ok(SpawnedProcess { child, pid })
}

/// The part of our own environment that a child may see, with the values that are text. What a client captures of its own
/// for the processes that it asks for.
#[must_use]
pub fn allowed_variables() -> BTreeMap<String, String> {
    allowed_env().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// The mask of the files that we make (umask(2)); `None` where `/proc` does not tell. For a client that wants the processes
/// it asks for to have its own.
#[must_use]
pub fn current_umask() -> Option<u32> {
    // The system call can only be asked by setting another one, which other threads would notice.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

/// The environment of a process: that which it begins with, then the variables of `spec`, and `last` before all others.
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

/// Limits are met when the process is made; anything else when it becomes the program.
fn stage_of(error: &io::Error) -> SpawnStage {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => SpawnStage::Fork,
        _ => SpawnStage::Exec,
    }
}

/// Why there is no process of `spec`, which `command` was to become.
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
