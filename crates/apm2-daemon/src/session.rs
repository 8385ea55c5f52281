//! One client: its call, and the answers.

use std::{future::Future, io, sync::Arc, time::Duration};

use apm2_core::{
    process::{Actor, ProcessError, ProcessId, Request as By, StreamId},
    supervisor::{Applied, Launch, Reloaded, Supervisor},
};
use apm2_ledger::{
    AppendError, Origin,
    record::{encode_event, encode_stream},
};
use nix::unistd::{Uid, User, geteuid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::oneshot,
    task::JoinSet,
    time,
};

use crate::{
    frame::{Frame, LENGTH_BYTES},
    protocol::{Action, Answer, Call, FailureKind, Outcome, PROTOCOL_VERSION, Reply, Request, Targets},
    retention,
    server::{Leave, RUN_GROUP, Served, Shared, is_run},
};

/// How long a client may take to say what it wants.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to accept an answer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client that waits is told that we are alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How often events that somebody follows are looked for.
const FOLLOW_POLL: Duration = Duration::from_millis(20);

/// Events that are read at once for somebody who follows.
const FOLLOW_EVENTS_MAX: u64 = 256;

/// A failure, as it is told.
struct Failure {
    kind: FailureKind,
    message: String,
    hint: Option<String>,
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

/// Serves the client with this number in the lobby to its end. What it asked for goes on if it leaves.
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
    let served = Served::begin(shared);
    shared.lobby.leave(number);
    let answered = match (call, &served) {
        (_, None) => Err(Failure::new(FailureKind::Failed, "too many clients at the same time; ask again")),
        (Err(error), _) => {
            let message = format!("not a call that this daemon understands: {error}");
            Err(Failure::new(FailureKind::Usage, message))
        }
        (Ok(call), Some(_)) => answer(shared, &mut line, call, by).await,
    };
    let told = match answered {
        Ok(answer) => line.reply(&Reply::Done(answer)).await,
        Err(Failure { kind, message, hint }) => line.reply(&Reply::Failed { kind, message, hint }).await,
    };
    if let Err(error) = told {
        tracing::debug!(%error, "a client has left before its answer");
    }
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
    async fn call(&mut self) -> io::Result<Call> {
        let read = async {
            let mut length = [0; LENGTH_BYTES];
            self.stream.read_exact(&mut length).await?;
            let mut body = vec![0; Frame::length(length)?];
            self.stream.read_exact(&mut body).await?;
            Frame::from_body(body)
        };
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let Frame::Json(body) = time::timeout(CALL_TIMEOUT, read).await?? else {
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
        serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("line {}, column {}", error.line(), error.column())))
    }

    async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.send(&Frame::Json(serde_json::to_vec(reply)?)).await
    }

    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes()?;
        time::timeout(ACCEPT_TIMEOUT, self.stream.write_all(&bytes)).await?
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

async fn answer(shared: &Arc<Shared>, line: &mut Line, call: Call, uid: Uid) -> Result<Answer, Failure> {
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let by = By { actor: Actor::Operator { uid: uid.as_raw(), user, terminal: call.terminal }, reason: call.reason };
    if !matches!(call.request, Request::Hello | Request::Shutdown { .. })
        && let Some(failure) = unusable(shared).await
    {
        return Err(failure);
    }
    match call.request {
        Request::Hello => Ok(Answer::Hello { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }),
        Request::Apply { group, launches, dry_run } => apply(shared, line, group, launches, dry_run, by).await,
        Request::Remove { targets, purge: false } => remove(shared, line, &targets, by).await,
        Request::Remove { targets, purge: true } => purge(shared, line, targets, by).await,
        Request::Start { targets } => each(shared, line, &targets, Verb::Start, by).await,
        Request::Stop { targets, timeout } => each(shared, line, &targets, Verb::Stop(timeout), by).await,
        Request::Restart { targets } => each(shared, line, &targets, Verb::Restart, by).await,
        Request::Reload { targets } => each(shared, line, &targets, Verb::Reload, by).await,
        Request::Scale { name, instances } => scale(shared, line, name, instances, by).await,
        Request::Run { launch } => run(shared, line, *launch, by).await,
        Request::Wait { process_id } => ended(shared, line, process_id).await,
        Request::Streams => streams(shared, line).await,
        Request::Follow { first } => follow(shared, line, first).await,
        Request::Shutdown { leave } => shutdown(shared, line, leave, by).await,
    }
}

/// Why nothing can be answered: the ledger is not written any more, so what is known of it is not how things are.
async fn unusable(shared: &Shared) -> Option<Failure> {
    let ledger = shared.ledger.clone();
    // The disk may keep it waiting.
    let poison = tokio::task::spawn_blocking(move || {
        ledger.check_place();
        ledger.poisoned()
    });
    let poison = poison.await.ok().flatten()?;
    let hint =
        "what runs goes on running, and the next daemon takes it over; ask again, of the directory that is meant";
    Some(Failure {
        kind: FailureKind::Unusable,
        message: format!("the ledger is {poison}"),
        hint: Some(hint.to_owned()),
    })
}

