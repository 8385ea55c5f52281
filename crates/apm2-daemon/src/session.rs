//! One client: its call, and the answers.

use std::{
    future::Future,
    io,
    ops::ControlFlow,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use apm2_core::{
    process::ProcessError,
    supervisor::{Applied, BroughtUp, Launched, Part, Reloaded, Supervisor},
};
use apm2_ledger::{
    AppendError, Poison,
    record::{encode_event, encode_stream},
};
use apm2_model::{
    causes::causes,
    event::{actor::Actor, requester::Requester as By, stream_id::StreamId},
    id_query::UnclearId,
    signal::Signal,
    spec::{id::ProcessId, launch::LaunchSpec, name::EVERYTHING},
    state::stream::Stream,
};
use nix::unistd::{Uid, geteuid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time,
};

use crate::{
    descriptor,
    frame::{Frame, LENGTH_BYTES},
    peer::has_hung_up,
    protocol::{Action, Answer, Call, FailureKind, Outcome, PROTOCOL_VERSION, Reply, Request, Targets},
    record::{self, past_end},
    retention,
    shared::{Leave, RUN_GROUP, ServedClient, Shared, is_run},
    user,
};

/// How long a client may take to say what it wants.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to accept an answer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client that waits is told that we are alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(9);

/// Events that are read at once for somebody who follows.
const FOLLOW_EVENTS_MAX: u64 = 256;

/// Folds that are read ahead of what a client has accepted.
const STREAMS_AHEAD_MAX: usize = 64;

/// A failure, as it is told.
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        let kind = match &error {
            ProcessError::NotFound(_) => FailureKind::NoSuchProcess,
            ProcessError::AlreadyExists(what) => {
                let hint = Some("stop that process, or give this one another --name".to_owned());
                return Self { kind: FailureKind::Failed, message: what.clone(), hint };
            }
            ProcessError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<AppendError>()) => {
                FailureKind::Unusable
            }
            _ => FailureKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

/// Serves the client with this number in the lobby to its end. What it asked for goes on if it leaves, and is not begun if it
/// has left before.
pub(crate) async fn serve(shared: &Arc<Shared>, stream: UnixStream, number: u64) {
    let mut line = Line { stream };
    let by = match peer(&line.stream) {
        Ok(by) => by,
        Err(why) => {
            shared.lobby.leave(number);
            return tracing::warn!("a client was refused: {why}");
        }
    };
    let call = line.call().await;
    // Counted before it leaves the lobby: at no time is it nowhere.
    let served = ServedClient::begin(shared);
    shared.lobby.leave(number);
    let is_change = |call: &Call| call.request.is_change();
    if shared.is_leaving.load(Ordering::Acquire)
        && shared.ledger.poisoned().is_none()
        && matches!(&call, Ok((call, _)) if is_change(call))
    {
        return tell(&mut line, &leaving()).await;
    }
    let answered = match (call, &served) {
        (_, None) => Err(Failure::new(FailureKind::Failed, "too many clients at the same time; ask again")),
        (Err(error), _) => {
            let message = format!("not a call that this daemon understands: {error}");
            Err(Failure::new(FailureKind::Usage, message))
        }
        // Withdrawn: a client that this daemon kept waiting for too long has told its user that nothing came of it.
        (Ok(_), Some(_)) if has_hung_up(&line.stream) => Err(gone()),
        (Ok((call, stdin)), Some(_)) => answer(shared, &mut line, call, stdin, by).await,
    };
    // What went wrong on the way to a poisoned ledger went wrong because of that.
    let answered = match (answered, shared.ledger.poisoned()) {
        (Err(_), Some(poison)) => Err(poisoned(&poison)),
        (answered, _) => answered,
    };
    let reply = match answered {
        Ok(answer) => Reply::Done(answer),
        Err(Failure { kind, message, hint }) => Reply::Failed { kind, message, hint, is_leaving: false },
    };
    tell(&mut line, &reply).await;
}

/// The answer of a daemon that is leaving to what it does not begin.
fn leaving() -> Reply {
    let message = "the daemon is leaving; ask the next one".to_owned();
    Reply::Failed { kind: FailureKind::Failed, message, hint: None, is_leaving: true }
}

/// Gives a client its last answer.
async fn tell(line: &mut Line, reply: &Reply) {
    if let Err(error) = line.reply(reply).await {
        tracing::debug!(%error, "a client has left before its answer");
    }
}

/// Refuses whatever a client asks for; whether that was to leave, which is done: with everything left running, since no stop can
/// be recorded.
pub(crate) async fn refuse(stream: UnixStream, message: String) -> bool {
    let mut line = Line { stream };
    if peer(&line.stream).is_err() {
        return false;
    }
    let call = line.call().await;
    let hint =
        "what runs goes on running; the daemon tries again by itself, and takes it over once the disk can be written";
    let (is_leave, reply) = match call {
        Ok((Call { request: Request::Shutdown { leave }, .. }, _)) if !has_hung_up(&line.stream) => {
            (true, Reply::Done(if leave { Answer::Done } else { left_running(&message) }))
        }
        _ => (
            false,
            Reply::Failed { kind: FailureKind::Unusable, message, hint: Some(hint.to_owned()), is_leaving: false },
        ),
    };
    if let Err(error) = line.reply(&reply).await {
        tracing::debug!(%error, "a client has left before its answer");
    }
    is_leave
}

/// The answer to a `daemon --stop` where nothing can be stopped, since no stop can be recorded.
fn left_running(why: &str) -> Answer {
    let note =
        format!("{why}; no stop can be recorded, so what runs is left running, and the next daemon takes it over");
    Answer::Outcomes(vec![Outcome { note: Some(note), ..outcome("daemon", Action::Stop) }])
}

/// The user at the other end: ours, or root.
fn peer(stream: &UnixStream) -> Result<Uid, String> {
    let uid = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    let uid = Uid::from_raw(uid);
    if uid == geteuid() || uid.is_root() { Ok(uid) } else { Err(format!("it is user {uid}'s")) }
}

/// The two ends of a conversation.
struct Line {
    stream: UnixStream,
}

impl Line {
    /// What the client asks for, and the descriptor that came beside it.
    async fn call(&mut self) -> io::Result<(Call, Option<OwnedFd>)> {
        let read = async {
            let mut length = [0; LENGTH_BYTES];
            let descriptor = self.begin(&mut length).await?;
            let mut body = vec![0; Frame::length(length)?];
            self.stream.read_exact(&mut body).await?;
            io::Result::Ok((Frame::from_body(body)?, descriptor))
        };
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let (Frame::Json(body), descriptor) = time::timeout(CALL_TIMEOUT, read).await?? else {
            return Err(invalid("it is not JSON".to_owned()));
        };
        let version = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|call| call.get("version").and_then(serde_json::Value::as_u64));
        if version != Some(u64::from(PROTOCOL_VERSION)) {
            return Err(invalid(format!(
                "it is of another version than {PROTOCOL_VERSION}; stop the daemon, or use its own client"
            )));
        }
        // What is wrong may stand beside a secret: the place is told, and no more.
        let call = serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("line {}, column {}", error.line(), error.column())))?;
        Ok((call, descriptor))
    }

    /// Reads the first bytes of a call, and the descriptor that came beside them.
    async fn begin(&mut self, bytes: &mut [u8]) -> io::Result<Option<OwnedFd>> {
        let (mut read, mut descriptor) = (0, None);
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            self.stream.readable().await?;
            match self.stream.try_io(Interest::READABLE, || descriptor::receive(&self.stream, rest)) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((received, beside)) => {
                    read += received;
                    descriptor = descriptor.or(beside);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(descriptor)
    }

    async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.send(&Frame::Json(serde_json::to_vec(reply)?)).await
    }

    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes()?;
        time::timeout(ACCEPT_TIMEOUT, self.stream.write_all(&bytes)).await?
    }

    /// Waits until the client has left: it has said all that it has to say, so whatever comes is the end. Loses nothing when
    /// dropped.
    async fn left(&mut self) {
        // Read, and not waited for to be readable: that stays so until a read finds nothing.
        let _ = self.stream.read(&mut [0]).await;
    }

    /// Waits for `work`, which goes on by itself if the client leaves, and says meanwhile that we are alive.
    async fn wait_for<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut task = tokio::spawn(work);
        loop {
            tokio::select! {
                done = &mut task => return done.map_err(|error| Failure::new(FailureKind::Failed, error.to_string())),
                () = time::sleep(ALIVE_INTERVAL) => self.reply(&Reply::Alive).await.map_err(|_| gone())?,
            }
        }
    }
}

