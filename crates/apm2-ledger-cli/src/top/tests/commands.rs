//! What sequences of keys do to the state of the screen.

use std::time::Duration;

use apm2_model::event::kind::{EventKind, StartTrigger};
use ratatui::crossterm::event::{Event as TerminalEvent, KeyCode, KeyModifiers};

use crate::{
    status::Supervision,
    top::{
        app::dialog::{Change, Dialog, Order},
        message::Message,
        tests::{
            driver::Driver,
            record::{id, spec},
        },
    },
};
use apm2_model::spec::config::restart::RestartPolicy;

const ALL: [&str; 8] = ["coder", "mailer", "nightly-report", "proxy", "sleeper", "web-0", "web-1", "web-2"];

#[test]
fn the_list_is_that_of_the_supervised_processes_in_the_order_of_names() {
    let mut driver = Driver::new(80, 24);
    assert_eq!(driver.names(), ALL);
    driver.press("a");
    assert!(driver.names().contains(&"old".to_owned()));
}

#[test]
fn a_selection_stays_at_its_process_when_the_order_changes() {
    let mut driver = Driver::new(80, 24);
    driver.select("mailer");
    for _ in 0..20 {
        driver.press("o");
        assert_eq!(driver.selected(), "mailer");
        driver.press("O");
        assert_eq!(driver.selected(), "mailer");
    }
}

#[test]
fn each_order_puts_the_greatest_first() {
    let mut driver = Driver::new(80, 24);
    let mut first = Vec::new();
    for _ in 0..8 {
        driver.press("o");
        first.push((driver.app.list.sort.name(), driver.names()[0].clone()));
    }
    let expected = [
        ("state", "mailer"),
        ("restarts", "mailer"),
        ("uptime", "coder"),
        ("cpu", "coder"),
        ("memory", "coder"),
        ("tokens", "coder"),
        ("cost", "coder"),
        ("name", "coder"),
    ];
    assert_eq!(first, expected.map(|(key, name)| (key, name.to_owned())));
}

#[test]
fn a_filter_is_applied_while_it_is_typed_and_escape_takes_it_back() {
    let mut driver = Driver::new(80, 24);
    driver.press("/WEB");
    assert_eq!(driver.names(), ["web-0", "web-1", "web-2"]);
    driver.enter();
    driver.press("/x");
    assert!(driver.names().is_empty() && driver.text().contains("no process matches"), "{}", driver.text());
    driver.escape();
    assert_eq!(driver.names(), ["web-0", "web-1", "web-2"]);
    driver.escape();
    assert_eq!(driver.names(), ALL);
    for (filter, found) in [("crashed", 2), ("claude", 1), ("0404", 1), ("--port", 3)] {
        driver.press("/");
        driver.press(filter);
        driver.enter();
        assert_eq!(driver.names().len(), found, "{filter}");
        driver.escape();
    }
}

#[test]
fn a_change_is_ordered_after_a_question_and_with_the_reason() {
    let mut driver = Driver::new(80, 24);
    driver.select("web-1");
    driver.press("x");
    assert!(driver.text().contains("Stop web-1?"));
    driver.press("q is a letter here");
    driver.enter();
    let reason = Some("q is a letter here".to_owned());
    let stop = Order { change: Change::Stop, id: id(1, 1), name: "web-1".to_owned(), reason };
    assert_eq!(std::mem::take(&mut driver.app.outbox.orders), [stop]);
    for (key, change) in [("s", Change::Start), ("r", Change::Restart)] {
        driver.press(key);
        driver.enter();
        let order = Order { change, id: id(1, 1), name: "web-1".to_owned(), reason: None };
        assert_eq!(std::mem::take(&mut driver.app.outbox.orders), [order]);
    }
    driver.press("x");
    driver.escape();
    assert_eq!(driver.app.outbox.orders, []);
}

#[test]
fn pasted_text_cannot_confirm() {
    let mut driver = Driver::new(80, 24);
    driver.press("x");
    driver.take(Message::Terminal(TerminalEvent::Paste("why\nnot\r\x1b".to_owned())));
    assert_eq!(driver.app.outbox.orders, []);
    driver.enter();
    assert_eq!(driver.app.outbox.orders[0].reason.as_deref(), Some("whynot"));
    driver.app.outbox.orders.clear();
    driver.take(Message::Terminal(TerminalEvent::Paste("x\nq".to_owned())));
    assert!(driver.app.dialog.is_none() && !driver.app.is_over, "without a dialogue, pasted text is no keys");
}

#[test]
fn a_dialogue_is_about_the_process_for_which_it_was_opened() {
    let mut driver = Driver::new(80, 24);
    driver.select("web-1");
    driver.press("x");
    driver.record.system(id(1, 1), EventKind::Unregistered);
    driver.send_events();
    driver.enter();
    assert_eq!(driver.app.outbox.orders[0].name, "web-1");
}

