//! Spawns a process according to a specification. The runner watches the process afterwards.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    path::Path,
    process::Stdio,
};

use apm2_model::{
    event::exit::{SpawnFailure, SpawnStage},
    spec::{ProcessSpec, redact::filter::redact_text},
};
use nix::errno::Errno;
use rustix::{
    fs::{Access, Mode, OFlags, access, open},
    io::fcntl_dupfd_cloexec,
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

use crate::{
    error::ProcessError,
    os::{
        child::{self, ChildSetup},
        exec_failure,
        exec_image::ExecImage,
        unreaped_child::UnreapedChild,
    },
};

/// The first descriptor after stdin, stdout and stderr.
const FIRST_OTHER_FD: RawFd = 3;

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
    spawn_piped(spec.borrow()).map_err(|failure| ProcessError::SpawnFailed(failure.message))
}

/// Spawns `spec` with a child of the async runtime, which owns the pipes.
fn spawn_piped(spec: &ProcessSpec) -> Result<SpawnedProcess, SpawnFailure> {
    let env = environment(None, spec, &[]);
    let mut command = Command::new(&spec.command);
    command.args(&spec.args).env_clear().envs(&env);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        check_cwd(cwd)?;
        command.current_dir(cwd);
    }
    child::isolate(&mut command, ChildSetup::default());
    let child = command.spawn().map_err(|error| not_spawned(spec, &env, &error))?;
    // The runtime returns `None` for the pid only after the child has been waited for.
    let pid = child.id().ok_or_else(|| failure(SpawnStage::Fork, &spec.command, &io::Error::other("no pid")))?;
    Ok(SpawnedProcess { child, pid })
}

/// Settings of a spawn that are not part of the specification.
pub(crate) struct SpawnOptions {
    /// The environment to which variables are added; `None` for the inherited part of this process's environment.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The set-up of the child between fork(2) and execve(2).
    pub(crate) child_setup: ChildSetup,
    /// Variables that override all other variables, including credentials.
    pub(crate) last_env: Vec<(String, OsString)>,
    /// The standard input; `None` for `/dev/null`.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The current tokio runtime, on which a process is watched.
pub(crate) fn runtime() -> Result<Handle, ProcessError> {
    Handle::try_current().map_err(|_| ProcessError::InvalidState("no tokio runtime to run a process on".to_owned()))
}

/// Spawns `spec` with `options`, and returns when the program has been executed. On failure, returns the step that
/// failed and the reason. Blocks.
pub(crate) fn spawn_with(spec: &ProcessSpec, options: SpawnOptions) -> Result<UnreapedChild, SpawnFailure> {
    let SpawnOptions { base_env, child_setup, last_env, stdin, stdout, stderr } = options;
    let env = environment(base_env.as_ref(), spec, &last_env);
    if let Some(cwd) = &spec.cwd {
        // The error of the spawn does not distinguish a missing directory from a missing program.
        check_cwd(cwd)?;
    }
    let image = ExecImage::new(&spec.command, &spec.args, &env, spec.cwd.as_deref());
    let image = image.map_err(|error| failure(SpawnStage::Exec, &spec.command, &error))?;
    let stdio = || {
        let stdin = stdin.map_or_else(null_device, Ok)?;
        Ok([above_stdio(stdin)?, above_stdio(stdout)?, above_stdio(stderr)?])
    };
    let stdio = stdio().map_err(|error| failure(SpawnStage::Fork, "standard input and outputs", &error))?;
    child::spawn(&image, &child_setup, stdio.each_ref().map(OwnedFd::as_fd))
        .map_err(|error| not_spawned(spec, &env, &error))
}

fn null_device() -> io::Result<OwnedFd> {
    Ok(open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The descriptor, or a duplicate whose number is greater than 2, so that the child can put it in place of any of its
/// standard streams.
fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_OTHER_FD { Ok(fd) } else { Ok(fcntl_dupfd_cloexec(&fd, FIRST_OTHER_FD)?) }
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

/// The description of a failed spawn of `spec` with the environment `env`.
fn not_spawned(spec: &ProcessSpec, env: &BTreeMap<OsString, OsString>, error: &io::Error) -> SpawnFailure {
    let (stage, what) = (stage_of(error), &spec.command);
    let search = env.get(OsStr::new("PATH")).map(OsString::as_os_str);
    match exec_failure::reason(what, spec.cwd.as_deref(), search, error) {
        Some(why) if stage == SpawnStage::Exec => {
            SpawnFailure { stage, errno: error.raw_os_error(), message: redact_text(&format!("{what}: {why}")) }
        }
        _ => failure(stage, what, error),
    }
}

pub(crate) fn failure(stage: SpawnStage, what: &str, error: &io::Error) -> SpawnFailure {
    let message = redact_text(&format!("{what}: {}", exec_failure::description(error)));
    SpawnFailure { stage, errno: error.raw_os_error(), message }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, thread, time::Duration};

    use rustix::process::{WaitOptions, WaitStatus, waitpid};

    use super::*;
    use crate::os::exec_barrier::exec_barrier;

    /// Spawns `spec` and waits for its end. Returns the wait status and the output.
    pub(in crate::os) fn run_to_end(
        spec: &ProcessSpec,
        base_env: Option<BTreeMap<String, String>>,
        child_setup: ChildSetup,
    ) -> Result<(WaitStatus, String), SpawnFailure> {
        let (mut reader, writer) = io::pipe().unwrap();
        let stderr = writer.try_clone().unwrap().into();
        let options =
            SpawnOptions { base_env, child_setup, last_env: Vec::new(), stdin: None, stdout: writer.into(), stderr };
        let child = spawn_with(spec, options)?;
        let (_, status) = waitpid(Some(child.pid()), WaitOptions::empty()).unwrap().unwrap();
        let mut output = String::new();
        // The child has its own copy of the read end, which ends with it.
        reader.read_to_string(&mut output).unwrap();
        Ok((status, output))
    }

    fn shell(script: &str) -> ProcessSpec {
        ProcessSpec::builder().name("n").command("sh").args(["-c", script]).build()
    }

    /// A line of the status of the calling thread (proc_pid_status(5)).
    fn thread_status(name: &str) -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    }

    #[test]
    fn a_program_gets_its_arguments_environment_directory_and_three_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let script = "echo $0 $1 $NAME; pwd; ls /proc/$$/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status";
        let mut spec = shell(script);
        spec.args.extend(["zero".to_owned(), "one".to_owned()]);
        spec.env.insert("NAME".to_owned(), "value".to_owned());
        spec.cwd = Some(dir.clone());
        let before = thread_status("SigBlk");
        let (status, output) = run_to_end(&spec, None, ChildSetup::default()).unwrap();
        assert_eq!((status.exit_status(), thread_status("SigBlk")), (Some(0), before));
        let none = format!("\t{}", "0".repeat(16));
        let expected = format!("zero one value\n{}\n0\n1\n2\nSigBlk:{none}\nSigIgn:{none}\n", dir.display());
        assert_eq!(output, expected);
    }

