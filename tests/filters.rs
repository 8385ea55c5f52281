//! The filters of the commands that read events: what each accepts, compared with all events of a ledger.

use serde_json::Value;

use crate::{
    fixture,
    support::{Place, wait_until},
};

/// A ledger with the events of the fixture, and a run that a signal ends.
fn place() -> Place {
    let place = Place::new();
    fixture::write(&place.ledger());
    place.run(&["run", "--name", "killed", "--", "sh", "-c", "kill -KILL $$"]);
    place
}

fn events(place: &Place, args: &[&str]) -> Vec<Value> {
    let output = place.run(&[&["--offline", "--format", "jsonl"], args].concat()).succeeded().stdout;
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seqs<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    events.into_iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn is_end(event: &Value) -> bool {
    ["stopped", "crashed", "terminated"].iter().any(|kind| event["type"] == *kind)
}

#[test]
fn each_filter_accepts_what_its_name_says() {
    let place = place();
    let all = events(&place, &["tail", "-n", "all"]);
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap();
    let uid = nix::unistd::getuid().to_string();
    let killed = events(&place, &["show", "killed"])[0]["process_id"].as_str().unwrap().to_owned();
    type Accepts<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let is = |pointer: &'static str, value: &'static str| -> Accepts<'_> {
        Box::new(move |event: &Value| event.pointer(pointer).is_some_and(|found| found == value))
    };
    let cases: Vec<(Vec<&str>, Accepts<'_>)> = vec![
        (vec!["--actor", "operator"], is("/actor/kind", "operator")),
        (vec!["--actor", "policy"], is("/actor/kind", "policy")),
        (vec!["--actor", "system"], is("/actor/kind", "system")),
        (vec!["--actor", &user.name], Box::new(|event| event["actor"]["user"] == user.name.as_str())),
        (vec!["--actor", &uid], Box::new(|event| event["actor"]["uid"] == uid.parse::<u32>().unwrap())),
        (vec!["--actor", "nobody-has-this-name"], Box::new(|_| false)),
        (vec!["--state", "crashed"], is("/to", "crashed")),
        (vec!["--state", "running"], is("/to", "running")),
        (vec!["--state", "crashed", "--type", "running"], Box::new(|_| false)),
        (
            vec!["--state", "crashed", "--state", "running"],
            Box::new(|event| event["to"] == "crashed" || event["to"] == "running"),
        ),
        (vec!["--run", "2"], Box::new(|event| event["run"] == 2)),
        (vec!["--exit", "failed"], is("/type", "crashed")),
        (vec!["--exit", "SIGKILL"], Box::new(|event| is_end(event) && event.to_string().contains("\"SIGKILL\""))),
        (vec!["--exit", "failed", "--run", "1"], Box::new(|event| event["type"] == "crashed" && event["run"] == 1)),
        (vec!["--process", "killed"], Box::new(|event| event["process_id"] == killed.as_str())),
    ];
    let mut found_some = 0;
    for (args, accepts) in cases {
        let expected = seqs(all.iter().filter(|event| accepts(event)));
        found_some += usize::from(!expected.is_empty());
        let found = |more: &[&str]| seqs(&events(&place, &[&["tail"], &args[..], more].concat()));
        assert_eq!(found(&["-n", "all"]), expected, "{args:?}");
        let last = expected.len().saturating_sub(2);
        assert_eq!(found(&["--limit", "2"]), expected[last..], "{args:?}");
        let reversed: Vec<u64> = expected.iter().rev().copied().collect();
        assert_eq!(found(&["-n", "all", "--reverse"]), reversed, "{args:?}");
    }
    assert!(found_some >= 10, "{found_some} filters accept an event of this ledger");
}

#[test]
fn show_lists_the_chosen_events_and_keeps_its_runs() {
    let place = place();
    let all = events(&place, &["show", "build"]);
    let crashed = seqs(all.iter().filter(|event| event["type"] == "crashed"));
    assert_eq!(seqs(&events(&place, &["show", "build", "--type", "crashed"])), crashed);
    assert_eq!(
        seqs(&events(&place, &["show", "build", "--type", "crashed", "--limit", "1"])),
        crashed[crashed.len() - 1..]
    );
    let runs = |args: &[&str]| {
        let document =
            place.run(&[&["--offline", "--format", "json", "show", "build"], args].concat()).succeeded().json();
        document["runs"].as_array().unwrap().len()
    };
    assert!(runs(&[]) > 0);
    assert_eq!(runs(&["--type", "crashed"]), runs(&[]));
}

#[test]
fn a_list_has_the_chosen_instances() {
    let place = place();
    let names = |args: &[&str]| -> Vec<String> {
        let listed = events(&place, &[&["list", "--all"], args].concat());
        listed.iter().map(|process| process["display_name"].as_str().unwrap().to_owned()).collect()
    };
    let all = names(&[]);
    assert!(all.len() > 3, "{all:?}");
    assert_eq!(names(&["--process", "killed"]), ["killed"]);
    assert_eq!(names(&["--exit", "SIGKILL", "--process", "killed", "--process", "build"]), ["killed"]);
    assert_eq!(names(&["--limit", "2"]), all[..2]);
    let reversed: Vec<String> = all.iter().rev().cloned().collect();
    assert_eq!(names(&["--reverse"]), reversed);
    let crashed = names(&["--exit", "failed"]);
    assert!(crashed.contains(&"killed".to_owned()) && crashed.len() < all.len(), "{crashed:?}");
    assert_eq!(place.run(&["list", "--exit", "seven"]).code, 2);
    assert_eq!(place.run(&["tail", "-f", "--until", "3"]).code, 2);
}

#[test]
fn a_daemon_answers_with_filters_as_the_journal_does() {
    let place = place();
    place.run(&["start", "killed"]);
    for args in [&["--actor", "operator"][..], &["--exit", "failed"], &["--run", "1"], &["--actor", "1", "--run", "7"]]
    {
        wait_until(&format!("both print the same: {args:?}"), || {
            let args = [&["--format", "jsonl", "tail", "-n", "all"], args].concat();
            let daemon = place.run(&[&["-v"], &args[..]].concat());
            let journal = place.run(&[&["--offline"], &args[..]].concat());
            assert!(daemon.stderr.contains("from its daemon"), "{}", daemon.stderr);
            (daemon.stdout == journal.stdout).then_some(())
        });
    }
}