#[test]
fn what_is_not_supervised_cannot_be_changed() {
    let mut driver = Driver::new(80, 24);
    driver.press("a");
    driver.select("old");
    driver.press("s");
    assert!(driver.app.dialog.is_none() && driver.text().contains("not supervised any more"), "{}", driver.text());
    let mut empty = Driver::of(Default::default(), 80, 24, Supervision::Answered);
    empty.press("x");
    assert!(empty.app.dialog.is_none());
}

#[test]
fn events_change_the_list_and_the_text_at_once() {
    let mut driver = Driver::new(120, 40);
    driver.select("web-0");
    driver.pass(1);
    driver.record.crash(id(1, 0), 3, &["out of files"]);
    driver.record.register(id(8, 0), spec(8, "added", &["added"], 1, RestartPolicy::Never));
    driver.record.start(id(8, 0), StartTrigger::Start);
    driver.send_events();
    driver.pass(1);
    let text = driver.text();
    assert!(text.contains("crashed (3)") && text.contains("out of files"), "{text}");
    assert!(driver.names().contains(&"added".to_owned()), "a running process is listed before its launch is looked up");
}

#[test]
fn a_missing_event_has_everything_read_again() {
    let mut driver = Driver::new(80, 24);
    driver.record.crash(id(1, 0), 3, &[]);
    let last = driver.record.events.last().unwrap().clone();
    driver.app.update(Message::Event(Box::new(last)), driver.app.now);
    assert_eq!(driver.app.outbox.questions, [crate::top::message::Question::Snapshot]);
}

#[test]
fn many_events_cause_few_questions() {
    let mut driver = Driver::new(80, 24);
    driver.select("web-0");
    driver.pass(1);
    let mut asked = 0;
    for _ in 0..50 {
        driver.record.sample(id(1, 0), 1, 1);
        let event = driver.record.events.last().unwrap().clone();
        driver.app.update(Message::Event(Box::new(event)), driver.app.now);
        driver.app.settle();
        asked += driver.app.outbox.questions.drain(..).count();
    }
    assert_eq!(asked, 1);
    assert!(driver.app.wait_max() <= Duration::from_secs(1));
}

#[test]
fn the_daemon_may_come_and_go() {
    let mut driver = Driver::new(120, 40);
    driver.take(Message::DaemonLost(Supervision::Absent));
    let text = driver.text();
    assert!(text.contains("no daemon") && text.contains("the daemon has ended"), "{text}");
    assert!(!text.contains("running   "), "nothing is shown as running before it was looked up: {text}");
    driver.record.wait(100);
    driver.record.crash(id(1, 0), 9, &[]);
    let snapshot = driver.record.snapshot(Supervision::Answered);
    driver.take(Message::Snapshot(Box::new(snapshot)));
    let text = driver.text();
    assert!(text.contains("● daemon runs") && text.contains("a daemon runs now"), "{text}");
}

#[test]
fn keys_of_the_text_scroll_it() {
    let mut driver = Driver::new(80, 24);
    driver.select("mailer");
    driver.press("2");
    driver.enter();
    let end = driver.app.detail.view.top;
    assert!(end > 0 && driver.app.detail.view.follows);
    driver.press("k");
    assert_eq!((driver.app.detail.view.top, driver.app.detail.view.follows), (end - 1, false));
    driver.press("g");
    assert_eq!(driver.app.detail.view.top, 0);
    driver.press("Gf");
    assert!(driver.app.detail.view.follows);
    driver.key(KeyCode::Right, KeyModifiers::NONE);
    assert!(driver.app.detail.view.left > 0);
    assert_eq!(driver.selected(), "mailer", "the selection did not move");
    driver.escape();
    driver.press("j");
    assert_eq!(driver.selected(), "nightly-report");
}

#[test]
fn a_text_is_searched_in_a_circle() {
    let mut driver = Driver::new(80, 24);
    driver.select("mailer");
    driver.press("2n");
    assert!(driver.text().contains("nothing was searched for"), "{}", driver.text());
    driver.enter();
    driver.press("/CRASHED");
    driver.enter();
    let found = |driver: &Driver| driver.app.detail.search.found().unwrap();
    let first = found(&driver);
    let mut last = first;
    loop {
        driver.press("n");
        if found(&driver) == first {
            break;
        }
        assert!(found(&driver) > last);
        last = found(&driver);
    }
    assert!(last > first);
    driver.press("N");
    assert_eq!(found(&driver), last);
    driver.press("/no such line");
    driver.enter();
    assert!(driver.text().contains("is not in this text"), "{}", driver.text());
}

#[test]
fn control_keys_work_in_dialogues_too() {
    for opened in ["", "x", "t", "/", "?"] {
        let mut driver = Driver::new(80, 24);
        driver.press(opened);
        driver.key(KeyCode::Char('z'), KeyModifiers::CONTROL);
        assert!(std::mem::take(&mut driver.app.outbox.suspends));
        assert_eq!(driver.app.dialog.is_some(), !opened.is_empty());
        driver.key(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(driver.app.is_over, "{opened:?}");
    }
    assert!(matches!(Dialog::Help(0), Dialog::Help(_)));
}
