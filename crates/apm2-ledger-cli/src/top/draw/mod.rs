//! Draws the state of the screen. Each function draws one part, reads the state, and changes nothing.

mod canvas;
mod cells;
mod columns;
mod detail;
mod dialogs;
mod footer;
mod header;
mod list;

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    widgets::Paragraph,
};

use crate::top::{app::App, draw::canvas::Canvas, regions::SIZE_MIN};

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    let Some(regions) = app.regions().filter(|regions| is_inside(regions.footer, area)) else {
        return too_small(frame, area);
    };
    let mut canvas = Canvas::new(frame.buffer_mut(), app.setting.has_color);
    header::draw(&mut canvas, regions.header, app);
    if let (Some(banner), Some(past)) = (regions.banner, &app.past) {
        header::banner(&mut canvas, banner, past, app);
    }
    list::draw(&mut canvas, regions, app);
    detail::tabs(&mut canvas, regions.tabs, app);
    detail::text(&mut canvas, regions.text, app);
    footer::draw(&mut canvas, regions.footer, app);
    if let Some(dialog) = &app.dialog {
        let cursor = dialogs::draw(&mut canvas, area, dialog, app);
        if let Some(cursor) = cursor {
            frame.set_cursor_position(cursor);
        }
    }
}

/// Whether a part is inside of the terminal, which may have become smaller a moment ago.
fn is_inside(part: Rect, area: Rect) -> bool {
    part.bottom() <= area.bottom() && part.right() <= area.right()
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (SIZE_MIN.width, SIZE_MIN.height);
    let text = format!("{width}x{height} is needed,\nthis is {}x{}.\n\nq: quit", area.width, area.height);
    frame.render_widget(Paragraph::new(text).alignment(Alignment::Center), area);
}
