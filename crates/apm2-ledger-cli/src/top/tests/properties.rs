//! Random keys, clicks, sizes, answers and events never panic, and leave the state sound.

use apm2_model::event::kind::{EventKind, StartTrigger};
use proptest::prelude::*;
use ratatui::crossterm::event::{
    Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::{
    status::Supervision,
    top::{
        message::Message,
        tests::{driver::Driver, record::id},
    },
};

/// What happens to the screen.
#[derive(Debug, Clone)]
enum Happening {
    Key(KeyCode, KeyModifiers),
    Mouse(MouseEventKind, u16, u16),
    Paste(String),
    Resize(u16, u16),
    Crash(u8),
    Restart(u8),
    Removal(u8),
    DaemonLost,
    Snapshot,
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let code = prop_oneof![
        8 => proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        6 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::PageUp,
            KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Left, KeyCode::Right, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::F(1),
        ]),
    ];
    let modifiers = prop_oneof![
        6 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::SHIFT), 1 => Just(KeyModifiers::ALT)
    ];
    let mouse = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
    ]);
    prop_oneof![
        20 => (code, modifiers).prop_map(|(code, modifiers)| Happening::Key(code, modifiers)),
        3 => (mouse, 0..210_u16, 0..70_u16).prop_map(|(kind, x, y)| Happening::Mouse(kind, x, y)),
        1 => ".{0,20}".prop_map(Happening::Paste),
        1 => (0..210_u16, 0..70_u16).prop_map(|(width, height)| Happening::Resize(width, height)),
        1 => (0..3_u8).prop_map(Happening::Crash),
        1 => (0..3_u8).prop_map(Happening::Restart),
        1 => (0..3_u8).prop_map(Happening::Removal),
        1 => Just(Happening::DaemonLost),
        1 => Just(Happening::Snapshot),
        1 => (0..100_000_u64).prop_map(Happening::Time),
    ]
}

fn happen(driver: &mut Driver, happening: Happening) {
    let running = |driver: &Driver, web: u8| {
        let live = driver.app.live.as_ref().unwrap();
        let stream = &live.states[&id(1, u32::from(web))];
        (!stream.unregistered).then(|| stream.handle.state.is_running())
    };
    match happening {
        Happening::Key(code, modifiers) => driver.key(code, modifiers),
        Happening::Mouse(kind, column, row) => {
            let mouse = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
            driver.take(Message::Terminal(TerminalEvent::Mouse(mouse)));
        }
        Happening::Paste(text) => driver.take(Message::Terminal(TerminalEvent::Paste(text))),
        Happening::Resize(width, height) => driver.take(Message::Terminal(TerminalEvent::Resize(width, height))),
        Happening::Crash(web) if running(driver, web) == Some(true) => {
            driver.record.crash(id(1, u32::from(web)), 3, &["late"]);
        }
        Happening::Restart(web) if running(driver, web) == Some(false) => {
            driver.record.start(id(1, u32::from(web)), StartTrigger::Start);
        }
        Happening::Removal(web) if running(driver, web) == Some(false) => {
            driver.record.system(id(1, u32::from(web)), EventKind::Unregistered);
        }
        Happening::Crash(_) | Happening::Restart(_) | Happening::Removal(_) => {}
        Happening::DaemonLost => driver.take(Message::DaemonLost(Supervision::Absent)),
        Happening::Snapshot => {
            let snapshot = driver.record.snapshot(Supervision::Answered);
            driver.take(Message::Snapshot(Box::new(snapshot)));
        }
        Happening::Time(seconds) => driver.pass(seconds),
    }
    driver.send_events();
}

/// What always holds.
fn check(driver: &Driver) {
    let app = &driver.app;
    let rows = &app.list.rows;
    assert!(app.list.selected < rows.len().max(1));
    let states = &app.shown().unwrap().states;
    assert!(rows.iter().all(|id| states.contains_key(id)), "each row is an instance");
    if let Some(regions) = app.regions() {
        let height = usize::from(regions.rows.height);
        assert!(rows.is_empty() || (app.list.top..app.list.top + height).contains(&app.list.selected));
        let lines = app.detail.lines.len();
        assert!(app.detail.view.top <= lines.saturating_sub(usize::from(regions.text.height)));
    }
    assert_eq!(app.live.as_ref().unwrap().seq, driver.record.events.len() as u64, "no event was missed");
    if app.past.is_some() {
        assert!(app.outbox.orders.is_empty(), "the past cannot be changed");
    }
    assert!(driver.text().lines().all(|line| line.chars().count() <= usize::from(app.size.width)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_state_is_sound(happenings in prop::collection::vec(happening(), 1..50)) {
        let mut driver = Driver::new(100, 30);
        for happening in happenings {
            happen(&mut driver, happening);
            driver.app.is_over = false;
            check(&driver);
            driver.app.outbox.orders.clear();
        }
    }

    #[test]
    fn a_key_is_never_taken_for_an_order_without_a_dialogue(keys in prop::collection::vec(any::<char>(), 0..40)) {
        let mut driver = Driver::new(80, 24);
        for key in keys {
            let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
            driver.take(Message::Terminal(TerminalEvent::Key(key)));
        }
        prop_assert!(driver.app.outbox.orders.is_empty());
    }
}