fn gone() -> Failure {
    Failure::new(FailureKind::Failed, "the client has left")
}

async fn answer(
    shared: &Arc<Shared>,
    line: &mut Line,
    call: Call,
    stdin: Option<OwnedFd>,
    uid: Uid,
) -> Result<Answer, Failure> {
    let user = if is_recorded(&call.request) { user::name_of(uid).await } else { None };
    let by = By { actor: Actor::Operator { uid: uid.as_raw(), user, terminal: call.terminal }, reason: call.reason };
    if !matches!(call.request, Request::Hello | Request::Shutdown { .. })
        && let Some(failure) = unusable(shared).await
    {
        return Err(failure);
    }
    match call.request {
        Request::Hello => Ok(Answer::Hello { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }),
        Request::Apply { group, launches, dry_run, rerun } => {
            let launches = grouped(launches, &group);
            if dry_run {
                return plan(&shared.supervisor, &group, &launches, rerun, &by);
            }
            checked(&shared.supervisor, &launches, &by)?;
            let surplus = surplus(&shared.supervisor, &group, &launches);
            apply(shared, line, launches, &surplus, rerun, by).await
        }
        Request::Remove { targets, purge: false } => remove(shared, line, &targets, by).await,
        Request::Remove { targets, purge: true } => purge(shared, line, targets, by).await,
        Request::Start { targets } => each(shared, line, &targets, Verb::Start, by).await,
        Request::Stop { targets, timeout } => each(shared, line, &targets, Verb::Stop(timeout), by).await,
        Request::Restart { targets } => each(shared, line, &targets, Verb::Restart, by).await,
        Request::Signal { targets, signal } => each(shared, line, &targets, Verb::Signal(signal), by).await,
        Request::Reload { targets } => each(shared, line, &targets, Verb::Reload, by).await,
        Request::Scale { name, instances } => scale(shared, line, name, instances, by).await,
        Request::Run { launch, stdin: true } if stdin.is_none() => {
            let name = launch.spec.name;
            Err(Failure::new(FailureKind::Failed, format!("the standard input for {name} did not arrive")))
        }
        Request::Run { launch, stdin: is_given } => run(shared, line, *launch, stdin.filter(|_| is_given), by).await,
        Request::Wait { process_id, run } => ended(shared, line, process_id, run).await,
        Request::Streams => streams(shared, line).await,
        Request::Follow { first } => follow(shared, line, first).await,
        Request::Shutdown { leave } => shutdown(shared, line, leave, by).await,
    }
}

