//! Resumes the run of an earlier supervisor, based on what can be observed now.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use apm2_model::{
    clock::boot_id,
    event::{
        actor::Actor,
        exit::{Evidence, Exit, RunEnd},
        identity::ProcessIdentity,
        kind::EventKind,
        origin::EventOrigin,
        requester::Requester,
        timestamp::Timestamp,
    },
    spec::redact::known::Known,
};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    blocking,
    error::ProcessError,
    os::{
        child,
        exec_barrier::was_not_admitted,
        main_process::MainProcess,
        marker::Marker,
        procfs::{ProcessStatus, is_in_another_namespace, status_of},
        spawner,
    },
    output::{
        drain::OutputDrain,
        fd_store::{FdStore, StoredRun, release_run},
        notice::{NOTICES_WAITING_MAX, OutputNotice},
        readers::Readers,
        source::Outputs,
    },
    run::{
        instance::Instance,
        runner::{ProcessRunner, invalid},
    },
};

/// How long to wait until a forked child has executed its program.
const EXEC_WAIT: Duration = Duration::from_secs(2);

/// Interval between two checks during [`EXEC_WAIT`].
const EXEC_POLL: Duration = Duration::from_millis(5);

/// The outcome of resuming the latest run of an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// No run was open, so there was nothing to resume.
    Nothing,
    /// The process is alive and is supervised from here on.
    Adopted,
    /// The process has ended. The end is being recorded.
    Ended,
    /// The process was never started, or ended before it executed its program.
    NeverStarted,
}

impl ProcessRunner {
    /// Resumes a run that an earlier supervisor left open. An exit that cannot be observed is recorded as unknown.
    ///
    /// A process that is alive is supervised as if it had been started here, and reading of its output continues. If
    /// the process has ended, the run task records the end, and [`wait`](Self::wait) returns after that.
    ///
    /// `watched_until` is the last time at which a supervisor is known to have run. If the process has ended, its end
    /// is recorded as later than this time.
    pub(crate) fn resume(&mut self, watched_until: Option<Timestamp>) -> Result<Resumed, ProcessError> {
        let runtime = spawner::runtime()?;
        let shared = self.shared.clone();
        let mut instance = shared.lock();
        let Some(stream) = instance.stream().cloned() else { return Ok(Resumed::Nothing) };
        let _in_run = self.run_span().entered();
        let marker = instance.facts().marker();
        let stored = self.stored_run(&marker.to_string());
        let identity = match stream.intent {
            Some(intent) => {
                let origin = EventOrigin::of(Actor::Recovery).caused_by(Some(intent.seq));
                let Some(identity) = find_started(&marker, stored.as_ref())? else {
                    let starting = EventKind::Starting { identity: None, trigger: intent.trigger };
                    let crashed = EventKind::Crashed { cause: RunEnd::NeverConfirmed };
                    instance.record(&origin, vec![starting, crashed])?;
                    return Ok(Resumed::NeverStarted);
                };
                let starting = EventKind::Starting { identity: Some(identity), trigger: intent.trigger };
                instance.record(&origin, vec![starting, EventKind::Running])?;
                Some(identity)
            }
            None if stream.handle.state.has_exited() => return Ok(Resumed::Nothing),
            None => stream.identity,
        };
        let identity = identity.ok_or_else(|| invalid("a run without a process that has not ended"))?;
        let (outputs, pidfd) = match stored {
            Some(StoredRun { outputs, pidfd, .. }) => (Outputs::of(outputs), Some(pidfd)),
            None => (None, None),
        };
        // Without a file descriptor store, the pipes are reopened through the process, which has their write ends open.
        let outputs = outputs.or_else(|| Outputs::of_process(&identity));
        let found = observe(&identity, pidfd.as_ref());
        if found == ProcessStatus::Unverifiable {
            return Err(unverifiable(&identity));
        }
        let main_process =
            MainProcess::adopted(identity, pidfd).ok_or_else(|| invalid("a run whose pid cannot be one"))?;
        let found_ended = if found == ProcessStatus::Alive {
            instance.record(&EventOrigin::of(Actor::Recovery), vec![EventKind::Adopted { identity }])?;
            None
        } else {
            let (began, not_after) = (stream.run_started, instance.facts().clock.now());
            instance.unobserved = later(watched_until, began).map(|not_before| (not_before, not_after));
            Some(Requester { actor: Actor::Recovery, reason: reason_of_absence(&identity) })
        };
        let alive = found_ended.is_none().then_some(identity.pid);
        self.mask_values_of(&mut instance, alive);
        let (notices, noticed) = mpsc::channel(NOTICES_WAITING_MAX);
        let readers = outputs.and_then(|outputs| self.resumed_readers(&runtime, outputs, notices));
        self.own_run(&runtime, main_process, readers, noticed, found_ended.clone());
        Ok(if found_ended.is_some() { Resumed::Ended } else { Resumed::Adopted })
    }

