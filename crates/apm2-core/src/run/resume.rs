//! Taking up the run that an earlier supervisor left, by what can be learned of it now.

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
        exec_barrier::was_shut_out,
        group::Marker,
        main_process::MainProcess,
        procfs::{ProcessStatus, is_in_another_namespace, status_of},
        spawner,
    },
    output::{
        drain::OutputDrain,
        fd_store::{FdStore, StoredRun, let_go},
        notice::{NOTICES_WAITING_MAX, OutputNotice},
        readers::Readers,
        source::Outputs,
    },
    run::{
        instance::Instance,
        runner::{ProcessRunner, invalid},
    },
};

/// How long a process that was made is looked for until it has become its program.
const EXEC_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked for.
const EXEC_POLL: Duration = Duration::from_millis(5);

/// What was found of the latest run of an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Nothing was open.
    Nothing,
    /// Its process is alive, and is ours now.
    Adopted,
    /// Its process has ended; the end is being recorded.
    Ended,
    /// Its process never came to be.
    NeverStarted,
}

impl ProcessRunner {
    /// Takes up what an earlier supervisor left open, by what can be learned now. No exit is made up (law 5).
    ///
    /// Its process, if it is alive, is supervised from here on as if it had been started here, and its output is read on.
    /// If it has ended, that is recorded in the same way, a moment later: [`wait`](Self::wait) tells when.
    ///
    /// An end that is found lies after `watched_until`, when a supervisor is last known to have watched, and is recorded so.
    pub(crate) fn resume(&mut self, watched_until: Option<Timestamp>) -> Result<Resumed, ProcessError> {
        let runtime = spawner::runtime()?;
        let shared = self.shared.clone();
        let mut instance = shared.lock();
        let Some(stream) = instance.stream().cloned() else { return Ok(Resumed::Nothing) };
        let _in_run = self.run_span().entered();
        let marker = instance.facts().marker();
        let held = self.held(&marker.to_string());
        let identity = match stream.intent {
            Some(intent) => {
                let origin = EventOrigin::of(Actor::Recovery).caused_by(Some(intent.seq));
                let Some(identity) = find_started(&marker, held.as_ref())? else {
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
        let (outputs, pidfd) = match held {
            Some(StoredRun { outputs, pidfd, .. }) => (Outputs::of(outputs), Some(pidfd)),
            None => (None, None),
        };
        // Without a holder the process itself still has both ends of its pipes.
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

    /// Readers of the outputs of a run that is taken up. Without them it is supervised all the same, and it is on record that
    /// its output is lost.
    fn resumed_readers(
        &self,
        runtime: &Handle,
        outputs: Outputs,
        notices: mpsc::Sender<OutputNotice>,
    ) -> Option<Readers> {
        let sources: Vec<_> = outputs.0.iter().map(|output| output.source).collect();
        let ready = Readers::ready(runtime, outputs, &self.destination(notices.clone()));
        ready
            .inspect_err(|error| {
                tracing::error!(%error, "the output of a run that was taken up cannot be read");
                for source in sources {
                    let cause = format!("it cannot be read: {error}");
                    // The queue is empty.
                    let _ = notices.try_send(OutputNotice::Dropping { source, cause });
                }
            })
            .ok()
    }

    /// Takes up the reading of what the latest run left, when it was over and its supervisor ended before its output was
    /// through. The run is closed, so nothing is recorded of it any more.
    ///
    /// # Errors
    /// When the outputs cannot be read.
    pub(crate) fn begin_rest(&self) -> Result<Option<Rest>, ProcessError> {
        let runtime = spawner::runtime()?;
        let _in_run = self.run_span().entered();
        let marker = self.shared.facts().marker().to_string();
        let Some(StoredRun { outputs, .. }) = self.held(&marker) else { return Ok(None) };
        let (notices, _) = mpsc::channel(NOTICES_WAITING_MAX);
        let drains = match Outputs::of(outputs) {
            Some(outputs) => Readers::ready(&runtime, outputs, &self.destination(notices))?.start(),
            None => OutputDrain::none(),
        };
        Ok(Some(Rest { drains, marker, holder: self.holder.clone() }))
    }

    /// The secrets of a process that somebody else has started: its own environment tells, as long as it is alive. Where it
    /// does not, what the process writes is not shown.
    fn mask_values_of(&self, instance: &mut Instance, pid: Option<u32>) {
        let spec = Arc::clone(&instance.facts().spec);
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
        // A process may write over its own.
        let is_complete = of_spec.len() == spec.env.len() && of_credentials.len() == credentials.len();
        let given = Known::of(of_spec.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let given = given.with_credentials(of_credentials.iter().map(|(_, value)| value.as_str()));
        let known = instance.know(given);
        let Some(files) = &self.files else { return };
        if is_complete || (found.is_empty() && credentials.is_empty()) {
            files.secret_filter.set(known);
        } else {
            files.secret_filter.forget();
        }
    }
}

/// The output of a run that is over, which is being read to its end.
pub(crate) struct Rest {
    drains: OutputDrain,
    marker: String,
    holder: Option<Arc<dyn FdStore>>,
}

impl Rest {
    /// Waits until it is through, and lets go of it.
    pub(crate) async fn finish(self) {
        let Self { drains, marker, holder } = self;
        drains.finish().await;
        let released = blocking::step(move || let_go(holder.as_deref(), &marker)).await;
        if let Err(error) = released {
            tracing::debug!(%error, "a run stays held that is over");
        }
    }
}

/// The process of a start that was never confirmed: the one that is held, else the one that carries its marker.
///
/// Nobody has one that is neither: it is ended at its gate, or, without a holder, is looked for too early.
fn find_started(marker: &Marker, held: Option<&StoredRun>) -> io::Result<Option<ProcessIdentity>> {
    match held {
        Some(held) => Ok(has_begun(marker, held).then_some(held.identity)),
        None => marker.main_process(),
    }
}

/// Whether a process that was made has become its program: it carries its marker, or ended otherwise than at its gate. One
/// that may not be looked at has.
fn has_begun(marker: &Marker, StoredRun { pidfd, identity, .. }: &StoredRun) -> bool {
    let began = Instant::now();
    loop {
        match observe(identity, Some(pidfd)) {
            ProcessStatus::Unverifiable => return true,
            ProcessStatus::Alive if marker.is_carried_by(identity.pid) || began.elapsed() > EXEC_WAIT => return true,
            ProcessStatus::Alive => thread::sleep(EXEC_POLL),
            ProcessStatus::Zombie(exit) => return !was_shut_out(&exit),
            ProcessStatus::Gone => {
                // Before Linux 6.15 the kernel does not tell, and nobody knows whether it got that far.
                let status = child::kept_status(pidfd.as_fd()).map(ExitStatus::from_raw);
                let exit = status.map(|status| Exit::from_status(status, Evidence::Recovered));
                return exit.is_some_and(|exit| !was_shut_out(&exit));
            }
        }
    }
}

/// Looks at a process by the descriptor that is held for it, and where there is none, or it has ended, by its pid.
fn observe(identity: &ProcessIdentity, pidfd: Option<&OwnedFd>) -> ProcessStatus {
    match (pidfd.and_then(|pidfd| child::has_ended(pidfd.as_fd())), status_of(identity)) {
        (Some(false), _) => ProcessStatus::Alive,
        (Some(true), ProcessStatus::Unverifiable) => ProcessStatus::Gone,
        // That no process of the other namespace is alive was made sure before (`Supervisor::out_of_sight`).
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

/// The later of two moments, by the clock that can tell.
fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let is_later = if a.boot_id == b.boot_id { a.boot_ns >= b.boot_ns } else { a.wall_ns >= b.wall_ns };
    Some(if is_later { a } else { b })
}

/// Why a process is not there, where that is known.
fn reason_of_absence(identity: &ProcessIdentity) -> Option<String> {
    if identity.boot_id != boot_id() {
        return Some("the machine was restarted".to_owned());
    }
    is_in_another_namespace(identity).then(|| "it ran in another pid namespace".to_owned())
}