/// What is done to each of several instances.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Start,
    Stop(Option<Duration>),
    Restart,
    Reload,
}

impl Verb {
    const fn action(self) -> Action {
        match self {
            Self::Start => Action::Start,
            Self::Stop(_) => Action::Stop,
            Self::Restart => Action::Restart,
            Self::Reload => Action::Reload,
        }
    }

    fn applies_to(self, supervisor: &Supervisor, id: StreamId) -> bool {
        let is_busy = supervisor.is_busy(id);
        match self {
            Self::Start => !is_busy,
            Self::Stop(_) | Self::Restart => is_busy,
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
        ids.extend(find(shared, target)?);
    }
    ids.sort_unstable();
    ids.dedup();
    // Of many, those to which it does not apply are left as they are: `stop all` stops what runs, `restart all` restarts it.
    if ids.len() > 1 {
        ids.retain(|id| verb.applies_to(&shared.supervisor, *id));
    }
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
        Verb::Reload => supervisor.reload(id, &by).await.map(|reloaded| {
            action = match reloaded {
                Reloaded::Signalled => Action::Signal,
                Reloaded::Restarted => Action::Restart,
            };
        }),
    };
    Outcome { error: result.err().map(|error| error.to_string()), ..outcome(&name, action) }
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
    shared.supervisor.find(target).map_err(|_| unknown(target))
}

fn unknown(target: &str) -> Failure {
    Failure {
        kind: FailureKind::NoSuchProcess,
        message: format!("no process {target:?} is supervised"),
        hint: Some("`apm2-ledger list` shows what there is; `up` or `run` supervises something".to_owned()),
    }
}

/// Makes a group what it is to be.
async fn apply(
    shared: &Arc<Shared>,
    line: &mut Line,
    group: String,
    mut launches: Vec<Launch>,
    dry_run: bool,
    by: By,
) -> Result<Answer, Failure> {
    for launch in &mut launches {
        launch.group = Some(group.clone());
    }
    for launch in &launches {
        shared.supervisor.check_owner(launch).map_err(|error| taken(shared, launch, error))?;
        shared.supervisor.check(launch, &by).map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?;
    }
    let present = shared.supervisor.launches();
    let wanted = |name: &str| launches.iter().any(|launch| launch.spec.name == name);
    let surplus: Vec<_> = present
        .iter()
        .filter(|launch| launch.group.as_ref() == Some(&group) && !wanted(&launch.spec.name))
        .map(|launch| (launch.spec.id, launch.spec.name.clone()))
        .collect();
    if dry_run {
        let mut all: Vec<Outcome> = launches.iter().map(|launch| planned(&shared.supervisor, launch)).collect();
        all.extend(surplus.iter().map(|(_, name)| outcome(name, Action::Remove)));
        return Ok(Answer::Outcomes(all));
    }
    let removals = surplus.into_iter().map(|(id, name)| Work::Remove { id, name, group: Some(group.clone()) });
    let works = removals.chain(launches.into_iter().map(|launch| Work::Apply(Box::new(launch))));
    let works: Vec<_> = works.map(|work| work.done(Arc::clone(shared), by.clone())).collect();
    outcomes(line, works.into_iter()).await
}

