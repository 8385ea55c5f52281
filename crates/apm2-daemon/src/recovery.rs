//! The data that a daemon reads from its ledger before it serves clients: the streams to recover, and whether the
//! directory is a copy.

use std::{io, ops::ControlFlow, sync::Arc};

use apm2_core::{
    log::{LogThreads, LogsDir},
    process::LedgerPlace,
    supervisor::{Past, Services, Supervisor, Unrecovered},
};
use apm2_ledger::{Ledger, ReadError};
use apm2_model::{
    clock::{SystemClock, boot_id},
    event::{kind::EventKind, stream_id::StreamId, timestamp::Timestamp},
    state::stream::Stream,
};

use crate::{
    error::DaemonError,
    fd_store::client::FdStoreClient,
    launches::{LaunchFiles, launched},
    options::DaemonOptions,
    place::{self, PlaceCheck, PlaceEvidence},
    retention::LOGS_DIR,
};

/// Number of events at the end of the ledger among which the last event of a supervisor is searched.
const WATCHED_EVENTS_MAX: u64 = 64;

/// The reason why no process of a copied ledger is taken over.
const COPY_REASON: &str = "this is a copy of the ledger that it was started in, or a restored backup of it";

/// The hint for the user of a copied ledger.
const COPY_ADVICE: &str =
    "where no daemon of the other directory supervises it, end it with kill(1), then start it here";

/// The pid of the previous supervisor; `None` if there was none.
fn pid_of_latest_supervisor(ledger: &Ledger) -> Option<u32> {
    let events = ledger.reader().stream_events(StreamId::SYSTEM).filter_map(Result::ok);
    let started = events.filter_map(|event| match event.kind {
        EventKind::SupervisorStarted { pid, .. } => Some(pid),
        _ => None,
    });
    started.last()
}

/// A summary of the recorded streams that shows whether the directory may be a copy.
pub(crate) struct LedgerSummary {
    has_open_runs: bool,
    is_empty: bool,
}

impl LedgerSummary {
    pub(crate) const fn none() -> Self {
        Self { has_open_runs: false, is_empty: true }
    }

    pub(crate) fn note(&mut self, stream: &Stream) {
        let is_of_this_boot = || stream.identity.is_none_or(|identity| identity.boot_id == boot_id());
        self.has_open_runs |= Supervisor::is_unfinished(stream) && is_of_this_boot();
        self.is_empty &= stream.id.is_system();
    }

    /// The summary, completed by the state of the file descriptor store.
    pub(crate) fn evidence(&self, fd_store: &FdStoreClient) -> PlaceEvidence {
        let Self { has_open_runs, is_empty } = *self;
        // The store is asked only if its answer makes a difference.
        PlaceEvidence { has_fd_store: has_open_runs && fd_store.is_present(), has_open_runs, is_empty }
    }
}

/// The recorded streams with their summary. Most streams are not held in memory.
fn past(ledger: &Ledger) -> Result<(Past, LedgerSummary), ReadError> {
    let (mut past, mut summary) = (nothing_yet(ledger), LedgerSummary::none());
    ledger.reader().each_stream(|stream| {
        summary.note(&stream);
        past.add(stream);
        ControlFlow::Continue(())
    })?;
    Ok((past, summary))
}

/// An empty [`Past`]. Streams of processes that have a launch file are held in memory; if the launch files cannot be
/// listed, these streams are loaded later.
fn nothing_yet(ledger: &Ledger) -> Past {
    Past::of(launched(ledger.dir().at()).ok().flatten().unwrap_or_default())
}

/// Records the end of all open runs of a copied ledger, and logs each process that is not taken over. Returns the streams after
/// that.
fn left_alone(ledger: &Ledger, supervisor: &Unrecovered) -> Result<Past, DaemonError> {
    let mut past = nothing_yet(ledger);
    let mut failure = None;
    ledger.reader().each_stream(|stream| {
        if Supervisor::is_unfinished(&stream) {
            let (name, pid) = (stream.handle.display_name(), stream.handle.pid);
            tracing::warn!(process = name, ?pid, "left alone, and not started: {COPY_REASON}; {COPY_ADVICE}");
        }
        match supervisor.disown(stream, COPY_REASON) {
            Ok(stream) => {
                past.add(stream);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(past), |error| {
        Err(DaemonError::io("record the end of runs that are not taken over")(io::Error::other(error)))
    })
}

/// The result of [`prepare`].
pub(crate) struct PreparedRecovery {
    pub(crate) supervisor: Unrecovered,
    pub(crate) past: Past,
    /// The sequence number of the event `SupervisorStarted`.
    pub(crate) started: u64,
    /// The time at which the previous supervisor recorded its last event.
    pub(crate) watched_until: Option<Timestamp>,
    pub(crate) finding: PlaceCheck,
}

/// Reads the ledger and records `SupervisorStarted`. Fails before it records anything if processes may be alive in
/// another pid namespace.
pub(crate) fn prepare(
    ledger: &Ledger,
    options: &DaemonOptions,
    logs: &Arc<LogThreads>,
) -> Result<PreparedRecovery, DaemonError> {
    let watched_until = watched_until(ledger);
    let (past, summary) = past(ledger)?;
    let fd_store = Arc::new(FdStoreClient::new(ledger.dir(), options.fd_store_command.clone()));
    let finding =
        place::find(ledger.dir().at(), summary.evidence(&fd_store)).map_err(DaemonError::io("read `place`"))?;
    if matches!(finding, PlaceCheck::Copy(_)) {
        fd_store.require_proof();
    }
    let supervisor = Unrecovered::new(services(ledger, logs, fd_store, finding.place()));
    let is_copy = matches!(finding, PlaceCheck::Copy(_));
    if !is_copy && !options.forget_other_namespaces {
        let out_of_sight = supervisor.out_of_sight(past.streams(), || pid_of_latest_supervisor(ledger));
        if !out_of_sight.is_empty() {
            return Err(DaemonError::OutOfSight(out_of_sight));
        }
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let started = ledger.append_system(EventKind::SupervisorStarted { pid: std::process::id(), version })?.seq;
    let past = if is_copy { left_alone(ledger, &supervisor)? } else { past };
    Ok(PreparedRecovery { supervisor, past, started, watched_until, finding })
}

/// The time at which a supervisor last recorded an event. Events that were recorded by opening the ledger do not count.
fn watched_until(ledger: &Ledger) -> Option<Timestamp> {
    let size = ledger.reader().head()?.size;
    let latest = ledger.reader().events(size.saturating_sub(WATCHED_EVENTS_MAX).max(1), size).filter_map(Result::ok);
    let is_of_supervisor = |kind: &EventKind| {
        !kind.is_system() || matches!(kind, EventKind::SupervisorStarted { .. } | EventKind::SupervisorStopped)
    };
    latest.filter(|event| is_of_supervisor(&event.kind)).last().map(|event| event.stamp)
}

fn services(ledger: &Ledger, logs: &Arc<LogThreads>, fd_store: Arc<FdStoreClient>, place: LedgerPlace) -> Services {
    Services {
        store: Arc::new(ledger.clone()),
        clock: Arc::new(SystemClock),
        launches: Arc::new(LaunchFiles::new(ledger.dir())),
        place: Some(place),
        fd_store: Some(fd_store),
        logs: Some((LogsDir::new(ledger.dir().at().join(LOGS_DIR)), Arc::clone(logs))),
        adapters: Arc::new(|_| None),
    }
}
