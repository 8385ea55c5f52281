//! The start of a run: outputs, spawn, exec barrier, and the record of it.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::Stdio,
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
    signal::Signal,
    spec::ProcessSpec,
};
use tokio::{
    process::Child,
    runtime::Handle,
    sync::{
        mpsc::{self},
        watch,
    },
};
use tracing::{Instrument as _, Span};

use crate::{
    error::ProcessError,
    os::{
        child::ChildSetup,
        exec_barrier::exec_barrier,
        group::{Marker, RUN_VARIABLE},
        main_process::MainProcess,
        procfs::identify,
        spawner::{self, SpawnOptions, SpawnedProcess},
        stdin::open_stdin,
    },
    output::{
        destination::{Destination, Filing},
        drain::OutputDrain,
        fd_store::{FdStore, let_go},
        log::{files::LogFiles, sink::LogSet},
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

/// Outputs that are ready to be read, and their other ends.
struct ReadyOutputs {
    readers: Readers,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl ProcessRunner {
    /// Starts the process as a consequence of a recorded event.
    pub(crate) fn start_as(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        given: StartEnv,
    ) -> Result<(), ProcessError> {
        let runtime = spawner::runtime()?;
        let shared = self.shared.clone();
        let mut instance = shared.lock();
        startable(&instance)?;
        let known = instance.know(given.secrets());
        if let Some(files) = &self.files {
            files.secret_filter.set(known.clone());
        }
        let cause = Some(instance.request_start(origin, trigger)?);
        let _in_run = self.run_span().entered();
        let origin = EventOrigin::default().caused_by(cause);
        let (spec, handle, run) = {
            let facts = instance.facts();
            (Arc::clone(&facts.spec), facts.handle(), facts.marker())
        };
        let marker = run.to_string();
        let files = self.files.as_ref().map(|logs| logs.files(&spec.log, &handle));
        let (notices, noticed) = mpsc::channel(NOTICES_WAITING_MAX);
        let outputs = self.ready_outputs(&runtime, &spec, files.as_ref(), notices);
        let spawned = outputs.and_then(|outputs| self.spawn(&spec, &run, outputs, given));
        let confirmed = spawned.and_then(|(readers, spawned)| {
            let found = find_main_process(spawned, &runtime)?;
            Ok((readers, found))
        });
        let (readers, found) = match confirmed {
            Ok(found) => found,
            Err(mut failure) => {
                failure.message = known.mask(&failure.message);
                let_go(self.holder.as_deref(), &marker);
                let error = ProcessError::SpawnFailed(failure.message.clone());
                instance.record_spawn_failure(&origin, trigger, failure)?;
                return Err(error);
            }
        };
        let main_process = confirm(&mut instance, &origin, trigger, found, &runtime)?;
        self.own_run(&runtime, main_process, Some(readers), noticed, None);
        Ok(())
    }

    /// Makes the pipes and all that is needed to read them: nothing of that can fail any more once there is a process.
    fn ready_outputs(
        &self,
        runtime: &Handle,
        spec: &ProcessSpec,
        files: Option<&LogFiles>,
        notices: mpsc::Sender<OutputNotice>,
    ) -> Result<ReadyOutputs, SpawnFailure> {
        let failed = |what: &'static str| move |error: io::Error| spawner::failure(SpawnStage::Fork, what, &error);
        let Pipes { mut outputs, stdout, stderr } = Pipes::new(spec.log.is_merged()).map_err(failed("pipes"))?;
        if let Some(files) = files {
            outputs.begin_in(files);
        }
        let readers = Readers::ready(runtime, outputs, &self.destination(notices));
        Ok(ReadyOutputs { readers: readers.map_err(failed("readers of its output"))?, stdout, stderr })
    }

    /// Has the pipes held, and spawns the process with them.
    fn spawn(
        &self,
        spec: &ProcessSpec,
        marker: &Marker,
        outputs: ReadyOutputs,
        given: StartEnv,
    ) -> Result<(Readers, SpawnedProcess), SpawnFailure> {
        let ReadyOutputs { readers, stdout, stderr } = outputs;
        let mut last_env: Vec<(String, OsString)> = given.credentials;
        last_env.push((RUN_VARIABLE.to_owned(), marker.variable().into()));
        let StartEnv { base_env, umask, stdin, .. } = given;
        let stdin = match (stdin, &spec.stdin) {
            (Some(stdin), _) => stdin.into(),
            (None, Some(path)) => open_stdin(path).map(Stdio::from).map_err(|error| {
                spawner::failure(SpawnStage::Stdin, &format!("standard input {}", path.display()), &error)
            })?,
            (None, None) => Stdio::null(),
        };
        let passage = ChildSetup { umask, ..ChildSetup::default() };
        let (stdout, stderr) = (stdout.into(), stderr.into());
        let surroundings = SpawnOptions { base_env, passage, last_env, stdin, stdout, stderr };
        match &self.holder {
            Some(holder) => spawn_held(spec, surroundings, &marker.to_string(), Arc::clone(holder), readers),
            None => Ok((readers, spawner::spawn_with(spec, surroundings)?)),
        }
    }

    /// Records a start that failed before there was anything to spawn.
    pub(crate) fn fail_start(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        failure: SpawnFailure,
    ) -> Result<(), ProcessError> {
        let mut instance = self.shared.lock();
        startable(&instance)?;
        let cause = Some(instance.request_start(origin, trigger)?);
        instance.record_spawn_failure(&EventOrigin::default().caused_by(cause), trigger, failure)
    }

    /// Hands a run to the task that owns it. To be called in the span of the run.
    pub(crate) fn own_run(
        &mut self,
        runtime: &Handle,
        main_process: MainProcess,
        readers: Option<Readers>,
        noticed: mpsc::Receiver<OutputNotice>,
        found_ended: Option<Requester>,
    ) {
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (told, finished) = watch::channel(false);
        let channels = RunChannels { commands: received, finished: told, noticed };
        let holder = self.holder.clone();
        let drains = readers.map_or_else(OutputDrain::none, Readers::start);
        let run = RunTask::new(self.shared.clone(), main_process, drains, channels, holder).resumed(found_ended);
        runtime.spawn(run.own().in_current_span());
        self.run = Some(RunLink { commands, finished });
    }

    pub(crate) fn destination(&self, notices: mpsc::Sender<OutputNotice>) -> Destination {
        let Some(logs) = &self.files else { return Destination::Subscriber(self.subscriber.clone()) };
        let (spec, handle, clock) = {
            let facts = self.shared.facts();
            (Arc::clone(&facts.spec), facts.handle(), Arc::clone(&facts.clock))
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

/// Spawns a process that does not become its program before `holder` has it with its outputs, or has refused to.
fn spawn_held(
    spec: &ProcessSpec,
    mut surroundings: SpawnOptions,
    marker: &str,
    holder: Arc<dyn FdStore>,
    readers: Readers,
) -> Result<(Readers, SpawnedProcess), SpawnFailure> {
    let (exec_barrier, keeper) = exec_barrier().map_err(|error| spawner::failure(SpawnStage::Fork, "pipes", &error))?;
    surroundings.passage.exec_barrier = Some(exec_barrier);
    let marker = marker.to_owned();
    let span = Span::current();
    let (give_back, given_back) = std::sync::mpsc::sync_channel(1);
    // The spawn returns after the exec, so somebody else has to open the gate: a thread that nothing else can keep busy.
    let opening = move || {
        span.in_scope(|| {
            keeper.admit(|pidfd, identity| holder.hold(&marker, &readers.to_hold(), pidfd.as_fd(), identity));
        });
        // Nobody waits for it when the spawn has failed.
        let _ = give_back.send(readers);
    };
    let opener = std::thread::Builder::new().name("apm2-gate".to_owned()).spawn(opening);
    opener.map_err(|error| spawner::failure(SpawnStage::Fork, "a thread", &error))?;
    let spawned = spawner::spawn_with(spec, surroundings)?;
    let readers = given_back.recv().map_err(|_| {
        let error = io::Error::other("the thread at its gate is gone");
        spawner::failure(SpawnStage::Fork, &spec.command, &error)
    })?;
    Ok((readers, spawned))
}

/// Refuses a start that does not fit the state.
fn startable(instance: &Instance) -> Result<(), ProcessError> {
    let facts = instance.facts();
    facts.check_recording()?;
    if facts.state().has_exited() { Ok(()) } else { Err(facts.refusal("start")) }
}

/// A process that was spawned and is not on record yet.
struct Found {
    main_process: MainProcess,
    identity: ProcessIdentity,
    child: Box<Child>,
}

/// Learns what tells the process from all others. One of which that cannot be known is killed.
fn find_main_process(spawned: SpawnedProcess, runtime: &Handle) -> Result<Found, SpawnFailure> {
    let SpawnedProcess { child, pid } = spawned;
    let mut child = Box::new(child);
    match (MainProcess::child(pid), identify(pid)) {
        (Some(main_process), Some(identity)) => Ok(Found { main_process, identity, child }),
        (Some(main_process), None) => {
            kill_unrecorded(&main_process, child, runtime);
            Err(spawner::failure(SpawnStage::Fork, &format!("/proc/{pid}/stat"), &io::Error::other("cannot be read")))
        }
        (None, _) => {
            let killed = child.start_kill();
            Err(spawner::failure(
                SpawnStage::Fork,
                &format!("{pid} is no pid"),
                &killed.err().unwrap_or_else(not_a_pid),
            ))
        }
    }
}

fn not_a_pid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// Records that the process is there. If that fails it is killed: nothing runs unrecorded.
fn confirm(
    instance: &mut Instance,
    origin: &EventOrigin,
    trigger: StartTrigger,
    found: Found,
    runtime: &Handle,
) -> Result<MainProcess, ProcessError> {
    let Found { main_process, identity, child } = found;
    match instance.record_started(origin, trigger, identity, *child) {
        Ok(()) => Ok(main_process),
        Err(Unconfirmed { error, child }) => {
            kill_unrecorded(&main_process, child, runtime);
            instance.note_killed();
            Err(error)
        }
    }
}

fn kill_unrecorded(main_process: &MainProcess, mut child: Box<Child>, runtime: &Handle) {
    if let Err(error) = main_process.signal_group(Signal::KILL, &[]) {
        tracing::error!(pid = main_process.group(), %error, "a process that could not be recorded could not be killed");
    }
    runtime.spawn(async move { child.wait().await });
}