/// Whether events tell who asked for it.
const fn is_recorded(request: &Request) -> bool {
    !matches!(request, Request::Hello | Request::Wait { .. } | Request::Streams | Request::Follow { .. })
}

/// Why nothing can be answered: the ledger is not written any more, so what is known of it is not how things are.
async fn unusable(shared: &Shared) -> Option<Failure> {
    let ledger = shared.ledger.clone();
    // The disk may keep it waiting.
    let poison = tokio::task::spawn_blocking(move || {
        ledger.check_place();
        ledger.poisoned()
    });
    Some(poisoned(&poison.await.ok().flatten()?))
}

fn poisoned(poison: &Poison) -> Failure {
    let hint =
        "what runs goes on running, and the next daemon takes it over; ask again, of the directory that is meant";
    Failure { kind: FailureKind::Unusable, message: format!("the ledger is {poison}"), hint: Some(hint.to_owned()) }
}

/// What is done to each of several instances.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Start,
    Stop(Option<Duration>),
    Restart,
    Signal(Signal),
    Reload,
}

impl Verb {
    const fn action(self) -> Action {
        match self {
            Self::Start => Action::Start,
            Self::Stop(_) => Action::Stop,
            Self::Restart => Action::Restart,
            Self::Signal(_) => Action::Signal,
            Self::Reload => Action::Reload,
        }
    }

    /// Whether what is asked for is so already, in words.
    fn is_so(self, supervisor: &Supervisor, id: StreamId) -> Option<&'static str> {
        let state = supervisor.state(id)?;
        match self {
            Self::Start if state.is_running() => Some("it runs already"),
            Self::Stop(_) if state.has_exited() => Some("it does not run"),
            Self::Start | Self::Stop(_) | Self::Restart | Self::Signal(_) | Self::Reload => None,
        }
    }

    fn applies_to(self, supervisor: &Supervisor, id: StreamId) -> bool {
        let is_busy = supervisor.is_busy(id);
        match self {
            Self::Start => !is_busy,
            Self::Stop(_) | Self::Restart | Self::Signal(_) => is_busy,
            Self::Reload => is_busy && supervisor.has_credentials(id.process_id),
        }
    }
}

/// Does something to all of the targets at the same time.
async fn each(
    shared: &Arc<Shared>,
    line: &mut Line,
    targets: &[String],
    verb: Verb,
    by: By,
) -> Result<Answer, Failure> {
    let mut ids: Vec<StreamId> = Vec::new();
    for target in targets {
        let found = find(shared, target)?;
        // `stop all` stops what runs, `restart all` restarts it. What is named is told of in any case.
        let is_meant = |id: &StreamId| target != EVERYTHING || verb.applies_to(&shared.supervisor, *id);
        ids.extend(found.into_iter().filter(is_meant));
    }
    ids.sort_unstable();
    ids.dedup();
    outcomes(line, ids.into_iter().map(|id| act(Arc::clone(shared), id, verb, by.clone()))).await
}

