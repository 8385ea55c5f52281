//! Hook commands: health check scripts, pre-stop commands, and commands that print credentials. Each has a time limit and is
//! not supervised.

use std::{
    ffi::OsStr,
    io,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use apm2_model::signal::Signal;
use rustix::process::Pid;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdout, Command},
    runtime::Handle,
    time::timeout,
};

use crate::{
    blocking,
    os::{
        child::{self, ChildSetup},
        group,
        main_process::MainProcess,
        spawner::allowed_variables,
    },
};

/// Largest size of the captured output of a hook command, in bytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// How long the remaining output of a hook command is read after the command has ended and its process group is gone.
const READ_REST_MAX: Duration = Duration::from_millis(250);

/// Whether the captured output may have been cut, because it has the largest size that is captured.
pub(crate) fn is_cut(printed: &[u8]) -> bool {
    u64::try_from(printed.len()).is_ok_and(|bytes| bytes >= OUTPUT_BYTES_MAX)
}

/// Builds the command. It runs in a new session with the inherited part of this process's environment.
pub(crate) fn command<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(allowed_variables());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    // The child is killed together with its supervisor, because its result is then of no use.
    child::isolate(&mut command, ChildSetup { dies_with_us: true, ..ChildSetup::default() });
    command
}

/// Runs the command within the time limit `limit`, and kills the processes that remain in its process group. Returns
/// the beginning of its stdout.
///
/// # Errors
/// A message: the command cannot be run, fails, or takes too long.
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) async fn run(command: Command, limit: Duration) -> Result<Vec<u8>, String> {
    let mut printed = Printed::default();
    run_into(command, limit, &mut printed).await.map(|()| printed.stdout)
}

/// The captured beginning of the output of a command.
#[derive(Default)]
pub(crate) struct Printed {
    pub(crate) stdout: Vec<u8>,
    /// Nothing is captured where the output of the command is not a pipe.
    pub(crate) stderr: Vec<u8>,
}

/// Like [`run`], but stores the output in `printed`, also after an error.
///
/// # Errors
/// Those of [`run`].
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) async fn run_into(mut command: Command, limit: Duration, printed: &mut Printed) -> Result<(), String> {
    let started =
        blocking::step(move || HookProcess::start(&mut command)).await.map_err(|error| format!("panicked: {error}"))?;
    let mut hook = started?;
    let outputs = hook.child.as_mut().map_or((None, None), |child| (child.stdout.take(), child.stderr.take()));
    match timeout(limit, hook.outcome(outputs, printed)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed: {status}")),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Err(_) => Err(format!("took longer than {}", humantime::format_duration(limit))),
    }
}

/// A running hook command with its process group. Dropping it kills the group.
struct HookProcess {
    main_process: Arc<MainProcess>,
    /// The unreaped child; `None` once the child was reaped, because the id of its process group may then be reused.
    child: Option<Child>,
}

impl HookProcess {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(main_process) = pid.map(MainProcess::child) else { return Err("has no pid".to_owned()) };
        Ok(Self { main_process: Arc::new(main_process), child: Some(child) })
    }

    async fn outcome(
        &mut self,
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
        printed: &mut Printed,
    ) -> io::Result<ExitStatus> {
        {
            let Printed { stdout: from_stdout, stderr: from_stderr } = printed;
            let mut reading = pin!(async { tokio::try_join!(read(stdout, from_stdout), read(stderr, from_stderr)) });
            // Waits for the end of the process. Does not wait for the end of its output, because a descendant may hold
            // the output open.
            let is_read = tokio::select! {
                _ = self.main_process.ended() => false,
                read = &mut reading => {
                    read?;
                    true
                }
            };
            if is_read {
                self.main_process.ended().await;
            }
            self.clear().await;
            if !is_read {
                // The output of the command is completely in the pipe. Only a process that left the process group can
                // still hold the pipe open.
                let _ = timeout(READ_REST_MAX, reading).await;
            }
        }
        let Some(child) = &mut self.child else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }

    /// Kills the remaining processes of the group and the session.
    async fn clear(&self) {
        let main_process = Arc::clone(&self.main_process);
        if let Err(error) = blocking::step(move || clear(&main_process)).await {
            tracing::debug!(%error, "the processes that a hook command left behind were not all killed");
        }
    }
}

impl Drop for HookProcess {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let main_process = Arc::clone(&self.main_process);
        let end = move || {
            clear(&main_process);
            // Dropped last, because the runtime reaps a child when it is dropped.
            drop(child);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Kills the remaining processes of the group and the session. The leader is not reaped yet, so the kernel does not
/// reuse their id.
fn clear(main_process: &MainProcess) {
    let members = group::members(main_process.group()).unwrap_or_default();
    let apart = members.iter().filter(|member| !member.in_group);
    let killed = apart.map(|member| member.signal(Signal::KILL));
    let killed = killed.chain([main_process.signal_group(Signal::KILL, &members)]);
    for error in killed.filter_map(Result::err) {
        tracing::debug!(%error, "a process that a hook command left behind could not be killed");
    }
}

/// Reads the output to its end and stores its beginning. A command that prints more therefore does not block.
async fn read(pipe: Option<impl AsyncRead + Unpin>, printed: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(printed).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(())
}
