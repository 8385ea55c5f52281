//! Each view on screens of three sizes.

use ratatui::{
    crossterm::event::{Event as TerminalEvent, KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
    style::{Color, Modifier},
};

use crate::{
    render::escape::is_unsafe,
    status::Supervision,
    top::{
        feed::log_update::{LogPiece, LogUpdate},
        message::Message,
        tests::{driver::Driver, record::Record},
    },
};
use apm2_model::event::kind::OutputSource;
use chrono::DateTime;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Compares a view on each size of screen with its snapshot.
fn check(name: &str, prepare: impl Fn(&mut Driver)) {
    check_of(name, Record::of_a_day, Supervision::Answered, prepare);
}

fn check_of(name: &str, record: fn() -> Record, supervision: Supervision, prepare: impl Fn(&mut Driver)) {
    for (width, height) in SIZES {
        let mut driver = Driver::of(record(), width, height, supervision);
        prepare(&mut driver);
        let text = driver.text();
        assert!(!text.chars().any(|c| is_unsafe(c) && c != '\n'), "{text:?}");
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), text);
    }
}

#[test]
fn runs() {
    check("runs", |driver| driver.select("mailer"));
}

#[test]
fn events() {
    check("events", |driver| {
        driver.select("coder");
        driver.press("2");
    });
}

#[test]
fn logs() {
    check("logs", |driver| {
        driver.press("3");
        let target = driver.app.outbox.logs.clone().flatten().unwrap();
        let piece = |output, text: String| LogPiece { output: Some(output), text, ends_line: true };
        let mut pieces: Vec<_> =
            (1..=60).map(|number| piece(OutputSource::Stdout, format!("request {number}"))).collect();
        pieces.push(piece(OutputSource::Stderr, format!("error: {}", "a long text ".repeat(20))));
        driver.take(Message::Logs(LogUpdate { target, pieces }));
    });
}

#[test]
fn why() {
    check("why", |driver| {
        driver.select("mailer");
        driver.press("4");
    });
}

#[test]
fn the_past() {
    check("past", |driver| {
        driver.press("[[[");
        driver.select("sleeper");
    });
}

#[test]
fn the_past_without_a_daemon() {
    let record = || {
        let mut record = Record::of_a_day();
        record.unwatched_from = Some(DateTime::UNIX_EPOCH);
        record
    };
    check_of("past_without_a_daemon", record, Supervision::Answered, |driver| {
        driver.press("t2026-01-31T12:30:00Z");
        driver.enter();
    });
}

#[test]
fn the_question_before_a_stop() {
    check("stop", |driver| {
        driver.select("web-1");
        driver.press("x");
        driver.press("new certificate");
    });
}

#[test]
fn the_overview() {
    check("overview", |driver| driver.press("v"));
}

#[test]
fn the_overview_of_the_past_ends_there() {
    let mut driver = Driver::new(120, 40);
    driver.press("[[[v");
    let text = driver.text();
    assert!(text.contains("Overview") && text.contains("mailer at ") && !text.contains("proxy at "), "{text}");
    driver.escape();
    assert!(!driver.text().contains("Overview") && driver.app.past.is_some());
}

#[test]
fn the_words_of_the_header_are_found_by_the_filter() {
    for (words, names) in
        [("down", &["mailer", "proxy"][..]), ("failed", &["mailer", "proxy"]), ("gave up", &["mailer"])]
    {
        let mut driver = Driver::new(120, 40);
        assert!(driver.text().contains("2 down (1 gave up)"), "{}", driver.text());
        driver.press("/");
        driver.press(words);
        driver.enter();
        assert_eq!(driver.names(), names, "{words}");
    }
}

#[test]
fn a_filter_that_is_typed() {
    check("filter", |driver| driver.press("/web"));
}

#[test]
fn a_time_that_is_not_understood() {
    check("jump", |driver| {
        driver.press("tsome day");
        driver.enter();
    });
}

