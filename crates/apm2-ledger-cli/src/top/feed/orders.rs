//! Sends changes to the daemon, as the commands `start`, `stop` and `restart` do.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::SyncSender,
    },
};

use apm2_daemon::protocol::{CallAnswer, ClientRequest};

use crate::{
    daemon,
    top::{
        app::dialog::{Change, Order},
        feed::thread::spawn,
        message::{Message, Note},
    },
};

/// Largest number of orders under way. A stop can take as long as its timeout.
const ORDERS_MAX: usize = 16;

/// The orders under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders(Arc<AtomicUsize>);

impl Orders {
    /// Has an order carried out, by a thread of its own. The result is sent to the screen as a note.
    pub(crate) fn begin(&self, order: Order, ledger: &Path, screen: &SyncSender<Message>) -> Result<(), Note> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= ORDERS_MAX {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return Err(Note::error(format!("{ORDERS_MAX} orders are under way; this one was not sent")));
        }
        let (under_way, ledger) = (Arc::clone(&self.0), ledger.to_owned());
        let spawned = spawn("orders", screen, move |screen| {
            let note = carry_out(order, &ledger);
            under_way.fetch_sub(1, Ordering::Relaxed);
            // The screen may have been closed meanwhile.
            let _ = screen.send(Message::Note(note));
        });
        spawned.map_err(|error| {
            self.0.fetch_sub(1, Ordering::Relaxed);
            Note::error(format!("the order was not sent: {error}"))
        })
    }
}

/// Sends an order and waits for its result.
fn carry_out(order: Order, ledger: &Path) -> Note {
    let Order { change, name, reason, .. } = order;
    let targets = vec![name.clone()];
    let request = match change {
        Change::Start => ClientRequest::Start { targets },
        Change::Stop => ClientRequest::Stop { targets, timeout: None },
        Change::Restart => ClientRequest::Restart { targets },
    };
    match daemon::order_with(ledger, request, reason, |_| {}) {
        Ok(answer) => result(&answer, change, &name),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Note::error(format!("{name}: cannot {}: {}{hint}", change.verb(), error.message()))
        }
    }
}

/// The result in words.
fn result(answer: &CallAnswer, change: Change, name: &str) -> Note {
    let verb = change.verb();
    let CallAnswer::Outcomes(outcomes) = answer else { return Note::done(format!("{name}: {verb} is done")) };
    if let Some((outcome, error)) = outcomes.iter().find_map(|outcome| Some((outcome, outcome.error.as_ref()?))) {
        return Note::error(format!("{}: cannot {verb}: {error}", outcome.name));
    }
    let note = outcomes.iter().find_map(|outcome| outcome.note.as_ref());
    Note::done(note.map_or_else(|| format!("{name}: {verb} is done"), |note| format!("{name}: {note}")))
}
