//! Moments of the past.

use apm2_model::event::kind::EventKind;

use crate::top::tests::{
    driver::Driver,
    record::{Record, id},
};

/// The event after which the displayed moment is.
fn seq(driver: &Driver) -> u64 {
    driver.app.past.as_ref().unwrap().snapshot.seq
}

#[test]
fn steps_back_and_forth_give_the_recorded_states() {
    let mut driver = Driver::new(120, 40);
    let record = Record::of_a_day();
    let kept: Vec<u64> = record
        .events
        .iter()
        .filter(|event| !matches!(event.kind, EventKind::Sampled { .. }))
        .map(|event| event.seq)
        .collect();
    let check = |driver: &Driver, at: u64| {
        assert_eq!(seq(driver), at);
        let shown = &driver.app.past.as_ref().unwrap().snapshot.states;
        for stream in shown.values() {
            let events = record.events.iter().filter(|event| event.stream == stream.id && event.seq <= at);
            assert_eq!(stream.version, events.count() as u64, "event {at}");
        }
    };
    for at in kept.iter().rev() {
        driver.press("[");
        check(&driver, *at);
    }
    driver.press("[");
    assert!(driver.text().contains("no event before"), "{}", driver.text());
    for at in &kept[1..] {
        driver.press("]");
        check(&driver, *at);
    }
    driver.press("]");
    assert!(driver.text().contains("back to the present"), "{}", driver.text());
    driver.escape();
    assert!(driver.app.past.is_none());
}

#[test]
fn steps_of_one_process_pass_over_the_others() {
    let mut driver = Driver::new(120, 40);
    driver.select("mailer");
    for _ in 0..3 {
        driver.press("{");
        assert_eq!(driver.app.past.as_ref().unwrap().event.as_ref().unwrap().stream, id(2, 0));
    }
    assert_eq!(driver.selected(), "mailer");
}

#[test]
fn steps_that_are_asked_for_faster_than_they_are_answered_are_all_taken() {
    let mut one_by_one = Driver::new(120, 40);
    one_by_one.press("[[[[[");
    let mut fast = Driver::new(120, 40);
    let key = |code| {
        use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
        crate::top::message::Message::Terminal(Event::Key(KeyEvent::new(KeyCode::Char(code), KeyModifiers::NONE)))
    };
    for _ in 0..5 {
        fast.app.update(key('['), fast.app.now);
    }
    fast.settle();
    assert_eq!(seq(&fast), seq(&one_by_one));
}

#[test]
fn a_jump_goes_to_a_time_or_an_event() {
    let mut driver = Driver::new(120, 40);
    driver.press("t12");
    driver.enter();
    assert_eq!(seq(&driver), 12);
    assert_eq!(driver.names(), ["web-0", "web-1", "web-2"]);
    driver.press("t2026-01-31T12:00:00Z");
    driver.enter();
    assert!(driver.text().contains("THE PAST") && seq(&driver) > 12, "{}", driver.text());
    driver.escape();
    driver.press("t99 bottles");
    driver.enter();
    assert!(driver.app.dialog.is_some(), "it can be corrected");
}

#[test]
fn the_past_does_not_change_and_the_present_goes_on() {
    let mut driver = Driver::new(120, 40);
    driver.press("[[");
    let before = driver.text();
    driver.record.crash(id(1, 0), 3, &["late"]);
    driver.send_events();
    assert_eq!(driver.text(), before);
    driver.press("x");
    assert!(driver.app.dialog.is_none() && driver.text().contains("this is the past"), "{}", driver.text());
    driver.escape();
    assert!(driver.text().contains("crashed (3)"), "{}", driver.text());
}

#[test]
fn a_process_that_did_not_exist_yet_is_not_shown() {
    let mut driver = Driver::new(120, 40);
    driver.select("proxy");
    driver.press("t5");
    driver.enter();
    assert!(!driver.names().contains(&"proxy".to_owned()));
}