    /// Creates readers for the outputs of a resumed run. If that fails, the run is supervised without them, and the
    /// loss of its output is recorded.
    fn resumed_readers(
        &self,
        runtime: &Handle,
        outputs: Outputs,
        notices: mpsc::Sender<Box<OutputNotice>>,
    ) -> Option<Readers> {
        let sources: Vec<_> = outputs.0.iter().map(|output| output.source).collect();
        let ready = Readers::ready(runtime, outputs, &self.destination(notices.clone()));
        ready
            .inspect_err(|error| {
                tracing::error!(%error, "the output of a resumed run cannot be read");
                for source in sources {
                    let cause = format!("it cannot be read: {error}");
                    // Sending cannot fail, because the queue is empty.
                    let _ = notices.try_send(Box::new(OutputNotice::Dropping { source, cause }));
                }
            })
            .ok()
    }

    /// Continues to read the output of the latest run. For a run that had ended before its supervisor ended, but whose
    /// output was not read completely. The end of the run is already recorded, so no more events are recorded for it.
    ///
    /// # Errors
    /// The outputs cannot be read.
    pub(crate) fn begin_rest(&self) -> Result<Option<Rest>, ProcessError> {
        let runtime = spawner::runtime()?;
        let _in_run = self.run_span().entered();
        let marker = self.shared.facts().marker().to_string();
        let Some(StoredRun { outputs, .. }) = self.stored_run(&marker) else { return Ok(None) };
        let (notices, _) = mpsc::channel(NOTICES_WAITING_MAX);
        let drains = match Outputs::of(outputs) {
            Some(outputs) => Readers::ready(&runtime, outputs, &self.destination(notices))?.start(),
            None => OutputDrain::none(),
        };
        Ok(Some(Rest { drains, marker, fd_store: self.fd_store.clone() }))
    }

