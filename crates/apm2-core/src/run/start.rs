//! The start of a run: outputs, spawn, exec barrier, and the recorded events.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use apm2_model::{
    event::{
        exit::{SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::StartTrigger,
        origin::EventOrigin,
        requester::Requester,
    },
    policy::joined::JoinedRequest,
    signal::Signal,
    spec::ProcessSpec,
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self},
        watch,
    },
};
use tracing::Instrument as _;

use crate::{
    error::ProcessError,
    os::{
        child::ChildSetup,
        exec_barrier::exec_barrier,
        main_process::MainProcess,
        marker::{Marker, RUN_VARIABLE},
        procfs::{read_identity, stat_path},
        spare_threads,
        spawner::{self, SpawnOptions},
        stdin::open_stdin,
        unreaped_child::UnreapedChild,
    },
    output::{
        destination::{Destination, Filing},
        drain::OutputDrain,
        fd_store::{FdStore, release_run},
        log::{files::LogFiles, log_set::LogSet},
        notice::{NOTICES_WAITING_MAX, OutputNotice},
        pipes::Pipes,
        readers::Readers,
    },
    run::{
        command::COMMANDS_WAITING_MAX,
        instance::{Instance, Unconfirmed},
        run_task::{RunChannels, RunTask},
        runner::{ProcessRunner, RunLink},
        start_env::StartEnv,
    },
};

