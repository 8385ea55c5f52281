//! The screen of `top`.
//!
//! [`app`] is its state, a pure function of messages and keys. [`draw`] draws it. [`feed`] has the threads that read. This
//! file connects them: messages come through one queue, and a frame is drawn when something has changed, at most ten times a
//! second.

mod app;
mod clock;
mod draw;
mod feed;
mod keys;
mod message;
mod pages;
mod regions;
mod screen;
mod signals;
mod snapshot;
mod tabs;
mod text;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{self, Event as TerminalEvent};

use crate::{
    context::Context,
    error::CliError,
    terminal,
    top::{
        app::{App, Setting},
        clock::Now,
        feed::{
            answers, events, log_follower, log_requests::LogRequests, mailbox::Mailbox, orders::Orders, thread::spawn,
        },
        message::{Message, Note},
        screen::Screen,
        signals::Signals,
    },
};

/// Shortest time between two frames that events cause.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// Shortest time between two frames that keys cause, so that held keys move smoothly.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(30);

/// Length of the queue of messages. A sender waits while it is full.
const QUEUE_MAX: usize = 1024;

/// Shows the screen until the user leaves it. Returns the exit code.
///
/// # Errors
/// The terminal cannot be used, or was lost.
pub(crate) fn run(context: &Context, has_mouse: bool) -> Result<i32, CliError> {
    let ledger = context.existing_ledger_dir()?;
    let (sender, messages) = sync_channel(QUEUE_MAX);
    let unstarted = |error: io::Error| CliError::failed(format!("the screen cannot be started: {error}"));
    let signals = Signals::listen(&sender).map_err(unstarted)?;
    let questions = Arc::new(Mailbox::default());
    let logs = Arc::new(LogRequests::default());
    let mut screen = Screen::open(has_mouse).map_err(unstarted)?;
    let context = Arc::new(context.clone());
    start_threads(&context, &questions, &logs, &sender).map_err(unstarted)?;
    let setting = Setting { ledger, zone: context.layout.zone, has_color: context.layout.color };
    let opened = Instant::now();
    let app = App::new(setting, screen.size().map_err(lost)?, Now::since(opened));
    let mut session = Session { app, opened, messages, sender, signals, questions, logs, orders: Orders::default() };
    let ended = session.show(&mut screen);
    drop(screen);
    ended.map(|code| context.exit_code(code))
}

fn lost(error: io::Error) -> CliError {
    CliError::failed(format!("the terminal cannot be used: {error}"))
}

fn start_threads(
    context: &Arc<Context>,
    questions: &Arc<Mailbox>,
    logs: &Arc<LogRequests>,
    screen: &SyncSender<Message>,
) -> io::Result<()> {
    let (of_events, of_answers) = (Arc::clone(context), Arc::clone(context));
    let (questions, logs) = (Arc::clone(questions), Arc::clone(logs));
    spawn("events", screen, move |screen| events::send(&of_events, screen))?;
    spawn("answers", screen, move |screen| answers::serve(&of_answers, &questions, screen))?;
    spawn("logs", screen, move |screen| log_follower::serve(&logs, screen))?;
    spawn("input", screen, read_input)
}

/// Sends keys and the mouse. Ends when the terminal is gone.
fn read_input(screen: &SyncSender<Message>) {
    loop {
        let message = match event::read() {
            Ok(event) => Message::Terminal(event),
            Err(error) => Message::InputLost(error.to_string()),
        };
        let is_last = matches!(message, Message::InputLost(_));
        if screen.send(message).is_err() || is_last {
            return;
        }
    }
}

/// The screen with what it is connected to.
struct Session {
    app: App,
    opened: Instant,
    messages: Receiver<Message>,
    sender: SyncSender<Message>,
    signals: Arc<Signals>,
    questions: Arc<Mailbox>,
    logs: Arc<LogRequests>,
    orders: Orders,
}

/// When the next frame is drawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Nothing,
    /// Something has changed.
    Change,
    /// Something has changed that the user waits for.
    Key,
}

impl Session {
    /// Takes messages and draws until the end. Returns the exit code.
    fn show(&mut self, screen: &mut Screen) -> Result<i32, CliError> {
        let mut pending = Pending::Key;
        let mut drawn: Option<Instant> = None;
        loop {
            let interval = match pending {
                Pending::Nothing => None,
                Pending::Change => Some(FRAME_INTERVAL),
                Pending::Key => Some(KEY_FRAME_INTERVAL),
            };
            let since = drawn.map_or(Duration::MAX, |drawn| drawn.elapsed());
            let wait = interval.map_or_else(|| self.app.wait_max(), |interval| interval.saturating_sub(since));
            if interval.is_some() && wait.is_zero() {
                self.frame(screen)?;
                drawn = Some(Instant::now());
                pending = Pending::Nothing;
                continue;
            }
            match self.messages.recv_timeout(wait) {
                Ok(message) => pending = pending.max(self.take(message)?),
                Err(RecvTimeoutError::Timeout) => {
                    self.app.tick(Now::since(self.opened));
                    pending = pending.max(Pending::Change);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
            while let Ok(message) = self.messages.try_recv() {
                pending = pending.max(self.take(message)?);
            }
            if let Some(code) = self.signals.exit_code() {
                return Ok(code);
            }
            if self.app.is_over {
                return Ok(0);
            }
            if self.signals.takes_suspend() | std::mem::take(&mut self.app.outbox.suspends) {
                self.suspend(screen)?;
                pending = Pending::Key;
            } else if self.signals.takes_continue() {
                self.enter(screen)?;
                pending = Pending::Key;
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<Pending, CliError> {
        let pending = match &message {
            Message::InputLost(error) => return Err(CliError::failed(format!("the terminal was lost: {error}"))),
            Message::Wake => return Ok(Pending::Nothing),
            Message::Terminal(TerminalEvent::Mouse(mouse)) if mouse.kind == event::MouseEventKind::Moved => {
                return Ok(Pending::Nothing);
            }
            // The present is read once, and is waited for as the effect of a key is.
            Message::Terminal(_) | Message::Snapshot(_) => Pending::Key,
            _ => Pending::Change,
        };
        self.app.update(message, Now::since(self.opened));
        Ok(pending)
    }

    /// Draws a frame, and passes on what is to be read and ordered.
    fn frame(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        self.app.tick(Now::since(self.opened));
        if let Some(text) = terminal::take_held().pop() {
            self.app.say(Note::error(text));
        }
        self.app.settle();
        self.app.outbox.questions.drain(..).for_each(|question| self.questions.put(question));
        if let Some(target) = self.app.outbox.logs.take() {
            self.logs.put(target);
        }
        for order in self.app.outbox.orders.drain(..).collect::<Vec<_>>() {
            if let Err(note) = self.orders.begin(order, &self.app.setting.ledger, &self.sender) {
                self.app.say(note);
            }
        }
        if std::mem::take(&mut self.app.outbox.redraws) {
            screen.redraw().map_err(lost)?;
        }
        screen.draw(|frame| draw::draw(frame, &self.app)).map_err(lost)
    }

    /// Gives the terminal back and stops until the program is continued.
    fn suspend(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        screen.leave();
        self.signals.stop_group().map_err(lost)?;
        self.enter(screen)
    }

    /// Takes the terminal, which another program may have used and resized.
    fn enter(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        screen.enter().map_err(lost)?;
        let size = screen.size().map_err(lost)?;
        let resized = TerminalEvent::Resize(size.width, size.height);
        self.app.update(Message::Terminal(resized), Now::since(self.opened));
        Ok(())
    }
}
