//! Sends the present to the screen, and then the events as they are recorded, also those of later daemons. While no daemon
//! answers, the events are read from the journal.

use std::{
    path::PathBuf,
    sync::mpsc::{SendError, SyncSender},
    thread,
    time::Duration,
};

use apm2_core::notify::FileWatch;
use apm2_daemon::{DAEMON_SOCKET, client::ClientError};
use apm2_ledger::JOURNAL_DIR;

use crate::{
    context::{Context, NoAnswer},
    daemon::{connect, follow_events},
    error::CliError,
    status::Supervision,
    top::{
        feed::snapshots::{from_daemon, from_journal},
        message::{Message, Note},
    },
};

/// Time to wait after a lost connection, because the daemon may still be shutting down.
const DAEMON_POLL: Duration = Duration::from_millis(200);

/// Longest wait before the daemon is looked for again. A change of its socket or of the journal ends the wait.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Shortest time between two readings of the journal.
const JOURNAL_INTERVAL: Duration = Duration::from_millis(250);

/// Why the events end.
pub(crate) enum Ended {
    /// The screen is closed.
    Closed,
    /// The events cannot be read.
    Failed(CliError),
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

impl From<SendError<Message>> for Ended {
    fn from(_: SendError<Message>) -> Self {
        Self::Closed
    }
}

/// Sends the present and what follows, until the screen is closed.
pub(crate) fn send(context: &Context, screen: &SyncSender<Message>) {
    let dir = match context.ledger_dir() {
        Ok(dir) => dir,
        Err(error) => return drop(screen.send(Message::Broken(error.message().to_owned()))),
    };
    let Ok(mut watch) = FileWatch::new() else {
        return drop(screen.send(Message::Broken("the ledger cannot be watched: no descriptor is left".to_owned())));
    };
    watch.add_file(&dir.join(DAEMON_SOCKET));
    watch.add_dir(&dir.join(JOURNAL_DIR));
    let mut events = Events { context, dir, screen, journal_seq: None };
    let mut said = None;
    loop {
        match events.next() {
            Ok(Next::Again) => thread::sleep(DAEMON_POLL),
            Ok(Next::Wait) => {
                thread::sleep(JOURNAL_INTERVAL);
                watch.wait(LOOK_MAX);
            }
            Err(Ended::Closed) => return,
            Err(Ended::Failed(error)) => {
                // The same error is said once.
                let text = error.message().to_owned();
                if said.as_ref() != Some(&text) && screen.send(Message::Note(Note::error(&text))).is_err() {
                    return;
                }
                said = Some(text);
                events.journal_seq = None;
                watch.wait(LOOK_MAX);
            }
        }
    }
}

/// What to do before the next look.
enum Next {
    Again,
    /// Wait until a file changes.
    Wait,
}

struct Events<'a> {
    context: &'a Context,
    dir: PathBuf,
    screen: &'a SyncSender<Message>,
    /// The last event that was sent from the journal; `None` if the present has to be read as a whole.
    journal_seq: Option<u64>,
}

impl Events<'_> {
    fn next(&mut self) -> Result<Next, Ended> {
        match from_daemon(self.context)? {
            Ok(snapshot) => {
                self.journal_seq = None;
                let first = snapshot.seq.saturating_add(1);
                self.screen.send(Message::Snapshot(Box::new(snapshot)))?;
                self.follow(first)?;
                Ok(Next::Again)
            }
            Err(NoAnswer::Supervision(supervision)) => self.read_journal(supervision),
            Err(NoAnswer::Refused(error)) => {
                if self.journal_seq.is_none() {
                    self.screen.send(Message::Note(Note::error(error.message())))?;
                }
                self.read_journal(Supervision::Unanswered)
            }
        }
    }

    /// Sends the events of one daemon until it ends.
    fn follow(&self, first: u64) -> Result<(), Ended> {
        let Some(client) = connect(&self.dir)? else {
            return Ok(self.screen.send(Message::DaemonLost(Supervision::Absent))?);
        };
        let supervision = match follow_events(client, first, |event| self.screen.send(Message::Event(Box::new(event))))
        {
            Ok(sent) => {
                sent?;
                Supervision::Absent
            }
            Err(ClientError::Gone(error)) if error.kind() == std::io::ErrorKind::WouldBlock => Supervision::Unanswered,
            Err(ClientError::Gone(_) | ClientError::Leaving) => Supervision::Absent,
            Err(error) => {
                self.screen.send(Message::Note(Note::error(CliError::from(error).message())))?;
                Supervision::Unanswered
            }
        };
        Ok(self.screen.send(Message::DaemonLost(supervision))?)
    }

    /// Sends what is new in the journal.
    fn read_journal(&mut self, supervision: Supervision) -> Result<Next, Ended> {
        let Some(seq) = self.journal_seq else {
            let snapshot = from_journal(self.context, supervision)?;
            self.journal_seq = Some(snapshot.seq);
            self.screen.send(Message::Snapshot(Box::new(snapshot)))?;
            return Ok(Next::Wait);
        };
        for event in self.context.reader()?.events(seq.saturating_add(1), u64::MAX) {
            let event = event.map_err(CliError::from)?;
            self.journal_seq = Some(event.seq);
            self.screen.send(Message::Event(Box::new(event)))?;
        }
        Ok(Next::Wait)
    }
}