async fn act(shared: Arc<Shared>, id: StreamId, verb: Verb, by: By) -> Outcome {
    let supervisor = &shared.supervisor;
    let name = supervisor.display_name(id);
    let mut action = verb.action();
    let result = match verb {
        Verb::Start => supervisor.start(id, &by).await,
        Verb::Stop(timeout) => supervisor.stop(id, timeout, &by).await,
        Verb::Restart => supervisor.restart(id, &by).await,
        Verb::Signal(signal) => supervisor.signal(id, signal, &by).await,
        Verb::Reload => supervisor.reload(id, &by).await.map(|reloaded| {
            action = match reloaded {
                Reloaded::Signalled => Action::Signal,
                Reloaded::Restarted => Action::Restart,
            };
        }),
    };
    match result {
        Ok(()) => outcome(&name, action),
        Err(ProcessError::InvalidState(_)) if let Some(note) = verb.is_so(supervisor, id) => {
            Outcome { note: Some(note.to_owned()), ..outcome(&name, Action::Unchanged) }
        }
        Err(error) => Outcome { error: Some(in_words(error)), ..outcome(&name, action) },
    }
}

/// Does all of it at the same time, and tells of each as it is done.
async fn outcomes(
    line: &mut Line,
    works: impl Iterator<Item = impl Future<Output = Outcome> + Send + 'static>,
) -> Result<Answer, Failure> {
    let mut running = JoinSet::new();
    let mut detached = Vec::new();
    for work in works {
        // Spawned apart from the set, which would abort them if the client left.
        let (told, outcome) = oneshot::channel();
        tokio::spawn(async move {
            // Nobody waits for it when the client has left.
            let _ = told.send(work.await);
        });
        detached.push(outcome);
    }
    for outcome in detached {
        running.spawn(outcome);
    }
    let mut all = Vec::new();
    while !running.is_empty() {
        tokio::select! {
            Some(joined) = running.join_next() => if let Ok(Ok(outcome)) = joined {
                line.reply(&Reply::Progress(outcome.clone())).await.map_err(|_| gone())?;
                all.push(outcome);
            },
            () = time::sleep(ALIVE_INTERVAL) => line.reply(&Reply::Alive).await.map_err(|_| gone())?,
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Answer::Outcomes(all))
}

fn find(shared: &Shared, target: &str) -> Result<Vec<StreamId>, Failure> {
    Ok(shared.supervisor.find(target)?)
}

impl From<UnclearId> for Failure {
    fn from(unclear: UnclearId) -> Self {
        let kind = match &unclear {
            UnclearId::Unknown(_) => FailureKind::NoSuchProcess,
            UnclearId::Ambiguous { .. } | UnclearId::OneInstance { .. } => FailureKind::Usage,
        };
        let (message, hint) = match &unclear {
            UnclearId::Unknown(text) => (
                format!("no process {text:?} is supervised"),
                "`apm2-ledger list` shows what there is; `up` or `run` supervises something".to_owned(),
            ),
            UnclearId::Ambiguous { candidates, .. } => {
                (unclear.to_string(), format!("it fits {}; write more of the id", candidates.join(", ")))
            }
            UnclearId::OneInstance { name, .. } => (unclear.to_string(), format!("name the process: {name}")),
        };
        Self { kind, message, hint: Some(hint) }
    }
}

/// What applying these launches as the group would do. Changes nothing.
pub(crate) fn plan(
    supervisor: &Supervisor,
    group: &str,
    launches: &[LaunchSpec],
    rerun: bool,
    by: &By,
) -> Result<Answer, Failure> {
    checked(supervisor, launches, by)?;
    let planned = launches.iter().map(|launch| planned(supervisor, launch, rerun));
    let surplus = surplus(supervisor, group, launches);
    let removed = surplus.iter().map(|launch| outcome(&launch.spec.name, Action::Remove));
    Ok(Answer::Outcomes(planned.chain(removed).collect()))
}

pub(crate) fn grouped(launches: Vec<LaunchSpec>, group: &str) -> Vec<LaunchSpec> {
    launches.into_iter().map(|launch| LaunchSpec { group: Some(group.to_owned()), ..launch }).collect()
}

/// Refuses what cannot be, before anything is touched.
fn checked(supervisor: &Supervisor, launches: &[LaunchSpec], by: &By) -> Result<(), Failure> {
    let usage = |error: ProcessError| Failure::new(FailureKind::Usage, in_words(error));
    for launch in launches {
        supervisor.check_owner(launch).map_err(|error| taken(supervisor, launch, error))?;
        supervisor.check(launch, by).map_err(usage)?;
    }
    Supervisor::check_together(launches).map_err(usage)
}

/// What belongs to the group and is not among `launches`.
fn surplus(supervisor: &Supervisor, group: &str, launches: &[LaunchSpec]) -> Vec<Arc<LaunchSpec>> {
    let is_wanted = |name: &str| launches.iter().any(|launch| launch.spec.name == name);
    let is_surplus = |launch: &Arc<LaunchSpec>| launch.group.as_deref() == Some(group) && !is_wanted(&launch.spec.name);
    supervisor.launches().into_iter().filter(is_surplus).collect()
}

/// Makes a group what it is to be. What goes and what changes is stopped before anything is started: one process may need
/// what another one holds.
async fn apply(
    shared: &Arc<Shared>,
    line: &mut Line,
    launches: Vec<LaunchSpec>,
    surplus: &[Arc<LaunchSpec>],
    rerun: bool,
    by: By,
) -> Result<Answer, Failure> {
    let mut works: Vec<(String, Work)> = Vec::new();
    works.extend(surplus.iter().map(|launch| (launch.spec.name.clone(), Work::remove(launch, launch.group.clone()))));
    works.extend(launches.into_iter().map(|launch| (launch.spec.name.clone(), Work::Apply(Box::new(launch), rerun))));
    let parts = shared.supervisor.together(works.iter().map(|(name, _)| name.clone()).collect());
    let works: Vec<_> =
        works.into_iter().zip(parts).map(|((_, work), part)| work.done(Arc::clone(shared), part, by.clone())).collect();
    outcomes(line, works.into_iter()).await
}

/// The name is another file's, or that of something that was asked for by `run`.
fn taken(supervisor: &Supervisor, launch: &LaunchSpec, error: ProcessError) -> Failure {
    let name = &launch.spec.name;
    let present = supervisor.launches();
    let owner = present.iter().find(|present| present.spec.name == *name).and_then(|present| present.group.as_deref());
    let command = match owner {
        Some(RUN_GROUP) => format!("`apm2-ledger stop {name}`"),
        Some(group) => format!("`apm2-ledger down {group}`"),
        None => format!("`apm2-ledger down --name {name}`"),
    };
    let hint = Some(format!("give it another name, or stop it: {command}"));
    Failure { hint, ..error.into() }
}

/// What would be done about a launch.
fn planned(supervisor: &Supervisor, launch: &LaunchSpec, rerun: bool) -> Outcome {
    let (would_start, has_finished) = supervisor.would_start(launch, rerun);
    outcome(&launch.spec.name, action_of(supervisor.plan(launch), would_start, has_finished))
}

fn outcome(name: &str, action: Action) -> Outcome {
    Outcome { name: name.to_owned(), action, bytes: None, error: None, note: None }
}

const fn action_of(applied: Applied, has_started: bool, has_finished: bool) -> Action {
    match applied {
        Applied::Created => Action::Create,
        Applied::Changed => Action::Change,
        Applied::Unchanged if has_started => Action::Start,
        Applied::Unchanged if has_finished => Action::Finished,
        Applied::Unchanged => Action::Unchanged,
    }
}

/// One thing that an `up` or a `down` does.
enum Work {
    /// With whether what has finished is started, too.
    Apply(Box<LaunchSpec>, bool),
    Remove {
        id: ProcessId,
        name: String,
        /// Only if it belongs to this one by then.
        group: Option<String>,
    },
}

impl Work {
    fn remove(launch: &LaunchSpec, group: Option<String>) -> Self {
        Self::Remove { id: launch.spec.id, name: launch.spec.name.clone(), group }
    }

    async fn done(self, shared: Arc<Shared>, part: Part, by: By) -> Outcome {
        match self {
            Self::Apply(launch, rerun) => {
                let name = launch.spec.name.clone();
                let planned = planned(&shared.supervisor, &launch, rerun).action;
                match part.bring_up(*launch, rerun, &by).await {
                    Ok(BroughtUp { applied, has_started, has_finished, ended_at_once }) => match ended_at_once {
                        None => outcome(&name, action_of(applied, has_started, has_finished)),
                        error => Outcome { error, ..outcome(&name, Action::Start) },
                    },
                    Err(error) => {
                        let action = failed_action(planned, &error);
                        Outcome { error: Some(in_words(error)), ..outcome(&name, action) }
                    }
                }
            }
            Self::Remove { id, name, group } => {
                let error = match part.remove(id, group.as_deref(), &by).await {
                    // What was asked for by `run` is forgotten once it is over; another file may have the name now.
                    Ok(()) | Err(ProcessError::NotFound(_)) => None,
                    Err(error) => Some(in_words(error)),
                };
                Outcome { error, ..outcome(&name, Action::Remove) }
            }
        }
    }
}

/// What of an `up` has failed.
const fn failed_action(planned: Action, error: &ProcessError) -> Action {
    match (planned, error) {
        (Action::Unchanged | Action::Finished, _) | (_, ProcessError::SpawnFailed(_)) => Action::Start,
        (planned, _) => planned,
    }
}

/// The words of an error, once: those of a kind that says nothing by itself are left out.
fn in_words(error: ProcessError) -> String {
    match error {
        ProcessError::AlreadyExists(what) | ProcessError::InvalidState(what) => what,
        error => error.to_string(),
    }
}

async fn remove(shared: &Arc<Shared>, line: &mut Line, targets: &Targets, by: By) -> Result<Answer, Failure> {
    let launches = shared.supervisor.launches();
    let named = match targets {
        Targets::Named(names) => {
            let mut ids = Vec::new();
            for name in names {
                ids.push(shared.supervisor.find_process(name)?);
            }
            ids
        }
        Targets::Group(_) | Targets::All => Vec::new(),
    };
    let is_meant = |launch: &LaunchSpec| match targets {
        Targets::All => true,
        Targets::Group(group) => launch.group.as_ref() == Some(group),
        Targets::Named(_) => named.contains(&launch.spec.id),
    };
    let group = if let Targets::Group(group) = targets { Some(group.clone()) } else { None };
    // Each by itself: nothing is started that would have to wait.
    let alone = |launch: &Arc<LaunchSpec>| shared.supervisor.together(vec![launch.spec.name.clone()]);
    let works: Vec<_> = launches
        .iter()
        .filter(|launch| is_meant(launch))
        .flat_map(|launch| alone(launch).into_iter().map(move |part| (launch, part)))
        .map(|(launch, part)| Work::remove(launch, group.clone()).done(Arc::clone(shared), part, by.clone()))
        .collect();
    outcomes(line, works.into_iter()).await
}

/// The same, and removes the logs of what is taken out, and of what was taken out before.
async fn purge(shared: &Arc<Shared>, line: &mut Line, targets: Targets, by: By) -> Result<Answer, Failure> {
    let present: Vec<String> = shared.supervisor.launches().iter().map(|launch| launch.spec.name.clone()).collect();
    let (supervised, names) = match targets {
        Targets::All => (Targets::All, vec![None]),
        Targets::Group(group) => {
            let launches = shared.supervisor.launches();
            let of_group = launches.iter().filter(|launch| launch.group.as_ref() == Some(&group));
            let names = of_group.map(|launch| Some(launch.spec.name.clone())).collect();
            (Targets::Group(group), names)
        }
        Targets::Named(names) => {
            let is_known = |name: &String| shared.supervisor.find_process(name).is_ok();
            let supervised = names.iter().filter(|name| is_known(name)).cloned().collect();
            let named = names.into_iter().map(|name| match shared.supervisor.find_process(&name) {
                Ok(id) => shared.supervisor.name_of(id).unwrap_or(name),
                Err(_) => name,
            });
            (Targets::Named(supervised), named.map(Some).collect::<Vec<_>>())
        }
    };
    let mut all = match remove(shared, line, &supervised, by).await? {
        Answer::Outcomes(outcomes) => outcomes,
        other => return Ok(other),
    };
    for name in names {
        let (supervisor, dir, named) = (shared.supervisor.clone(), Arc::clone(shared.ledger.dir()), name.clone());
        let removed = line.wait_for(async move { retention::purge(&supervisor, &dir, named).await }).await?;
        let removed = removed.map_err(|error| {
            Failure::new(
                FailureKind::Failed,
                format!("the logs in {} cannot be listed: {error}", shared.dir.named().display()),
            )
        })?;
        // A name that nothing ever had is a mistake.
        if let Some(name) = name.filter(|name| removed.is_empty() && !present.contains(name)) {
            return Err(ProcessError::NotFound(name).into());
        }
        all.extend(
            removed
                .into_iter()
                .map(|logs| Outcome { bytes: Some(logs.bytes), ..outcome(&logs.instance, Action::Purge) }),
        );
    }
    Ok(Answer::Outcomes(all))
}

async fn scale(shared: &Arc<Shared>, line: &mut Line, name: String, instances: u32, by: By) -> Result<Answer, Failure> {
    let id = shared.supervisor.find_process(&name)?;
    let supervisor = shared.supervisor.clone();
    line.wait_for(async move { supervisor.scale(id, instances, &by).await }).await??;
    Ok(Answer::Outcomes(vec![outcome(&name, Action::Scale)]))
}

/// Launches something for a client that waits for it. Where the client has left before it could be told of the start, nothing is
/// left running: nothing watches it, and a `run` that left since the daemon did not answer has said that the launch is withdrawn.
async fn launch_for(
    shared: &Arc<Shared>,
    client: &OwnedFd,
    launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: &By,
) -> Result<Launched, Failure> {
    let launched = shared.supervisor.launch_with(launch, stdin, by, &|| !has_hung_up(client)).await;
    let launched = launched.map_err(|error| {
        // What could be supervised and not be started is not wanted any more.
        forget_runs(shared);
        Failure::from(error)
    })?;
    // One that could not be spawned is on record, and the policy has the next word.
    if has_hung_up(client) {
        let reason = Some("its client left before it was started".to_owned());
        let by = By { reason, ..by.clone() };
        if let Err(error) = shared.supervisor.stop(launched.id, None, &by).await {
            tracing::debug!(%error, "what was launched for a client that has left had ended by itself");
        }
        forget_runs(shared);
        return Err(gone());
    }
    Ok(launched)
}

/// Runs something once. It is forgotten when it is over, whether or not the client still waits.
async fn run(
    shared: &Arc<Shared>,
    line: &mut Line,
    mut launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: By,
) -> Result<Answer, Failure> {
    launch.group = Some(RUN_GROUP.to_owned());
    // Drawn here: an id that a client made up may be another process's.
    launch.spec.id = ProcessId::new();
    shared.supervisor.check(&launch, &by).map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?;
    let seq = shared.ledger.reader().head().map_or(0, |head| head.size);
    let client = line.stream.as_fd().try_clone_to_owned();
    let client = client.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    let ours = Arc::clone(shared);
    let launched = line.wait_for(async move { launch_for(&ours, &client, launch, stdin, &by).await }).await?;
    let Launched { id, run, .. } = launched?;
    let over = forget_when_over(shared, id);
    let process_id = id.process_id;
    let started = Answer::Started { process_id, seq, run: Some(run) };
    line.reply(&Reply::Answer(started)).await.map_err(|_| gone())?;
    let ledger = shared.ledger.clone();
    let over = async move {
        let stream = over.await.map_err(|_| ProcessError::NotFound(process_id.to_string()))??;
        // It may have ended before it was waited for, and been started by somebody else.
        Ok::<_, ProcessError>(if stream.run == run {
            stream
        } else {
            past_end(&ledger, id, run).await?.unwrap_or(stream)
        })
    };
    let stream = line.wait_for(over).await??;
    tell_end(line, &stream).await
}

/// Waits for the end of what began with this run of a process, or of what runs where that is not known, and tells how it
/// ended.
async fn ended(
    shared: &Arc<Shared>,
    line: &mut Line,
    process_id: ProcessId,
    run: Option<u64>,
) -> Result<Answer, Failure> {
    let id = StreamId { process_id, instance: 0 };
    let (supervisor, ledger) = (shared.supervisor.clone(), shared.ledger.clone());
    let over = async move {
        if let Some(run) = run
            && let Some(stream) = past_end(&ledger, id, run).await?
        {
            return Ok(stream);
        }
        let stream = match supervisor.wait(id).await {
            // Forgotten a moment before: its history knows how it ended.
            Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {
                record::read(&ledger, move |reader| reader.stream(id)).await?
            }
            over => Some(over?),
        };
        // It may have ended meanwhile, and something else have been started.
        let past = match run {
            Some(run) if stream.as_ref().is_none_or(|stream| stream.run > run) => past_end(&ledger, id, run).await?,
            _ => None,
        };
        past.or(stream).ok_or_else(|| ProcessError::NotFound(process_id.to_string()))
    };
    let stream = line.wait_for(over).await??;
    // Before anybody is told, so that nothing of what it was launched with is left by then.
    if shared.supervisor.launches().iter().any(|launch| launch.spec.id == process_id && is_run(launch)) {
        forget(&shared.supervisor, process_id).await;
    }
    tell_end(line, &stream).await
}

/// Tells a client that waited how it ended.
async fn tell_end(line: &mut Line, stream: &Stream) -> Result<Answer, Failure> {
    let bytes = encode_stream(stream).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
    Ok(Answer::Ended)
}

/// Forgets what was asked for by `run`, now or once it is over.
pub(crate) fn forget_runs(shared: &Arc<Shared>) {
    for launch in shared.supervisor.launches().iter().filter(|launch| is_run(launch)) {
        drop(forget_when_over(shared, StreamId { process_id: launch.spec.id, instance: 0 }));
    }
}

/// Forgets a run once it is over, and gives its end: asked before it is forgotten, and before another one has its name.
fn forget_when_over(shared: &Arc<Shared>, id: StreamId) -> oneshot::Receiver<Result<Stream, ProcessError>> {
    let supervisor = shared.supervisor.clone();
    let (told, over) = oneshot::channel();
    tokio::spawn(async move {
        let ended = supervisor.wait(id).await;
        if ended.is_ok() {
            forget(&supervisor, id.process_id).await;
        }
        // Nobody waits for it when the client has left.
        let _ = told.send(ended);
    });
    over
}

/// Forgets a run that is over. One that was started again meanwhile is somebody else's to forget.
async fn forget(supervisor: &Supervisor, process: ProcessId) {
    match supervisor.release(process, RUN_GROUP).await {
        Ok(()) | Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {}
        Err(error) => tracing::warn!(%error, "a run that is over is not forgotten"),
    }
}

/// Sends the folds of all streams. Few of them are in memory at the same time: there may be any number of processes on record.
async fn streams(shared: &Arc<Shared>, line: &mut Line) -> Result<Answer, Failure> {
    let reader = shared.ledger.reader();
    let (sender, mut encoded) = mpsc::channel(STREAMS_AHEAD_MAX);
    let reading = tokio::task::spawn_blocking(move || {
        reader.each_stream(|stream| match sender.blocking_send(encode_stream(&stream)) {
            Ok(()) => ControlFlow::Continue(()),
            // The client has left.
            Err(_) => ControlFlow::Break(()),
        })
    });
    loop {
        tokio::select! {
            next = encoded.recv() => {
                let Some(bytes) = next else { break };
                let bytes = bytes.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
                line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
            }
            () = time::sleep(ALIVE_INTERVAL) => line.reply(&Reply::Alive).await.map_err(|_| gone())?,
        }
    }
    let read = reading.await.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    read.map_err(|error| {
        let kind = if error.is_integrity() { FailureKind::Integrity } else { FailureKind::Unusable };
        Failure::new(kind, causes(&error))
    })?;
    Ok(Answer::Done)
}

/// Sends events from `first` on, until the client leaves.
async fn follow(shared: &Arc<Shared>, line: &mut Line, first: u64) -> Result<Answer, Failure> {
    let mut next = first.max(1);
    let mut size = shared.head.clone();
    loop {
        let head = *size.borrow_and_update();
        if head < next {
            tokio::select! {
                grown = size.changed() => grown.map_err(|_| Failure::new(FailureKind::Failed, "the daemon is leaving"))?,
                () = line.left() => return Ok(Answer::Done),
                () = time::sleep(ALIVE_INTERVAL) => line.reply(&Reply::Alive).await.map_err(|_| gone())?,
            }
            continue;
        }
        let (ledger, last) = (shared.ledger.clone(), head.min(next.saturating_add(FOLLOW_EVENTS_MAX - 1)));
        let read = move || ledger.reader().events(next, last).collect::<Result<Vec<_>, _>>();
        let events = tokio::task::spawn_blocking(read).await;
        let events = events.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        for event in events.map_err(|error| Failure::new(FailureKind::Unusable, causes(&error)))? {
            let mut bytes = event.seq.to_be_bytes().to_vec();
            encode_event(&event, &mut bytes).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
            line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
        }
        next = last.saturating_add(1);
    }
}

/// That the supervisor leaves is no word about its processes: what it stops for that is its own doing, as on SIGTERM, and
/// is still wanted.
fn own_shutdown(by: By) -> By {
    let who = match by.actor {
        Actor::Operator { user: Some(user), .. } => user,
        Actor::Operator { uid, .. } => format!("user {uid}"),
        _ => "an unknown user".to_owned(),
    };
    let reason = by.reason.map_or_else(String::new, |reason| format!(": {reason}"));
    By { actor: Actor::System, reason: Some(format!("`daemon --stop` by {who}{reason}")) }
}

async fn shutdown(shared: &Arc<Shared>, line: &mut Line, leave: bool, by: By) -> Result<Answer, Failure> {
    let (told, problems) = oneshot::channel();
    let poison = shared.ledger.poisoned().filter(|_| !leave);
    let why = if leave || poison.is_some() { Leave::Running } else { Leave::Stopping(own_shutdown(by)) };
    let leaving = || Failure::new(FailureKind::Failed, "the daemon is leaving already");
    shared.leave.try_send((why, Some(told))).map_err(|_| leaving())?;
    let problems = line.wait_for(problems).await?.map_err(|_| leaving())?;
    if problems.is_empty() {
        return Ok(poison.map_or(Answer::Done, |poison| left_running(&format!("the ledger is {poison}"))));
    }
    Err(Failure::new(FailureKind::Failed, format!("could not stop {}", problems.join("; "))))
}