/// The readers of the outputs, and the write ends of the pipes for the child.
struct ReadyOutputs {
    readers: Readers,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl ProcessRunner {
    /// Starts the process. `origin` may contain the seq of the event that caused the start.
    pub(crate) fn start_as(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        mut start_env: StartEnv,
    ) -> Result<(), ProcessError> {
        let runtime = spawner::runtime()?;
        let shared = self.shared.clone();
        let mut instance = shared.lock();
        startable(&instance)?;
        let known = instance.know(start_env.secrets());
        if let Some(files) = &self.files {
            files.secret_filter.set(known.clone());
        }
        let cause = Some(instance.request_start(origin, trigger, start_env.report.take())?);
        let joined = std::mem::take(&mut start_env.joined);
        let _in_run = self.run_span().entered();
        let origin = EventOrigin::default().caused_by(cause);
        let (spec, handle, run) = {
            let facts = instance.facts();
            (facts.spec.clone(), facts.handle(), facts.marker())
        };
        let marker = run.to_string();
        let files = self.files.as_ref().map(|logs| logs.files(&spec.log, &handle));
        let (notices, noticed) = mpsc::channel(NOTICES_WAITING_MAX);
        let outputs = self.ready_outputs(&runtime, &spec, files.as_ref(), notices);
        let spawned = outputs.and_then(|outputs| self.spawn(&spec, &run, outputs, start_env));
        let confirmed = spawned.and_then(|(readers, child)| {
            let found = find_main_process(child, &runtime)?;
            Ok((readers, found))
        });
        let (readers, found) = match confirmed {
            Ok(found) => found,
            Err(mut failure) => {
                failure.message = known.mask(&failure.message);
                release_run(self.fd_store.as_deref(), &marker);
                let error = ProcessError::SpawnFailed(failure.message.clone());
                instance.record_spawn_failure(&origin, trigger, failure)?;
                return Err(error);
            }
        };
        let main_process = confirm(&mut instance, &origin, trigger, found, &runtime)?;
        // The end of the process cannot be recorded before the lock on the instance is released.
        record_joined(&mut instance, joined, cause);
        self.own_run(&runtime, main_process, Some(readers), noticed, None);
        Ok(())
    }

    /// Creates the pipes and their readers before the spawn, so that a failure to create them leaves no process behind.
    fn ready_outputs(
        &self,
        runtime: &Handle,
        spec: &ProcessSpec,
        files: Option<&LogFiles>,
        notices: mpsc::Sender<Box<OutputNotice>>,
    ) -> Result<ReadyOutputs, SpawnFailure> {
        let failed = |what: &'static str| move |error: io::Error| spawner::failure(SpawnStage::Fork, what, &error);
        let Pipes { mut outputs, stdout, stderr } = Pipes::new(spec.log.is_merged()).map_err(failed("pipes"))?;
        if let Some(files) = files {
            outputs.begin_in(files);
        }
        let readers = Readers::ready(runtime, outputs, &self.destination(notices));
        Ok(ReadyOutputs { readers: readers.map_err(failed("readers of its output"))?, stdout, stderr })
    }

    /// Spawns the process; with a file descriptor store, the read ends are stored there before the program is executed.
    fn spawn(
        &self,
        spec: &ProcessSpec,
        marker: &Marker,
        outputs: ReadyOutputs,
        start_env: StartEnv,
    ) -> Result<(Readers, UnreapedChild), SpawnFailure> {
        let ReadyOutputs { readers, stdout, stderr } = outputs;
        let mut last_env: Vec<(String, OsString)> = start_env.credentials;
        last_env.push((RUN_VARIABLE.to_owned(), marker.variable().into()));
        let StartEnv { base_env, umask, stdin, args, .. } = start_env;
        let own = args.map(|args| ProcessSpec { args, ..spec.clone() });
        let spec = own.as_ref().unwrap_or(spec);
        let stdin = match (stdin, &spec.stdin) {
            (Some(stdin), _) => Some(stdin),
            (None, Some(path)) => Some(open_stdin(path).map_err(|error| {
                spawner::failure(SpawnStage::Stdin, &format!("standard input {}", path.display()), &error)
            })?),
            (None, None) => None,
        };
        let child_setup = ChildSetup { umask, ..ChildSetup::default() };
        let options = SpawnOptions { base_env, child_setup, last_env, stdin, stdout, stderr };
        match &self.fd_store {
            Some(fd_store) => spawn_held(spec, options, &marker.to_string(), Arc::clone(fd_store), readers),
            None => Ok((readers, spawner::spawn_with(spec, options)?)),
        }
    }

    /// Records a start that failed before the spawn.
    pub(crate) fn fail_start(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        failure: SpawnFailure,
    ) -> Result<(), ProcessError> {
        let mut instance = self.shared.lock();
        startable(&instance)?;
        let cause = Some(instance.request_start(origin, trigger, None)?);
        instance.record_spawn_failure(&EventOrigin::default().caused_by(cause), trigger, failure)
    }

    /// Starts the task that owns the run. Call it in the span of the run.
    pub(crate) fn own_run(
        &mut self,
        runtime: &Handle,
        main_process: MainProcess,
        readers: Option<Readers>,
        noticed: mpsc::Receiver<Box<OutputNotice>>,
        found_ended: Option<Requester>,
    ) {
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (set_finished, finished) = watch::channel(false);
        let channels = RunChannels { commands: received, finished: set_finished, noticed };
        let fd_store = self.fd_store.clone();
        let drains = readers.map_or_else(OutputDrain::none, Readers::start);
        let run = RunTask::new(self.shared.clone(), main_process, drains, channels, fd_store);
        let run = run.resumed(found_ended).heard_by(self.end_observer.clone());
        runtime.spawn(run.own().in_current_span());
        self.run = Some(RunLink { commands, finished });
    }

    pub(crate) fn destination(&self, notices: mpsc::Sender<Box<OutputNotice>>) -> Destination {
        let Some(logs) = &self.files else { return Destination::Subscriber(self.subscriber.clone()) };
        let (spec, handle, clock) = {
            let facts = self.shared.facts();
            (facts.spec.clone(), facts.handle(), Arc::clone(&facts.clock))
        };
        let files = logs.files(&spec.log, &handle);
        logs.meter.begin(&clock.now());
        Destination::Files(Filing {
            threads: Arc::downgrade(&logs.threads),
            meter: Arc::clone(&logs.meter),
            log_set: Arc::new(LogSet::new(files, spec.log.clone(), Arc::clone(&logs.secret_filter))),
            clock,
            notices,
        })
    }
}

/// Spawns a process that waits before execve(2) until `fd_store` has stored its pidfd and its outputs, or has failed to
/// store them.
fn spawn_held(
    spec: &ProcessSpec,
    mut options: SpawnOptions,
    marker: &str,
    fd_store: Arc<dyn FdStore>,
    readers: Readers,
) -> Result<(Readers, UnreapedChild), SpawnFailure> {
    let (exec_barrier, parent_end) =
        exec_barrier().map_err(|error| spawner::failure(SpawnStage::Fork, "pipes", &error))?;
    options.child_setup.exec_barrier = Some(exec_barrier);
    let marker = marker.to_owned();
    let (give_back, given_back) = std::sync::mpsc::sync_channel(1);
    // The spawn returns only after execve(2), so another thread must open the barrier. The blocking threads of the runtime are not
    // used for this: if none were free, the spawn would wait for one.
    let opening = move || {
        parent_end.admit(|pidfd, identity| fd_store.hold(&marker, &readers.stored_outputs(), pidfd.as_fd(), identity));
        // The receiver is gone if the spawn has failed.
        let _ = give_back.send(readers);
    };
    spare_threads::run(opening).map_err(|error| spawner::failure(SpawnStage::Fork, "a thread", &error))?;
    let spawned = spawner::spawn_with(spec, options)?;
    let readers = given_back.recv().map_err(|_| {
        let error = io::Error::other("the thread that opens the exec barrier has ended");
        spawner::failure(SpawnStage::Fork, &spec.command, &error)
    })?;
    Ok((readers, spawned))
}

/// Refuses a start that the state does not allow.
fn startable(instance: &Instance) -> Result<(), ProcessError> {
    let facts = instance.facts();
    facts.check_recording()?;
    if facts.state().has_exited() { Ok(()) } else { Err(facts.refusal("start")) }
}

/// A process that was spawned and is not recorded yet.
struct SpawnedMain {
    main_process: MainProcess,
    identity: ProcessIdentity,
    child: UnreapedChild,
}

/// Reads the identity of the process. A process whose identity cannot be read is killed.
fn find_main_process(child: UnreapedChild, runtime: &Handle) -> Result<SpawnedMain, SpawnFailure> {
    let main_process = MainProcess::child(child.pid());
    match read_identity(main_process.group()) {
        Ok(identity) => Ok(SpawnedMain { main_process, identity, child }),
        Err(error) => {
            let file = stat_path(main_process.group());
            kill_unrecorded(main_process, child, runtime);
            Err(spawner::failure(SpawnStage::Fork, &file, &error))
        }
    }
}

/// Records that the process runs. If that fails, the process is killed, so that no unrecorded process runs.
fn confirm(
    instance: &mut Instance,
    origin: &EventOrigin,
    trigger: StartTrigger,
    found: SpawnedMain,
    runtime: &Handle,
) -> Result<MainProcess, ProcessError> {
    let SpawnedMain { main_process, identity, child } = found;
    match instance.record_started(origin, trigger, identity, child) {
        Ok(()) => Ok(main_process),
        Err(Unconfirmed { error, child }) => {
            kill_unrecorded(main_process, child, runtime);
            instance.note_killed();
            Err(error)
        }
    }
}

/// Records the requests that joined the start `cause`. The process runs on if that fails: the ledger is then poisoned.
fn record_joined(instance: &mut Instance, joined: Vec<JoinedRequest>, cause: Option<u64>) {
    for request in joined {
        let (origin, kind) = request.event(cause);
        if let Err(error) = instance.record(&origin, vec![kind]) {
            tracing::error!(%error, "a request that joined a start could not be recorded");
        }
    }
}

fn kill_unrecorded(main_process: MainProcess, child: UnreapedChild, runtime: &Handle) {
    let pid = main_process.group();
    if let Err(error) = main_process.signal_group(Signal::KILL, &[]) {
        tracing::error!(pid, %error, "a process that could not be recorded could not be killed");
    }
    runtime.spawn(async move {
        main_process.ended().await;
        if let Err(error) = child.reap() {
            tracing::debug!(pid, %error, "the process was already reaped elsewhere in this supervisor");
        }
    });
}
