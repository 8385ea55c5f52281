//! The keys of the screen: what each means, and how it is described.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key or a click asks for while no dialogue is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Move the selection or the text by this number of lines; negative for up.
    Move(i32),
    /// Move by this number of pages.
    MovePages(i32),
    First,
    Last,
    /// Move the text of the detail pane sideways by this number of columns.
    Shift(i32),
    /// Give the detail pane the keys and more space.
    Open,
    /// Leave what was entered last: the detail pane, the past, the filter.
    Back,
    NextTab,
    PreviousTab,
    /// The tab with this number, from 0.
    Tab(usize),
    Start,
    Stop,
    Restart,
    /// Filter the list, or search in the text if it has the keys.
    Find,
    /// Go to the next line that was searched for.
    NextFound,
    /// Go to the one before.
    PreviousFound,
    NextSort,
    ReverseSort,
    ShowAll,
    Follow,
    Raw,
    EarlierEvent,
    LaterEvent,
    EarlierOfProcess,
    LaterOfProcess,
    Jump,
    /// Show what happened lately.
    Overview,
    Help,
    Redraw,
    Suspend,
    Quit,
}

/// Columns by which a key moves the text sideways.
const SHIFT_COLUMNS: i32 = 8;

/// The command of a key; `None` for a key without a meaning.
pub(crate) fn command(key: &KeyEvent) -> Option<Command> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Command::Quit),
            KeyCode::Char('z') => Some(Command::Suspend),
            KeyCode::Char('l') => Some(Command::Redraw),
            KeyCode::Char('d' | 'f') => Some(Command::MovePages(1)),
            KeyCode::Char('u' | 'b') => Some(Command::MovePages(-1)),
            _ => None,
        };
    }
    if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META) {
        return None;
    }
    Some(match key.code {
        KeyCode::Up | KeyCode::Char('k') => Command::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(1),
        KeyCode::PageUp => Command::MovePages(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Command::MovePages(1),
        KeyCode::Home | KeyCode::Char('g') => Command::First,
        KeyCode::End | KeyCode::Char('G') => Command::Last,
        KeyCode::Left | KeyCode::Char('h') => Command::Shift(-SHIFT_COLUMNS),
        KeyCode::Right | KeyCode::Char('l') => Command::Shift(SHIFT_COLUMNS),
        KeyCode::Enter => Command::Open,
        KeyCode::Esc => Command::Back,
        KeyCode::Tab => Command::NextTab,
        KeyCode::BackTab => Command::PreviousTab,
        KeyCode::Char('1') => Command::Tab(0),
        KeyCode::Char('2') => Command::Tab(1),
        KeyCode::Char('3') => Command::Tab(2),
        KeyCode::Char('4') => Command::Tab(3),
        KeyCode::Char('s') => Command::Start,
        KeyCode::Char('x') => Command::Stop,
        KeyCode::Char('r') => Command::Restart,
        KeyCode::Char('/') => Command::Find,
        KeyCode::Char('n') => Command::NextFound,
        KeyCode::Char('N') => Command::PreviousFound,
        KeyCode::Char('o') => Command::NextSort,
        KeyCode::Char('O') => Command::ReverseSort,
        KeyCode::Char('a') => Command::ShowAll,
        KeyCode::Char('f') => Command::Follow,
        KeyCode::Char('p') => Command::Raw,
        KeyCode::Char('[') => Command::EarlierEvent,
        KeyCode::Char(']') => Command::LaterEvent,
        KeyCode::Char('{') => Command::EarlierOfProcess,
        KeyCode::Char('}') => Command::LaterOfProcess,
        KeyCode::Char('t') => Command::Jump,
        KeyCode::Char('v') => Command::Overview,
        KeyCode::Char('?') | KeyCode::F(1) => Command::Help,
        KeyCode::Char('q') => Command::Quit,
        _ => return None,
    })
}

/// Keys with their meanings, below a heading.
pub(crate) type KeyGroup = (&'static str, &'static [(&'static str, &'static str)]);

/// The page that `?` shows.
pub(crate) const HELP: [KeyGroup; 5] = [
    (
        "Move",
        &[
            ("↑ ↓  j k", "select a process, or scroll the text"),
            ("PgUp PgDn", "a page; also Ctrl-B, Ctrl-F, Space"),
            ("g G", "the first, the last"),
            ("← →  h l", "text sideways"),
            ("Enter  Esc", "into the text below, and back"),
            ("Tab  1-4", "runs, events, logs, why"),
            ("mouse", "click rows and tabs, wheel; Shift selects text"),
        ],
    ),
    (
        "Control",
        &[
            ("s x r", "start, stop, restart the selected process:"),
            ("", "asks first, and records the reason that you give"),
        ],
    ),
    (
        "List",
        &[
            ("/", "filter by name, state, command, id or agent"),
            ("o O", "next sort order, and reverse it"),
            ("a", "also processes that are over or removed"),
            ("v", "overview: what failed, gave up, is down; who did what"),
        ],
    ),
    (
        "Text",
        &[
            ("f", "follow: stay at the end of the text"),
            ("/  n N", "in the text: search, the next line, the one before"),
            ("p", "logs of agents: as text, or as they were written"),
        ],
    ),
    (
        "Time",
        &[
            ("[ ]", "the event before, the next one"),
            ("{ }", "the same of the selected process only"),
            ("t", "jump to a time or to the number of an event"),
            ("Esc", "back to the present"),
        ],
    ),
];

/// The number of lines of the page that `?` shows, with a heading for each group.
pub(crate) fn help_lines() -> usize {
    HELP.iter().map(|(_, keys)| keys.len() + 1).sum()
}

/// The keys in the last line of the screen, the most important first, for the present.
pub(crate) const FOOTER_LIVE: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("v", "overview"),
    ("Tab", "next tab"),
    ("s", "start"),
    ("x", "stop"),
    ("r", "restart"),
    ("/", "filter"),
    ("o", "sort"),
    ("[", "past"),
    ("t", "time"),
    ("Enter", "open"),
    ("a", "all"),
    ("f", "follow"),
];

/// The same for the past.
pub(crate) const FOOTER_PAST: &[(&str, &str)] = &[
    ("Esc", "back to the present"),
    ("[ ]", "event before/after"),
    ("{ }", "of this process"),
    ("t", "time"),
    ("v", "overview"),
    ("?", "help"),
    ("q", "quit"),
    ("Tab", "next tab"),
    ("/", "filter"),
    ("o", "sort"),
];
