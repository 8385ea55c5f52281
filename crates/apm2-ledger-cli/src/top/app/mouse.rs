//! What the mouse does.

use ratatui::{
    crossterm::event::{MouseButton, MouseEvent, MouseEventKind},
    layout::{Position, Rect},
};

use crate::top::{app::App, regions::Focus, tabs::Tab};

/// Lines by which a notch of the wheel moves.
const WHEEL_LINES: i64 = 3;

impl App {
    /// Selects rows and tabs, and scrolls what the pointer is on. Does nothing while a dialogue is open.
    pub(super) fn on_mouse(&mut self, mouse: MouseEvent) {
        let Some(regions) = self.regions().filter(|_| self.dialog.is_none()) else { return };
        let at = Position::new(mouse.column, mouse.row);
        let is_in = |area: Rect| area.contains(at);
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) if is_in(regions.rows) => {
                self.focus = Focus::List;
                let row = self.list.top.saturating_add(usize::from(at.y - regions.rows.y));
                if row < self.list.rows.len() {
                    self.list.select(row);
                }
            }
            MouseEventKind::Down(MouseButton::Left) if is_in(regions.tabs) => {
                if let Some(tab) = Tab::at(at.x) {
                    self.detail.show_tab(tab);
                }
            }
            MouseEventKind::Down(MouseButton::Left) if is_in(regions.text) => self.focus = Focus::Detail,
            MouseEventKind::ScrollUp => self.wheel(is_in(regions.text), -1),
            MouseEventKind::ScrollDown => self.wheel(is_in(regions.text), 1),
            _ => {}
        }
    }

    fn wheel(&mut self, is_on_text: bool, direction: i64) {
        if is_on_text {
            self.detail.view.move_by(direction * WHEEL_LINES);
        } else {
            self.list.move_by(direction);
        }
    }
}
