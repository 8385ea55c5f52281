//! What keys do while a dialogue is open.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    time::At,
    top::{
        app::{
            App,
            dialog::{Dialog, Order},
            search::Search,
        },
        keys::{self, Command},
        message::Note,
    },
};

impl App {
    /// Passes a key to a dialogue that was open. It stays open unless the key closes it.
    pub(super) fn press_in(&mut self, mut dialog: Dialog, key: &KeyEvent) {
        let is_control = |character| key.modifiers == KeyModifiers::CONTROL && key.code == KeyCode::Char(character);
        if is_control('c') || is_control('z') || is_control('l') {
            if let Some(command) = keys::command(key) {
                self.run(command);
            }
            self.dialog = Some(dialog);
            return;
        }
        match (key.code, &mut dialog) {
            (KeyCode::Esc, _) => self.cancel(dialog),
            (_, Dialog::Help(top)) => {
                match keys::command(key) {
                    Some(Command::Move(lines)) => *top = moved(*top, lines, keys::help_lines()),
                    Some(Command::MovePages(pages)) => {
                        *top = moved(*top, pages.saturating_mul(10), keys::help_lines());
                    }
                    Some(Command::Help | Command::Quit | Command::Open) => return,
                    _ => {}
                }
                self.dialog = Some(dialog);
            }
            (_, Dialog::Overview(top)) => {
                match keys::command(key) {
                    Some(Command::Move(lines)) => *top = moved(*top, lines, self.overview_lines().len()),
                    Some(Command::MovePages(pages)) => {
                        *top = moved(*top, pages.saturating_mul(10), self.overview_lines().len());
                    }
                    Some(Command::Overview) => self.ask_overview(),
                    Some(Command::Quit | Command::Open) => return,
                    _ => {}
                }
                self.dialog = Some(dialog);
            }
            (KeyCode::Enter, _) => self.accept(dialog),
            (_, dialog_with_field) => {
                if let Some(field) = dialog_with_field.field() {
                    field.press(key);
                }
                self.dialog = Some(dialog);
                self.apply_filter();
            }
        }
    }

    /// Filters the list by what was typed so far.
    pub(super) fn apply_filter(&mut self) {
        if let Some(Dialog::Filter { field, .. }) = &self.dialog {
            field.text().trim().clone_into(&mut self.list.filter);
            self.is_list_stale = true;
        }
    }

    fn cancel(&mut self, dialog: Dialog) {
        match dialog {
            Dialog::Filter { before, .. } => {
                self.list.filter = before;
                self.is_list_stale = true;
            }
            Dialog::Confirm { change, name, .. } => {
                self.say(Note::done(format!("{name}: no {}", change.verb())));
            }
            Dialog::Help(_) | Dialog::Overview(_) | Dialog::Jump { .. } | Dialog::Search(_) => {}
        }
    }

    fn accept(&mut self, dialog: Dialog) {
        match dialog {
            Dialog::Help(_) | Dialog::Overview(_) | Dialog::Filter { .. } => {}
            Dialog::Search(field) => {
                self.detail.search = Search::of(field.text());
                self.show_found(true);
            }
            Dialog::Jump { field, .. } => match field.text().parse::<At>() {
                Ok(at) => self.jump(at),
                Err(error) => self.dialog = Some(Dialog::Jump { field, error: Some(error) }),
            },
            Dialog::Confirm { change, id, name, reason } => {
                let reason = Some(reason.text().trim().to_owned()).filter(|reason| !reason.is_empty());
                self.say(Note::done(format!("{name}: {} was asked for", change.verb())));
                self.outbox.orders.push(Order { change, id, name, reason });
            }
        }
    }
}

/// The line at this distance from `top`, of `count` lines at most.
fn moved(top: usize, lines: i32, count: usize) -> usize {
    let distance = usize::try_from(lines.unsigned_abs()).unwrap_or(0);
    if lines < 0 { top.saturating_sub(distance) } else { top.saturating_add(distance).min(count) }
}
