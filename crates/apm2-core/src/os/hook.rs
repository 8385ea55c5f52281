//! Programs that a supervisor runs for itself: checks, commands before a stop, and those that print credentials. They are
//! nobody's business but its own, and never outlive their time.

use std::{
    ffi::OsStr,
    io,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use apm2_model::signal::Signal;
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

/// What is kept of what such a program prints, in bytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// How long the rest of its output is read, once it has ended and its group is gone.
const READ_REST_MAX: Duration = Duration::from_millis(250);

/// Whether what was kept of an output may lack its end.
pub(crate) fn is_cut(printed: &[u8]) -> bool {
    u64::try_from(printed.len()).is_ok_and(|bytes| bytes >= OUTPUT_BYTES_MAX)
}

/// The command, in a session of its own, with the allowed part of our environment.
pub(crate) fn command<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(allowed_variables());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    // A check or a last word of a supervisor that is gone is of no use to the next one.
    child::isolate(&mut command, ChildSetup { dies_with_us: true, ..ChildSetup::default() });
    command
}

/// Runs the command within `limit`, and kills what is left of its group. Gives the beginning of what it printed.
///
/// # Errors
/// In words, when it cannot be run, fails, or takes too long.
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) async fn run(command: Command, limit: Duration) -> Result<Vec<u8>, String> {
    let mut printed = Printed::default();
    run_into(command, limit, &mut printed).await.map(|()| printed.stdout)
}

/// What a program printed: the beginning of it.
#[derive(Default)]
pub(crate) struct Printed {
    pub(crate) stdout: Vec<u8>,
    /// Empty where the command does not pipe it.
    pub(crate) stderr: Vec<u8>,
}

/// The same, and keeps what was printed however it ends.
///
/// # Errors
/// As of [`run`].
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) async fn run_into(mut command: Command, limit: Duration, printed: &mut Printed) -> Result<(), String> {
    let started =
        blocking::step(move || Helper::start(&mut command)).await.map_err(|error| format!("broke off: {error}"))?;
    let mut hook = started?;
    let outputs = hook.child.as_mut().map_or((None, None), |child| (child.stdout.take(), child.stderr.take()));
    match timeout(limit, hook.outcome(outputs, printed)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed: {status}")),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Err(_) => Err(format!("took longer than {}", humantime::format_duration(limit))),
    }
}

/// A program with its group, which is gone when this is.
struct Helper {
    main_process: Arc<MainProcess>,
    /// `None` once it was reaped: the id of its group may be anybody's from then on.
    child: Option<Child>,
}

impl Helper {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
        let Some(main_process) = child.id().and_then(MainProcess::child) else { return Err("has no pid".to_owned()) };
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
            // Its end is waited for, and not that of its output: whoever it started may hold that for ever.
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
                // What was printed is in the pipe. Nobody holds that any more who did not leave the group.
                let _ = timeout(READ_REST_MAX, reading).await;
            }
        }
        let Some(child) = &mut self.child else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }

    /// Kills what is left of the group and the session.
    async fn clear(&self) {
        let main_process = Arc::clone(&self.main_process);
        if let Err(error) = blocking::step(move || clear(&main_process)).await {
            tracing::debug!(%error, "what a program of our own left was not cleared away");
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let main_process = Arc::clone(&self.main_process);
        let end = move || {
            clear(&main_process);
            // Not before that: from then on it is reaped.
            drop(child);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Kills what is left of the group and the session. The leader is not reaped yet, so their id is its own (law 6).
fn clear(main_process: &MainProcess) {
    let members = group::members(main_process.group()).unwrap_or_default();
    let apart = members.iter().filter(|member| !member.in_group);
    let killed = apart.map(|member| member.signal(Signal::KILL));
    let killed = killed.chain([main_process.signal_group(Signal::KILL, &members)]);
    for error in killed.filter_map(Result::err) {
        tracing::debug!(%error, "what a program of our own left could not be killed");
    }
}

/// Reads to the end, and keeps the beginning: who prints more is not to be stopped by that.
async fn read(pipe: Option<impl AsyncRead + Unpin>, printed: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(printed).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(())
}