/// The name is another file's, or that of something that was asked for by `run`.
fn taken(shared: &Shared, launch: &Launch, error: ProcessError) -> Failure {
    let name = &launch.spec.name;
    let present = shared.supervisor.launches();
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
fn planned(supervisor: &Supervisor, launch: &Launch) -> Outcome {
    let name = &launch.spec.name;
    let is_idle = || {
        let ids = supervisor.find_process(name).map(|process| supervisor.streams_of(process)).unwrap_or_default();
        ids.into_iter().any(|id| !supervisor.is_busy(id))
    };
    outcome(
        name,
        match supervisor.plan(launch) {
            Applied::Unchanged if is_idle() => Action::Start,
            applied => action_of(applied),
        },
    )
}

fn outcome(name: &str, action: Action) -> Outcome {
    Outcome { name: name.to_owned(), action, bytes: None, error: None }
}

const fn action_of(applied: Applied) -> Action {
    match applied {
        Applied::Created => Action::Create,
        Applied::Changed => Action::Change,
        Applied::Unchanged => Action::Unchanged,
    }
}

/// One thing that an `up` or a `down` does.
enum Work {
    Apply(Box<Launch>),
    Remove {
        id: ProcessId,
        name: String,
        /// Only if it belongs to this one by then.
        group: Option<String>,
    },
}

impl Work {
    async fn done(self, shared: Arc<Shared>, by: By) -> Outcome {
        match self {
            Self::Apply(launch) => {
                let name = launch.spec.name.clone();
                let planned = action_of(shared.supervisor.plan(&launch));
                match apply_one(&shared, *launch, &by).await {
                    Ok(action) => outcome(&name, action),
                    Err(error) => {
                        let action = failed_action(planned, &error);
                        Outcome { error: Some(in_words(error)), ..outcome(&name, action) }
                    }
                }
            }
            Self::Remove { id, name, group } => {
                let error = match shared.supervisor.remove(id, group.as_deref(), &by).await {
                    // What was asked for by `run` is forgotten once it is over; another file may have the name now.
                    Ok(()) | Err(ProcessError::NotFound(_)) => None,
                    Err(error) => Some(error.to_string()),
                };
                Outcome { error, ..outcome(&name, Action::Remove) }
            }
        }
    }
}

/// What of an `up` has failed.
const fn failed_action(planned: Action, error: &ProcessError) -> Action {
    match (planned, error) {
        (Action::Unchanged, _) | (_, ProcessError::SpawnFailed(_)) => Action::Start,
        (planned, _) => planned,
    }
}

/// The words of an error, once: those of a kind that says nothing by itself are left out.
fn in_words(error: ProcessError) -> String {
    match error {
        ProcessError::AlreadyExists(what) => what,
        error => error.to_string(),
    }
}

/// Applies a launch, and starts what does not run.
async fn apply_one(shared: &Shared, launch: Launch, by: &By) -> Result<Action, ProcessError> {
    let (applied, has_started) = shared.supervisor.bring_up(launch, by).await?;
    Ok(match action_of(applied) {
        Action::Unchanged if has_started => Action::Start,
        action => action,
    })
}

async fn remove(shared: &Arc<Shared>, line: &mut Line, targets: &Targets, by: By) -> Result<Answer, Failure> {
    let launches = shared.supervisor.launches();
    let named = match targets {
        Targets::Named(names) => {
            let mut ids = Vec::new();
            for name in names {
                ids.push(shared.supervisor.find_process(name).map_err(|_| unknown(name))?);
            }
            ids
        }
        Targets::Group(_) | Targets::All => Vec::new(),
    };
    let is_meant = |launch: &Launch| match targets {
        Targets::All => true,
        Targets::Group(group) => launch.group.as_ref() == Some(group),
        Targets::Named(_) => named.contains(&launch.spec.id),
    };
    let group = if let Targets::Group(group) = targets { Some(group.clone()) } else { None };
    let work =
        |launch: &Launch| Work::Remove { id: launch.spec.id, name: launch.spec.name.clone(), group: group.clone() };
    let works: Vec<_> = launches
        .iter()
        .filter(|launch| is_meant(launch))
        .map(|launch| work(launch).done(Arc::clone(shared), by.clone()))
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
                format!("the logs in {} cannot be listed: {error}", shared.ledger.dir().named().display()),
            )
        })?;
        // A name that nothing ever had is a mistake.
        if let Some(name) = name.filter(|name| removed.is_empty() && !present.contains(name)) {
            return Err(unknown(&name));
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
    let id = shared.supervisor.find_process(&name).map_err(|_| unknown(&name))?;
    let supervisor = shared.supervisor.clone();
    line.wait_for(async move { supervisor.scale(id, instances, &by).await }).await??;
    Ok(Answer::Outcomes(vec![outcome(&name, Action::Scale)]))
}

/// Runs something once. It is forgotten when it is over, whether or not the client still waits.
async fn run(shared: &Arc<Shared>, line: &mut Line, mut launch: Launch, by: By) -> Result<Answer, Failure> {
    launch.group = Some(RUN_GROUP.to_owned());
    shared.supervisor.check(&launch, &by).map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?;
    let seq = shared.ledger.reader().head().map_or(0, |head| head.size);
    let (supervisor, name) = (shared.supervisor.clone(), launch.spec.name.clone());
    let launched = line.wait_for(async move { supervisor.launch(launch, &by).await }).await?;
    let id = match launched {
        Ok(id) => id,
        // On record, and the policy has the next word.
        Err(ProcessError::SpawnFailed(_)) => first_of(&shared.supervisor, &name)?,
        Err(error) => {
            // What could be supervised and not be started is not wanted any more.
            forget_runs(shared);
            return Err(error.into());
        }
    };
    forget_when_over(shared, id);
    let process_id = id.process_id;
    line.reply(&Reply::Answer(Answer::Started { process_id, seq })).await.map_err(|_| gone())?;
    ended(shared, line, process_id).await
}

fn first_of(supervisor: &Supervisor, name: &str) -> Result<StreamId, ProcessError> {
    Ok(StreamId { process_id: supervisor.find_process(name)?, instance: 0 })
}

