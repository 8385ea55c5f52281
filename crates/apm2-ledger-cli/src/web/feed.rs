//! The events of the ledger as they are recorded, for all clients: from the daemon, and while none runs from the journal.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use apm2_core::notify::FileWatch;
use apm2_daemon::DAEMON_SOCKET;
use apm2_ledger::{JOURNAL_DIR, ReadLedger as _, Reader, StatesQuestion};
use apm2_model::event::{Event, stream_id::StreamId};
use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    context::Context,
    daemon::{connect, follow_events},
    error::CliError,
    render::{
        escape::escape,
        event::{details, name},
        zone::Zone,
    },
    report::millis,
    steps::{States, Step, apply},
};

/// Changes that are kept for a client that reads slowly. One that is further behind fetches the document again.
pub(crate) const QUEUE_MAX: usize = 256;

/// Time to wait after a lost connection, or after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Longest wait before the journal is read again.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Bytes of the details of an event.
const TEXT_BYTES_MAX: usize = 400;

/// What is sent to all clients.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A recorded event, as JSON.
    Event(Arc<str>),
    /// Another ledger was made in the place of the one that was followed.
    OtherLedger,
}

/// A recorded event, for the list of the page.
#[derive(Debug, Serialize)]
struct EventLine {
    seq: u64,
    at_ms: i64,
    name: String,
    r#type: String,
    text: String,
}

/// Sends changes to all clients.
pub(crate) struct Feed {
    context: Context,
    dir: PathBuf,
    /// The id of the ledger; `None` if it has no journal yet.
    ledger: Option<Uuid>,
    states: States,
    seen: u64,
    changes: broadcast::Sender<Change>,
}

impl Feed {
    /// The feed of the events after those that are recorded now.
    pub(crate) fn new(context: &Context, changes: broadcast::Sender<Change>) -> Result<Self, CliError> {
        let dir = context.existing_ledger_dir()?;
        let ledger = Reader::open(&dir).ok().and_then(|journal| journal.ledger_id().ok());
        let (seen, states) = recorded(context)?;
        Ok(Self { context: context.clone(), dir, ledger, states, seen, changes })
    }

    /// Follows the ledger in a thread, until the program ends.
    pub(crate) fn start(mut self) -> Result<(), CliError> {
        let failed = |error| CliError::failed(format!("the ledger cannot be followed: {error}"));
        let mut watch = FileWatch::new().map_err(failed)?;
        watch.add_file(&self.dir.join(DAEMON_SOCKET));
        watch.add_dir(&self.dir.join(JOURNAL_DIR));
        let follow = move || {
            loop {
                let Ok(journal) = self.find_ledger() else {
                    thread::sleep(RETRY_PAUSE);
                    watch.wait(LOOK_MAX);
                    continue;
                };
                let client = if self.context.is_offline() { None } else { connect(&self.dir).ok().flatten() };
                match client {
                    Some(client) => {
                        // It holds a segment, and the daemon is followed for a long time.
                        drop(journal);
                        let first = self.seen.saturating_add(1);
                        let _ = follow_events(client, first, |event| self.take(&event));
                        thread::sleep(RETRY_PAUSE);
                    }
                    None => {
                        if self.read(&journal).is_err() {
                            thread::sleep(RETRY_PAUSE);
                        }
                        watch.wait(LOOK_MAX);
                    }
                }
            }
        };
        thread::Builder::new().name("web-feed".to_owned()).spawn(follow).map_err(failed)?;
        Ok(())
    }

    /// Opens the journal. Begins again if another ledger is in the place of the one that was followed, whose events have other
    /// numbers.
    fn find_ledger(&mut self) -> Result<Reader, CliError> {
        let journal = Reader::open(&self.dir)?;
        let found = journal.ledger_id()?;
        if self.ledger != Some(found) {
            (self.seen, self.states) = recorded(&self.context)?;
            self.ledger = Some(found);
            // It fails if there are no clients.
            let _ = self.changes.send(Change::OtherLedger);
        }
        Ok(journal)
    }

    fn read(&mut self, journal: &Reader) -> Result<(), CliError> {
        for event in journal.events(self.seen.saturating_add(1), u64::MAX) {
            self.take(&event?)?;
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), CliError> {
        self.seen = event.seq;
        let transition = apply(&mut self.states, event)?;
        let step = Step { event: event.clone(), transition };
        let change = EventLine {
            seq: event.seq,
            at_ms: millis(event.stamp.wall_ns),
            name: self.name(event.stream),
            r#type: name(&step),
            text: shortened(&escape(&details(event, Zone::Utc))),
        };
        let json = serde_json::to_string(&change).map_err(|error| CliError::failed(error.to_string()))?;
        // It fails if there are no clients.
        let _ = self.changes.send(Change::Event(json.into()));
        Ok(())
    }

    fn name(&self, id: StreamId) -> String {
        let stream = self.states.get(&id);
        stream.map(|stream| escape(&stream.handle.display_name()).into_owned()).unwrap_or_default()
    }
}

/// The number of the last event, and the states after it.
fn recorded(context: &Context) -> Result<(u64, States), CliError> {
    let ((seen, states), _) = context.read(|source| {
        let seen = source.head()?.end();
        Ok((seen, source.states_of(&StatesQuestion::All(seen))?))
    })?;
    Ok((seen, states.into_iter().map(|state| (state.id, state)).collect()))
}

fn shortened(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let (kept, rest) = text.split_at(end);
    if rest.is_empty() { kept.to_owned() } else { format!("{kept}…") }
}