    #[test]
    fn files_are_tried_as_execvp_does() {
        let dir = tempfile::tempdir().unwrap();
        let [refused, script] = ["refused", "script"].map(|name| {
            let dir = dir.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("program"), "echo by the shell: $1\n").unwrap();
            dir
        });
        fs::set_permissions(script.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        let spec = ProcessSpec::builder().name("n").command("program").args(["argument"]).build();
        let with_path = |dirs: &[&Path]| {
            let path = env::join_paths(dirs).unwrap().into_string().unwrap();
            run_to_end(&spec, Some(BTreeMap::from([("PATH".to_owned(), path)])), ChildSetup::default())
        };
        let missing = Path::new("/no/such");
        let (status, output) = with_path(&[missing, &refused, &script]).unwrap();
        assert_eq!((status.exit_status(), output.as_str()), (Some(0), "by the shell: argument\n"));
        let errno = |dirs: &[&Path]| with_path(dirs).unwrap_err().errno.map(Errno::from_raw);
        assert_eq!(errno(&[&refused, missing]), Some(Errno::EACCES));
        assert_eq!(errno(&[missing]), Some(Errno::ENOENT));
    }

    #[test]
    fn a_failed_spawn_leaves_no_child() {
        let before = thread_status("SigBlk");
        for command in ["/no/such/program", "/", "", "a\0b"] {
            let spec = ProcessSpec { command: command.to_owned(), ..shell("") };
            let failure = run_to_end(&spec, None, ChildSetup::default()).unwrap_err();
            assert_eq!(failure.stage, SpawnStage::Exec, "{command:?}: {}", failure.message);
        }
        assert_eq!(fs::read_to_string("/proc/thread-self/children").unwrap(), "");
        assert_eq!(thread_status("SigBlk"), before);
    }

    #[test]
    fn a_child_does_not_copy_the_table_of_all_descriptors() {
        let many: Vec<OwnedFd> = (0..400).map(|_| null_device().unwrap()).collect();
        let of_child = || {
            let (child_end, parent_end) = exec_barrier().unwrap();
            let child_setup = ChildSetup { exec_barrier: Some(child_end), ..ChildSetup::default() };
            let spawning = thread::spawn(move || run_to_end(&shell("exit 3"), None, child_setup).unwrap());
            let mut number = 0;
            parent_end.admit(|_, child| {
                number = fs::read_dir(format!("/proc/{}/fd", child.pid))?.count();
                Ok(())
            });
            assert_eq!(spawning.join().unwrap().0.exit_status(), Some(3));
            number
        };
        // Other tests may use all reserved numbers for a moment, and a child then copies the whole table.
        assert!((0..20).any(|_| (1..many.len()).contains(&of_child())));
        assert!(many.iter().all(|fd| rustix::fs::fstat(fd).is_ok()), "the table of this process is unchanged");
    }

    /// Memory that only this process has (proc_pid_smaps(5)), in KiB.
    fn private_kib() -> usize {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// With fork(2), the pages would be shared with the child until it executes its program.
    #[test]
    fn the_memory_is_not_copied_for_a_child() {
        let kib = 64 * 1024;
        let memory = vec![1_u8; kib * 1024];
        let (child_end, parent_end) = exec_barrier().unwrap();
        let child_setup = ChildSetup { exec_barrier: Some(child_end), ..ChildSetup::default() };
        let spawning = thread::spawn(move || run_to_end(&shell("exit 3"), None, child_setup).unwrap());
        parent_end.admit(|_, _| {
            // Other tests fork(2) meanwhile.
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while private_kib() < kib && std::time::Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            assert!(private_kib() >= kib);
            Ok(())
        });
        assert_eq!(spawning.join().unwrap().0.exit_status(), Some(3));
        drop(memory);
    }
}
