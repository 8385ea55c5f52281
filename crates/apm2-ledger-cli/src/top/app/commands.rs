//! What the commands of the keys do.

use ratatui::layout::Rect;

use crate::top::{
    app::{
        App,
        dialog::{Change, Dialog},
        field::TextField,
    },
    keys::Command,
    message::{Note, StepDirection},
    regions::Focus,
    tabs::Tab,
};

/// A distance beyond every list and text.
const FAR: i64 = i64::MAX / 2;

impl App {
    /// Carries out a command.
    pub(super) fn run(&mut self, command: Command) {
        match command {
            Command::Move(lines) => self.move_by(i64::from(lines)),
            Command::MovePages(pages) => self.move_by(i64::from(pages) * self.page_rows()),
            Command::First => self.move_by(-FAR),
            Command::Last => self.move_by(FAR),
            Command::Shift(columns) => self.detail.view.shift(i64::from(columns)),
            Command::Open => self.focus = Focus::Detail,
            Command::Back => self.back(),
            Command::NextTab => self.detail.show_tab(self.detail.tab.neighbour(1)),
            Command::PreviousTab => self.detail.show_tab(self.detail.tab.neighbour(Tab::ALL.len() - 1)),
            Command::Tab(index) => self.detail.show_tab(Tab::ALL.get(index).copied().unwrap_or_default()),
            Command::Start => self.confirm(Change::Start),
            Command::Stop => self.confirm(Change::Stop),
            Command::Restart => self.confirm(Change::Restart),
            Command::Find => self.find(),
            Command::NextFound => self.show_found(true),
            Command::PreviousFound => self.show_found(false),
            Command::NextSort => self.sort(|list| list.sort = list.sort.next()),
            Command::ReverseSort => self.sort(|list| list.is_reversed = !list.is_reversed),
            Command::ShowAll => self.show_all(),
            Command::Follow => self.detail.view.follows = !self.detail.view.follows,
            Command::Raw => self.detail.is_raw = !self.detail.is_raw,
            Command::EarlierEvent => self.step(StepDirection::Earlier, None),
            Command::LaterEvent => self.step(StepDirection::Later, None),
            Command::EarlierOfProcess => self.step(StepDirection::Earlier, self.list.selected()),
            Command::LaterOfProcess => self.step(StepDirection::Later, self.list.selected()),
            Command::Jump => self.dialog = Some(Dialog::Jump { field: TextField::default(), error: None }),
            Command::Overview => {
                self.ask_overview();
                self.dialog = Some(Dialog::Overview(0));
            }
            Command::Help => self.dialog = Some(Dialog::Help(0)),
            Command::Redraw => self.outbox.redraws = true,
            Command::Suspend => self.outbox.suspends = true,
            Command::Quit => self.is_over = true,
        }
    }

    /// Moves the selection, or the text if it has the keys.
    fn move_by(&mut self, lines: i64) {
        match self.focus {
            Focus::List => self.list.move_by(lines),
            Focus::Detail => self.detail.view.move_by(lines),
        }
    }

    /// The number of lines of a page of what has the keys.
    fn page_rows(&self) -> i64 {
        let height = |area: Rect| i64::from(area.height.max(1));
        self.regions().map_or(1, |regions| match self.focus {
            Focus::List => height(regions.rows),
            Focus::Detail => height(regions.text),
        })
    }

    /// Opens the dialogue that filters the list, or searches in the text if it has the keys.
    fn find(&mut self) {
        self.dialog = Some(match self.focus {
            Focus::List => {
                let before = self.list.filter.clone();
                Dialog::Filter { field: TextField::with(&before), before }
            }
            Focus::Detail => Dialog::Search(TextField::default()),
        });
    }

    /// Shows the next line that was searched for, or the one before.
    pub(super) fn show_found(&mut self, is_next: bool) {
        if !self.detail.show_found(is_next) {
            self.say(Note::error(match self.detail.search.needle() {
                "" => "nothing was searched for: Enter, then / searches in the text".to_owned(),
                needle => format!("{needle:?} is not in this text"),
            }));
        }
    }

    fn sort(&mut self, change: impl FnOnce(&mut crate::top::app::list::List)) {
        change(&mut self.list);
        self.is_list_stale = true;
        let direction = if self.list.is_reversed { ", reversed" } else { "" };
        self.say(Note::done(format!("sorted by {}{direction}", self.list.sort.name())));
    }

    fn show_all(&mut self) {
        self.list.shows_all = !self.list.shows_all;
        self.is_list_stale = true;
        let left_out = self.shown().map_or(0, |snapshot| snapshot.left_out);
        if self.list.shows_all && left_out > 0 {
            self.say(Note::done(format!("{left_out} more that are over are in `apm2-ledger list --all` alone")));
        }
    }

    /// Leaves what was entered last.
    fn back(&mut self) {
        if self.past.is_some() || self.is_jumping {
            self.leave_past();
        } else if self.focus == Focus::Detail {
            self.focus = Focus::List;
        } else if !self.list.filter.is_empty() {
            self.list.filter.clear();
            self.is_list_stale = true;
        }
        self.note = None;
    }

    /// Asks whether a change of the selected process is to be made.
    fn confirm(&mut self, change: Change) {
        if self.past.is_some() {
            self.say(Note::error(format!("this is the past, in which nothing can be {}; Esc goes back", done(change))));
            return;
        }
        let (Some(stream), Some(live)) = (self.selected(), &self.live) else {
            self.say(Note::error("no process is selected"));
            return;
        };
        let (id, name) = (stream.id, stream.handle.display_name());
        if !live.context.is_kept(stream) {
            self.say(Note::error(format!("{name} is not supervised any more, so it cannot be {}", done(change))));
            return;
        }
        self.dialog = Some(Dialog::Confirm { change, id, name, reason: TextField::default() });
    }
}

/// The participle of a change.
const fn done(change: Change) -> &'static str {
    match change {
        Change::Start => "started",
        Change::Stop => "stopped",
        Change::Restart => "restarted",
    }
}
