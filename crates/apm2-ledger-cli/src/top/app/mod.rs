//! The state of the screen: what is selected, what is open, which moment is shown. It changes by messages and commands
//! alone, reads nothing, and says in its outbox what has to be read or ordered.

mod commands;
mod detail;
mod dialog_keys;
mod live;
mod mouse;
mod overview;
mod settle;
mod time_travel;

pub(crate) mod dialog;
pub(crate) mod field;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod outbox;
pub(crate) mod past;
pub(crate) mod samples;
pub(crate) mod search;
pub(crate) mod sort;
pub(crate) mod text_view;
pub(crate) mod totals;

use std::{path::PathBuf, time::Duration};

use apm2_core::log::LogsDir;
use apm2_model::state::stream::Stream;
use ratatui::{
    crossterm::event::{Event as TerminalEvent, KeyEvent, KeyEventKind},
    layout::Size,
};

use crate::{
    period_lanes::Timeline,
    render::zone::Zone,
    top::{
        app::{
            detail::Detail, dialog::Dialog, list::List, outbox::Outbox, past::Past, samples::Samples, totals::Totals,
        },
        clock::Now,
        keys::{self, Command},
        message::{Answer, Message, Note},
        regions::{Focus, Regions},
        snapshot::Snapshot,
    },
};

/// How long a text for the user is shown.
const NOTE_SHOWN: Duration = Duration::from_secs(12);

/// What does not change while the screen is open.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The directory of the ledger.
    pub(crate) ledger: PathBuf,
    pub(crate) zone: Zone,
    pub(crate) has_color: bool,
}

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) setting: Setting,
    pub(crate) size: Size,
    pub(crate) now: Now,
    /// The present; `None` until it was read.
    pub(crate) live: Option<Snapshot>,
    /// The past that is shown in its place.
    pub(crate) past: Option<Past>,
    /// Whether a moment of the past is being read.
    pub(crate) is_jumping: bool,
    pub(crate) list: List,
    pub(crate) totals: Totals,
    pub(crate) samples: Samples,
    pub(crate) detail: Detail,
    pub(crate) focus: Focus,
    pub(crate) dialog: Option<Dialog>,
    /// What happened lately, as it was read last.
    pub(crate) overview: Option<Timeline>,
    note: Option<(Note, Duration)>,
    pub(crate) outbox: Outbox,
    logs_dir: LogsDir,
    /// Whether the list has to be made again.
    is_list_stale: bool,
    /// When to look again at what changes without events.
    facts_due: Option<Duration>,
    pub(crate) is_over: bool,
}

impl App {
    pub(crate) fn new(setting: Setting, size: Size, now: Now) -> Self {
        let logs_dir = LogsDir::new(setting.ledger.join("logs"));
        Self {
            setting,
            size,
            now,
            live: None,
            past: None,
            is_jumping: false,
            list: List::default(),
            totals: Totals::default(),
            samples: Samples::default(),
            detail: Detail::default(),
            focus: Focus::default(),
            dialog: None,
            overview: None,
            note: None,
            outbox: Outbox::default(),
            logs_dir,
            is_list_stale: true,
            facts_due: None,
            is_over: false,
        }
    }

    /// The moment that is shown; `None` until the ledger was read.
    pub(crate) fn shown(&self) -> Option<&Snapshot> {
        self.past.as_ref().map(|past| &past.snapshot).or(self.live.as_ref())
    }

    /// The selected instance at the moment that is shown.
    pub(crate) fn selected(&self) -> Option<&Stream> {
        self.shown()?.states.get(&self.list.selected()?)
    }

    /// The parts of the screen; `None` when it is too small.
    pub(crate) fn regions(&self) -> Option<Regions> {
        let banner_rows = self.past.as_ref().map_or(0, |past| 1 + u16::from(past.is_unwatched()));
        Regions::new(self.size, self.list.rows.len(), banner_rows, self.focus)
    }

    /// The text for the user, as long as it is new.
    pub(crate) fn note(&self) -> Option<&Note> {
        let (note, since) = self.note.as_ref()?;
        (self.now.open_for.saturating_sub(*since) < NOTE_SHOWN).then_some(note)
    }

    /// Shows a text.
    pub(crate) fn say(&mut self, note: Note) {
        self.note = Some((note, self.now.open_for));
    }

    /// Takes a message at the time `now`.
    pub(crate) fn update(&mut self, message: Message, now: Now) {
        self.tick(now);
        match message {
            Message::Terminal(event) => self.on_terminal(&event),
            Message::Snapshot(snapshot) => self.on_snapshot(*snapshot),
            Message::Event(event) => self.on_event(&event),
            Message::DaemonLost(supervision) => self.on_daemon_lost(supervision),
            Message::Answer(answer) => self.on_answer(*answer),
            Message::Logs(update) => self.detail.take_logs(update),
            Message::Note(note) => self.say(note),
            Message::Broken(text) | Message::InputLost(text) => self.say(Note::error(text)),
            Message::Wake => {}
        }
    }

    /// Notes the time.
    pub(crate) fn tick(&mut self, now: Now) {
        self.now = now;
        if let Some(live) = &mut self.live {
            live.context.moment.now = now.wall;
        }
    }

    fn on_terminal(&mut self, event: &TerminalEvent) {
        match event {
            TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => self.press(key),
            TerminalEvent::Paste(text) => {
                if let Some(field) = self.dialog.as_mut().and_then(Dialog::field) {
                    field.insert(text);
                }
                self.apply_filter();
            }
            TerminalEvent::Mouse(mouse) => self.on_mouse(*mouse),
            TerminalEvent::Resize(width, height) => {
                self.size = Size::new(*width, *height);
                self.detail.redo();
            }
            TerminalEvent::Key(_) | TerminalEvent::FocusGained | TerminalEvent::FocusLost => {}
        }
    }

    fn press(&mut self, key: &KeyEvent) {
        let command = keys::command(key);
        // What cannot be seen cannot be used.
        if self.regions().is_none() {
            let leaves = |command: &Command| matches!(command, Command::Quit | Command::Suspend);
            return command.filter(leaves).map_or((), |command| self.run(command));
        }
        match (self.dialog.take(), command) {
            (Some(dialog), _) => self.press_in(dialog, key),
            (None, Some(command)) => self.run(command),
            (None, None) => {}
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::History(key, history) => self.detail.take_history(key, history),
            Answer::Why(key, evidence) => self.detail.take_why(key, evidence),
            Answer::Past(answer) => self.on_past(answer),
            Answer::NoStep(direction) => self.on_no_step(direction),
            Answer::Facts { observed, launched } => self.on_facts(observed, launched),
            Answer::Samples(samples) => self.samples.replace(samples),
            Answer::Overview(timeline) => self.overview = Some(*timeline),
            Answer::Failed(question, text) => self.on_failed(&question, text),
        }
    }
}
