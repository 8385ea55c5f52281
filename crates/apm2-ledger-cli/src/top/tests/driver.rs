//! A screen that is driven by keys, with the answers of a ledger in memory.

use std::{path::PathBuf, time::Duration};

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers},
    layout::Size,
};

use crate::{
    render::zone::Zone,
    status::Supervision,
    top::{
        app::{App, Setting},
        clock::Now,
        draw::draw,
        message::Message,
        tests::record::Record,
    },
};

/// A screen and its ledger.
pub(super) struct Driver {
    pub(super) app: App,
    pub(super) record: Record,
    open_for: Duration,
}

impl Driver {
    /// A screen of this size that shows a day of a ledger.
    pub(super) fn new(width: u16, height: u16) -> Self {
        Self::of(Record::of_a_day(), width, height, Supervision::Answered)
    }

    pub(super) fn of(record: Record, width: u16, height: u16, supervision: Supervision) -> Self {
        let mut driver = Self::unread(record, width, height);
        let snapshot = driver.record.snapshot(supervision);
        driver.take(Message::Snapshot(Box::new(snapshot)));
        driver
    }

    /// A screen that has read nothing yet.
    pub(super) fn unread(record: Record, width: u16, height: u16) -> Self {
        let setting = Setting { ledger: PathBuf::from("/srv/ledger"), zone: Zone::Utc, has_color: true };
        let now = Now { wall: record.now(), open_for: Duration::ZERO };
        let app = App::new(setting, Size::new(width, height), now);
        Self { app, record, open_for: Duration::ZERO }
    }

    fn now(&self) -> Now {
        Now { wall: self.record.now(), open_for: self.open_for }
    }

    /// Takes a message, and all answers that follow.
    pub(super) fn take(&mut self, message: Message) {
        self.app.update(message, self.now());
        self.settle();
    }

    /// Draws frames until there are no more questions.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            self.app.tick(self.now());
            self.app.settle();
            let questions = std::mem::take(&mut self.app.outbox.questions);
            if questions.is_empty() {
                return;
            }
            for answer in questions.iter().filter_map(|question| self.record.answer(question)) {
                self.app.update(Message::Answer(Box::new(answer)), self.now());
            }
        }
        panic!("the questions do not end");
    }

    /// Lets time pass without a message.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.open_for += Duration::from_secs(seconds);
        self.record.wait(seconds);
        self.settle();
    }

    /// Sends the events of the record that the screen does not have.
    pub(super) fn send_events(&mut self) {
        let seen = self.app.live.as_ref().unwrap().seq;
        let new: Vec<_> = self.record.events.iter().filter(|event| event.seq > seen).cloned().collect();
        for event in new {
            self.take(Message::Event(Box::new(event)));
        }
    }

    pub(super) fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.take(Message::Terminal(TerminalEvent::Key(KeyEvent::new(code, modifiers))));
    }

    /// Presses keys, each of which is a character.
    pub(super) fn press(&mut self, keys: &str) {
        keys.chars().for_each(|key| self.key(KeyCode::Char(key), KeyModifiers::NONE));
    }

    pub(super) fn enter(&mut self) {
        self.key(KeyCode::Enter, KeyModifiers::NONE);
    }

    pub(super) fn escape(&mut self) {
        self.key(KeyCode::Esc, KeyModifiers::NONE);
    }

    /// The name of the selected instance.
    pub(super) fn selected(&self) -> String {
        self.app.selected().map(|stream| stream.handle.display_name()).unwrap_or_default()
    }

    /// Selects the instance with this name.
    pub(super) fn select(&mut self, name: &str) {
        self.press("g");
        for _ in 0..self.app.list.rows.len() {
            if self.selected() == name {
                return;
            }
            self.press("j");
        }
        panic!("{name} is not listed");
    }

    /// The names of the listed instances.
    pub(super) fn names(&self) -> Vec<String> {
        let states = &self.app.shown().unwrap().states;
        self.app.list.rows.iter().map(|id| states[id].handle.display_name()).collect()
    }

    /// The cells of a frame.
    pub(super) fn buffer(&self) -> Buffer {
        let size = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        terminal.draw(|frame| draw(frame, &self.app)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The text of a frame, without blanks at the ends of its lines.
    pub(super) fn text(&self) -> String {
        let buffer = self.buffer();
        let rows = buffer.content.chunks(usize::from(buffer.area.width).max(1));
        let line = |cells: &[ratatui::buffer::Cell]| {
            cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
        };
        rows.map(line).collect::<Vec<_>>().join("\n")
    }
}