    /// Reads the secret values of a process that an earlier supervisor started from `/proc/pid/environ`. If they cannot all be
    /// read, the output of the process is not shown.
    fn mask_values_of(&self, instance: &mut Instance, pid: Option<u32>) {
        let spec = instance.facts().spec.clone();
        let environ = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/environ")).ok());
        let entries = environ.as_deref().unwrap_or_default().split(|byte| *byte == 0).filter_map(|entry| {
            let entry = String::from_utf8_lossy(entry);
            entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        let found: BTreeMap<String, String> = entries.collect();
        let credentials: Vec<&String> = spec.credentials.iter().flat_map(|config| config.variables.keys()).collect();
        let values = |names: Vec<&String>| -> Vec<(String, String)> {
            names.into_iter().filter_map(|name| Some((name.clone(), found.get(name)?.clone()))).collect()
        };
        let (of_spec, of_credentials) = (values(spec.env.keys().collect()), values(credentials.clone()));
        // A process may overwrite its environment (`proc_pid_environ(5)`).
        let is_complete = of_spec.len() == spec.env.len() && of_credentials.len() == credentials.len();
        let secrets = Known::of(of_spec.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let secrets = secrets.with_credentials(of_credentials.iter().map(|(_, value)| value.as_str()));
        let known = instance.know(secrets);
        let Some(files) = &self.files else { return };
        if is_complete || (found.is_empty() && credentials.is_empty()) {
            files.secret_filter.set(known);
        } else {
            files.secret_filter.forget();
        }
    }
}

/// The remaining output of an ended run, which is still being read.
pub(crate) struct Rest {
    drains: OutputDrain,
    marker: String,
    fd_store: Option<Arc<dyn FdStore>>,
}

impl Rest {
    /// Waits until all output is read, and then releases the descriptors of the run in the file descriptor store.
    pub(crate) async fn finish(self) {
        let Self { drains, marker, fd_store } = self;
        drains.finish().await;
        let released = blocking::step(move || release_run(fd_store.as_deref(), &marker)).await;
        if let Err(error) = released {
            tracing::debug!(%error, "an ended run could not be released in the file descriptor store");
        }
    }
}

/// Finds the process of a start whose outcome was not recorded: the process in the file descriptor store, or else the
/// process with the marker of the run.
///
/// A child that is found in neither way is still at its exec barrier and ends there. Without a store, a child that has
/// not executed its program yet is not found.
fn find_started(marker: &Marker, stored: Option<&StoredRun>) -> io::Result<Option<ProcessIdentity>> {
    match stored {
        Some(stored) => Ok(has_begun(marker, stored).then_some(stored.identity)),
        None => marker.main_process(),
    }
}

/// Whether a forked child has executed its program: it has its marker, or it has ended in another way than at its exec
/// barrier. Returns `true` for a process that may not be examined.
fn has_begun(marker: &Marker, StoredRun { pidfd, identity, .. }: &StoredRun) -> bool {
    let began = Instant::now();
    loop {
        match observe(identity, Some(pidfd)) {
            ProcessStatus::Unverifiable => return true,
            ProcessStatus::Alive if marker.is_carried_by(identity.pid) || began.elapsed() > EXEC_WAIT => return true,
            ProcessStatus::Alive => thread::sleep(EXEC_POLL),
            ProcessStatus::Zombie(exit) => return !was_not_admitted(&exit),
            ProcessStatus::Gone => {
                // Before Linux 6.15, a pidfd does not keep the exit status of a reaped process (`PIDFD_INFO_EXIT`). It
                // is then unknown whether the program was executed.
                let status = child::reaped_status(pidfd.as_fd()).map(ExitStatus::from_raw);
                let exit = status.map(|status| Exit::from_status(status, Evidence::Recovered));
                return exit.is_some_and(|exit| !was_not_admitted(&exit));
            }
        }
    }
}

/// The status of a process, read through its stored pidfd. If there is no pidfd or the process has ended, the status is
/// read through its pid.
fn observe(identity: &ProcessIdentity, pidfd: Option<&OwnedFd>) -> ProcessStatus {
    match (pidfd.and_then(|pidfd| child::has_ended(pidfd.as_fd())), status_of(identity)) {
        (Some(false), _) => ProcessStatus::Alive,
        (Some(true), ProcessStatus::Unverifiable) => ProcessStatus::Gone,
        // The run belongs to another pid namespace. `Supervisor::out_of_sight` has checked before that no process in
        // that namespace is alive.
        (None, ProcessStatus::Unverifiable) if is_in_another_namespace(identity) => ProcessStatus::Gone,
        (_, observed) => observed,
    }
}

fn unverifiable(identity: &ProcessIdentity) -> ProcessError {
    let pid = identity.pid;
    invalid(&format!(
        "process {pid} cannot be seen from here, so it is not known whether it is alive; it is left alone. Run the daemon as the \
         user of the process or as root, or mount /proc without hidepid, and it is taken over"
    ))
}

/// The later of two timestamps. Timestamps of one boot are compared by the boot clock, others by the wall clock.
fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let is_later = if a.boot_id == b.boot_id { a.boot_ns >= b.boot_ns } else { a.wall_ns >= b.wall_ns };
    Some(if is_later { a } else { b })
}

/// Why the process is gone, if the reason is a reboot or another pid namespace.
fn reason_of_absence(identity: &ProcessIdentity) -> Option<String> {
    if identity.boot_id != boot_id() {
        return Some("the machine was restarted".to_owned());
    }
    is_in_another_namespace(identity).then(|| "it ran in another pid namespace".to_owned())
}