#[test]
fn the_keys() {
    check("help", |driver| driver.press("?"));
}

#[test]
fn no_daemon() {
    check_of("no_daemon", Record::of_a_day, Supervision::Absent, |driver| driver.press("a"));
}

#[test]
fn an_empty_ledger() {
    check_of("empty", Record::default, Supervision::Answered, |_| {});
}

#[test]
fn nothing_was_read_yet() {
    let driver = Driver::unread(Record::default(), 80, 24);
    insta::assert_snapshot!(driver.text());
}

#[test]
fn a_small_terminal_says_so_and_can_be_left() {
    for (width, height) in [(79, 24), (80, 23), (20, 5), (1, 1), (0, 0)] {
        let mut driver = Driver::new(width, height);
        let text = driver.text();
        assert!(width < 20 || text.contains("80x24 is needed"), "{text}");
        driver.press("jjx?/");
        assert!(driver.app.dialog.is_none(), "no dialogue opens that cannot be seen");
        driver.press("q");
        assert!(driver.app.is_over);
    }
}

#[test]
fn states_differ_in_shape_and_without_colours_nothing_is_coloured() {
    let mut driver = Driver::new(120, 40);
    let buffer = driver.buffer();
    let colored = |buffer: &ratatui::buffer::Buffer| {
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colored(&buffer) > 20);
    driver.app.setting.has_color = false;
    for keys in ["", "?", "?t", "[[", "x", "24/web"] {
        driver.press(keys);
        assert_eq!(colored(&driver.buffer()), 0, "{keys:?}");
        driver.escape();
        driver.escape();
    }
    let marks: std::collections::HashSet<char> =
        driver.text().lines().skip(3).take(8).filter_map(|line| line.chars().next()).collect();
    for mark in ['●', '✖', '◕', '○'] {
        assert!(marks.contains(&mark), "{mark} {marks:?}");
    }
}

#[test]
fn the_selected_row_is_marked() {
    let mut driver = Driver::new(80, 24);
    driver.select("mailer");
    let buffer = driver.buffer();
    let marked = (0..24).filter(|y| buffer[(4_u16, *y)].modifier.contains(Modifier::REVERSED)).collect::<Vec<_>>();
    let row = driver.text().lines().position(|line| line.starts_with("✖ mailer")).unwrap();
    assert!(marked.contains(&u16::try_from(row).unwrap()), "{marked:?}");
}

#[test]
fn the_mouse_selects_what_is_drawn_below_it() {
    let mut driver = Driver::new(120, 40);
    let mouse = |driver: &mut Driver, kind, column, row| {
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        driver.take(Message::Terminal(TerminalEvent::Mouse(event)));
    };
    let lines: Vec<String> = driver.text().lines().map(str::to_owned).collect();
    let row = lines.iter().position(|line| line.starts_with("✖ mailer")).unwrap();
    mouse(&mut driver, MouseEventKind::Down(MouseButton::Left), 5, u16::try_from(row).unwrap());
    assert_eq!(driver.selected(), "mailer");
    let tabs = lines.iter().position(|line| line.contains("4 Why")).unwrap();
    let column = lines[tabs].chars().collect::<String>().split("4 Why").next().unwrap().chars().count();
    mouse(
        &mut driver,
        MouseEventKind::Down(MouseButton::Left),
        u16::try_from(column).unwrap(),
        u16::try_from(tabs).unwrap(),
    );
    assert!(driver.text().contains("mailer is crashed"), "{}", driver.text());
    mouse(&mut driver, MouseEventKind::ScrollDown, 5, u16::try_from(row).unwrap());
    assert_eq!(driver.selected(), "nightly-report");
    driver.key(KeyCode::Char('x'), KeyModifiers::NONE);
    mouse(&mut driver, MouseEventKind::ScrollDown, 5, u16::try_from(row).unwrap());
    assert_eq!(driver.selected(), "nightly-report", "a dialogue is open");
}