/// Waits for the end of a process, and tells how it ended.
async fn ended(shared: &Arc<Shared>, line: &mut Line, process_id: ProcessId) -> Result<Answer, Failure> {
    let id = StreamId { process_id, instance: 0 };
    let (supervisor, ledger) = (shared.supervisor.clone(), shared.ledger.clone());
    let over = async move {
        match supervisor.wait(id).await {
            // Forgotten a moment before: its history knows how it ended.
            Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {
                let read = tokio::task::spawn_blocking(move || ledger.reader().stream(id)).await;
                read.ok().and_then(Result::ok).flatten().ok_or_else(|| ProcessError::NotFound(process_id.to_string()))
            }
            over => over,
        }
    };
    let stream = line.wait_for(over).await??;
    // Before anybody is told, so that nothing of what it was launched with is left by then.
    if shared.supervisor.launches().iter().any(|launch| launch.spec.id == process_id && is_run(launch)) {
        forget(&shared.supervisor, process_id).await;
    }
    let bytes = encode_stream(&stream).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
    Ok(Answer::Ended)
}

/// Forgets what was asked for by `run`, now or once it is over.
pub(crate) fn forget_runs(shared: &Arc<Shared>) {
    for launch in shared.supervisor.launches().iter().filter(|launch| is_run(launch)) {
        forget_when_over(shared, StreamId { process_id: launch.spec.id, instance: 0 });
    }
}

fn forget_when_over(shared: &Arc<Shared>, id: StreamId) {
    let supervisor = shared.supervisor.clone();
    tokio::spawn(async move {
        if supervisor.wait(id).await.is_ok() {
            forget(&supervisor, id.process_id).await;
        }
    });
}

/// Forgets a run that is over. One that was started again meanwhile is somebody else's to forget.
async fn forget(supervisor: &Supervisor, process: ProcessId) {
    match supervisor.release(process, RUN_GROUP).await {
        Ok(()) | Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {}
        Err(error) => tracing::warn!(%error, "a run that is over is not forgotten"),
    }
}

async fn streams(shared: &Arc<Shared>, line: &mut Line) -> Result<Answer, Failure> {
    let ledger = shared.ledger.clone();
    let replayed = line.wait_for(async move {
        tokio::task::spawn_blocking(move || ledger.reader().replay(u64::MAX, Origin::Snapshot)).await
    });
    let replayed = replayed.await?.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    let replayed = replayed.map_err(|error| {
        let kind = if error.is_integrity() { FailureKind::Integrity } else { FailureKind::Unusable };
        Failure::new(kind, error.to_string())
    })?;
    for stream in replayed.streams.values() {
        let bytes = encode_stream(stream).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
    }
    Ok(Answer::Done)
}

/// Sends events from `first` on, until the client leaves.
async fn follow(shared: &Arc<Shared>, line: &mut Line, first: u64) -> Result<Answer, Failure> {
    let mut next = first.max(1);
    let mut said = time::Instant::now();
    loop {
        let head = shared.ledger.reader().head().map_or(0, |head| head.size);
        if head < next {
            if said.elapsed() > ALIVE_INTERVAL {
                line.reply(&Reply::Alive).await.map_err(|_| gone())?;
                said = time::Instant::now();
            }
            // The client has nothing to say: when something can be read, it has left.
            tokio::select! {
                _ = line.stream.readable() => return Ok(Answer::Done),
                () = time::sleep(FOLLOW_POLL) => continue,
            }
        }
        let (ledger, last) = (shared.ledger.clone(), head.min(next.saturating_add(FOLLOW_EVENTS_MAX - 1)));
        let read = move || ledger.reader().events(next, last).collect::<Result<Vec<_>, _>>();
        let events = tokio::task::spawn_blocking(read).await;
        let events = events.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        for event in events.map_err(|error| Failure::new(FailureKind::Unusable, error.to_string()))? {
            let mut bytes = event.seq.to_be_bytes().to_vec();
            encode_event(&event, &mut bytes).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
            line.send(&Frame::Raw(bytes)).await.map_err(|_| gone())?;
        }
        next = last.saturating_add(1);
    }
}

async fn shutdown(shared: &Arc<Shared>, line: &mut Line, leave: bool, by: By) -> Result<Answer, Failure> {
    let (told, problems) = oneshot::channel();
    let why = if leave { Leave::Running } else { Leave::Stopping(by) };
    let leaving = || Failure::new(FailureKind::Failed, "the daemon is leaving already");
    shared.leave.try_send((why, Some(told))).map_err(|_| leaving())?;
    let problems = line.wait_for(problems).await?.map_err(|_| leaving())?;
    if problems.is_empty() {
        return Ok(Answer::Done);
    }
    Err(Failure::new(FailureKind::Failed, format!("could not stop {}", problems.join("; "))))
}
